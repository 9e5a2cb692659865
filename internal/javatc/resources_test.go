//go:build linux

package javatc

import (
	"context"
	"crypto/rand"
	"database/sql"
	"sync"

	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/client"
	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/rm"
	"github.com/qiao-tx/qiao/rm/tcc"
	"github.com/qiao-tx/qiao/rm/tcc/fence"
)

// stub is a resource whose phase two waits for the story.
type stub struct {
	id   string
	kind protocol.BranchType
	e    *env

	mu     sync.Mutex
	failed error // what its orders fail with
}

// newStub registers a stub, which the participant serves. While err is not nil its orders fail with it, and
// are repeated; only those that succeed are calls.
func (e *env) newStub(kind protocol.BranchType, err error) *stub {
	e.t.Helper()
	s := &stub{id: "stub-" + rand.Text(), kind: kind, e: e, failed: err}
	require.NoError(e.t, e.participant.RM().RegisterResource(e.t.Context(), s))
	return s
}

// fail changes what orders fail with; nil lets them succeed.
func (s *stub) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failed = err
}

// branch registers a branch of the stub.
func (s *stub) branch(x, lockKey string) error {
	_, err := s.register(s.e.t.Context(), s.e.participant, x, lockKey)
	return err
}

// register does so through another client.
func (s *stub) register(ctx context.Context, c *client.Client, x, lockKey string) (int64, error) {
	return c.RM().RegisterBranch(ctx, rm.Registration{
		XID: x, Type: s.kind, ResourceID: s.id, LockKey: lockKey, RequestKey: rand.Text(),
	})
}

func (s *stub) ID() string                      { return s.id }
func (s *stub) BranchType() protocol.BranchType { return s.kind }

func (s *stub) Commit(context.Context, rm.Branch) (protocol.BranchStatus, error) {
	return s.order("commit", protocol.BranchPhaseTwoCommitted, protocol.BranchPhaseTwoCommitFailedRetryable)
}

func (s *stub) Rollback(context.Context, rm.Branch) (protocol.BranchStatus, error) {
	return s.order("rollback", protocol.BranchPhaseTwoRollbacked, protocol.BranchPhaseTwoRollbackFailedRetryable)
}

func (s *stub) order(name string, done, failed protocol.BranchStatus) (protocol.BranchStatus, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed != nil {
		return failed, s.failed
	}
	s.e.called("%s", name)
	return done, nil
}

// hold is the argument of the action: n is added to the row id.
type hold struct {
	Name string `json:"name"`
	ID   int    `json:"id"`
	N    int    `json:"n"`
}

// hooks let a story act before a phase of the action; an error ends the phase.
type hooks struct {
	// beforeTry runs outside of the fence.
	beforeTry                  func(ctx context.Context) error
	onTry, onConfirm, onCancel func(hold) error
}

// action registers a TCC action on the first database, behind a fence.
func (e *env) action(h hooks) *tcc.Handle[hold] {
	e.t.Helper()
	records, err := fence.New(e.plain, "")
	require.NoError(e.t, err)
	phase := func(name string, hook func(hold) error, statement string) func(context.Context, *sql.Tx, hold) error {
		return func(ctx context.Context, tx *sql.Tx, arg hold) error {
			e.called("%s %s", name, arg.Name)
			if hook != nil {
				if err := hook(arg); err != nil {
					return err
				}
			}
			_, err := tx.ExecContext(ctx, statement, arg.N, arg.ID)
			return err
		}
	}
	guarded := fence.Guard(records, fence.Action[hold]{
		Name:    "hold-" + rand.Text(),
		Try:     phase("try", h.onTry, "UPDATE account SET held = held + ? WHERE id = ?"),
		Confirm: phase("confirm", h.onConfirm, "UPDATE account SET n = n + held, held = 0 WHERE held = ? AND id = ?"),
		Cancel:  phase("cancel", h.onCancel, "UPDATE account SET held = held - ? WHERE id = ?"),
	})
	if h.beforeTry != nil {
		try := guarded.Try
		guarded.Try = func(ctx context.Context, arg hold) error {
			if err := h.beforeTry(ctx); err != nil {
				return err
			}
			return try(ctx, arg)
		}
	}
	handle, err := tcc.Register(e.t.Context(), e.app.RM(), guarded)
	require.NoError(e.t, err)
	return handle
}
