package sagalog

import (
	"context"
	"errors"
	"time"

	"github.com/qiao-tx/qiao/saga/machine"
)

// Errors of a Store. Match them with errors.Is.
var (
	// ErrNotFound: there is no such instance or definition.
	ErrNotFound = errors.New("not in the log")
	// ErrExists: an instance with that id, or that business key, is in the log.
	ErrExists = errors.New("already in the log")
	// ErrTaken: another engine has taken the instance up since it was read.
	ErrTaken = errors.New("another engine has taken the instance up")
	// ErrUnanswered: the connection broke over the commit, so that what was to be
	// written may have been.
	ErrUnanswered = errors.New("whether it was written is unknown")
	// ErrFenced: another process has taken over all that this one ran. Nothing is
	// written any more; start the engine again.
	ErrFenced = errors.New("another process runs under this node's name, or has taken over from it")
)

// Definition is a row of seata_state_machine_def.
type Definition struct {
	ID, Name, Tenant, App, Comment, Version string
	RecoverStrategy                         string
	Content                                 string
	// Type is the column type: StateLanguage, the default, or Code.
	Type    string
	Created time.Time
}

// The types of definitions.
const (
	StateLanguage = "STATE_LANG"
	Code          = "GO"
)

// Store is where an engine keeps its log. All methods may be called concurrently.
type Store interface {
	// Write makes a Batch durable, all of it or nothing. With ErrExists, ErrTaken
	// and ErrFenced nothing was written. After any other error it may have been;
	// the log tells. With ErrUnanswered the engine looks there even if the Batch
	// was an instance's first.
	Write(ctx context.Context, b *machine.Batch) error
	// Load reads an instance.
	Load(ctx context.Context, id string) (*machine.Log, error)
	// ByBusinessKey reads an instance by the key that it was started with.
	ByBusinessKey(ctx context.Context, tenant, key string) (*machine.Log, error)
	// Children returns the ids of the instances that a state's run started, the
	// newest first.
	Children(ctx context.Context, parentID string) ([]string, error)
	// Signals returns the rows of signals for these instances that were not
	// delivered, the oldest first (saga/history).
	Signals(ctx context.Context, ids []string) ([]*machine.Row, error)
	// Interrupted returns the instances that this node was running when it
	// stopped, without those inside others.
	Interrupted(ctx context.Context) ([]*machine.Log, error)
	// Adopt takes over what nodes that have died were running, and returns it.
	Adopt(ctx context.Context) ([]*machine.Log, error)
	// Define stores a definition, unless the newest of its name and tenant has
	// the same version and content. It returns the one that is in force.
	Define(ctx context.Context, d Definition) (Definition, error)
	// Newest returns the newest definition of a name; ByID a certain one.
	Newest(ctx context.Context, tenant, name string) (Definition, error)
	ByID(ctx context.Context, id string) (Definition, error)
	// Close ends the Store's own work. What was not written is not.
	Close() error
}
