package xa

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/qiao-tx/qiao/datasource/schema"
	"github.com/qiao-tx/qiao/rm"
)

// Defaults of Config.
const (
	// DefaultBranchTimeout is Java's client.rm.xaBranchExecutionTimeout.
	DefaultBranchTimeout = 60 * time.Second
	// DefaultHold is Java's client.rm.xaConnectionTwoPhaseHoldTimeout.
	DefaultHold = 10 * time.Second
)

// maxHeld bounds the sessions that are held with a prepared branch, and those
// that wait for their next use after it. Further ones are closed at once.
const maxHeld = 256

// cleanupWait bounds work that must run although the caller's context ended: a
// rollback, a report of failure.
const cleanupWait = 5 * time.Second

// Config says how a database takes part.
type Config struct {
	// Dialect is the SQL that the database speaks: MySQL or PostgreSQL. Required.
	Dialect schema.Dialect
	// Coordinator registers the database and its branches. Required.
	Coordinator rm.Coordinator
	// ResourceID names the database to the coordinator. Processes on the same
	// database must use the same. Required.
	ResourceID string
	// BranchTimeout is how long a local transaction may take from its
	// registration until it is prepared. The coordinator relies on it: keep it
	// at or below the coordinator's xa-not-found-grace. Zero: DefaultBranchTimeout.
	BranchTimeout time.Duration
	// Hold is how long the session of a prepared branch is kept for phase two
	// where the database lets no other session finish the branch while it
	// lives (MariaDB, MySQL before 8.0.29); then it is closed, so that any can.
	// Zero: DefaultHold. Negative: the session is closed when the branch is prepared.
	Hold time.Duration
	// Log receives what no caller can be told. Nil: nothing is logged.
	Log *slog.Logger
}

func (c Config) withDefaults() (Config, error) {
	switch {
	case c.Dialect == schema.SQLite:
		return c, fmt.Errorf("datasource: %w: SQLite has no two-phase commit; use the mode AT", ErrNotSupported)
	case c.Dialect != schema.MySQL && c.Dialect != schema.PostgreSQL:
		return c, errors.New("datasource: the dialect must be MySQL or PostgreSQL")
	case c.Coordinator == nil:
		return c, errors.New("datasource: a coordinator is required")
	case c.ResourceID == "":
		return c, errors.New("datasource: a ResourceID is required, in Java's form jdbc:mysql://host:port/database or jdbc:postgresql://host:port/database")
	case c.BranchTimeout < 0:
		return c, fmt.Errorf("datasource: BranchTimeout is %v: must not be negative", c.BranchTimeout)
	}
	if c.BranchTimeout == 0 {
		c.BranchTimeout = DefaultBranchTimeout
	}
	if c.Hold == 0 {
		c.Hold = DefaultHold
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c, nil
}
