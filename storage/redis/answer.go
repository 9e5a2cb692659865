package redis

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

	goredis "github.com/redis/go-redis/v9"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/storage"
)

var (
	// ErrConfig reports a Config that cannot work, or a Redis that loses data by its
	// own configuration.
	ErrConfig = errors.New("the Redis store is not usable")
	// ErrDamaged reports keys whose content this program cannot have written, nor
	// Seata. The error names them.
	ErrDamaged = errors.New("the content of Redis is damaged")
	// errUnknown: the Batch was sent and not answered, or not enough replicas have it.
	errUnknown = errors.New("the outcome of the batch is unknown")
	// errElsewhere: the connection was refused by us, as its Redis is no primary.
	errElsewhere = errors.New("this Redis is not the primary")
)

// failure is what an error means for a command that was to be sent.
type failure uint8

const (
	// unknown: it may have been carried out.
	unknownFailure failure = iota
	// absent: it was not carried out, and Redis takes nothing now.
	absent
	// moved: it was not carried out, and another Redis is to be asked.
	moved
	// full: it was not carried out, as memory runs out.
	full
	// forgotten: Redis does not know the script.
	forgotten
	// broken: Redis refuses it and always will.
	broken
)

// refusals are the answers by which Redis says that a script did not begin. Each of our
// scripts has flags, so that Redis looks before it runs one.
var refusals = []struct {
	prefix string
	failure
}{
	{"NOSCRIPT", forgotten},
	{"OOM", full},
	{"MOVED", moved}, {"ASK", moved}, {"READONLY", moved}, {"TRYAGAIN", moved}, {"CLUSTERDOWN", moved},
	{"LOADING", absent}, {"MASTERDOWN", absent}, {"BUSY", absent}, {"MISCONF", absent}, {"NOREPLICAS", absent},
	{"NOAUTH", absent}, {"WRONGPASS", absent}, {"NOPERM", absent},
	{"ERR max number of clients", absent},
}

// meaning tells what an error means. Errors of the network after a connection was there
// leave open what happened.
func meaning(err error) failure {
	var answer goredis.Error
	if errors.As(err, &answer) {
		text := answer.Error()
		for _, r := range refusals {
			if strings.HasPrefix(text, r.prefix) {
				return r.failure
			}
		}
		return broken
	}
	var dial *net.OpError
	switch {
	case errors.Is(err, errElsewhere):
		return moved
	case errors.As(err, &dial) && dial.Op == "dial":
		return moved
	case errors.Is(err, goredis.ErrPoolTimeout), errors.Is(err, goredis.ErrPoolExhausted), errors.Is(err, goredis.ErrClosed):
		return absent
	}
	return unknownFailure
}

// storeError is the error for a command that was not carried out.
func (f failure) storeError(err error) error {
	switch f {
	case full:
		return fmt.Errorf("%w: Redis has used its maxmemory: give it more, or let transactions end: %w", storage.ErrFull, err)
	case unknownFailure, broken:
		return fmt.Errorf("%w: %w", errUnknown, err)
	}
	return fmt.Errorf("%w: %w", storage.ErrUnavailable, err)
}

// Answers of apply.lua that are numbers.
const (
	answerDone   = 0
	answerMoved  = 1
	answerFenced = 2
)

// lockHeld reads the answer of apply.lua or check.lua that a row has a holder.
func lockHeld(reply any, rows []storage.RowKey) (*storage.LockHeld, error) {
	bad := fmt.Errorf("%w: a script answered with %.100v", ErrDamaged, reply)
	list, ok := reply.([]any)
	if !ok || len(list) != 5 {
		return nil, bad
	}
	n, ok := list[0].(int64)
	if !ok || n < 1 || n > int64(len(rows)) {
		return nil, bad
	}
	branchText, _ := list[2].(string)
	x, _ := list[3].(string)
	statusText, _ := list[4].(string)
	branch, err1 := strconv.ParseInt(branchText, 10, 64)
	status, err2 := strconv.ParseUint(statusText, 10, 8)
	if err := errors.Join(err1, err2); err != nil {
		return nil, fmt.Errorf("%w: %w", bad, err)
	}
	return &storage.LockHeld{
		Key: rows[n-1], Holder: storage.Lock{XID: x, BranchID: branch, Status: protocol.GlobalStatus(status)},
	}, nil
}
