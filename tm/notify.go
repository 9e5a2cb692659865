package tm

import (
	"context"
	"runtime/debug"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/xid"
)

// notify calls one function of every hook that has it.
func (m *Manager) notify(hooks []Hook, step string, pick func(Hook) func()) {
	for _, h := range hooks {
		if call := pick(h); call != nil {
			m.protect(step, call)
		}
	}
}

// protect runs code of the application that must not end what it watches.
func (m *Manager) protect(step string, call func()) {
	defer func() {
		if v := recover(); v != nil {
			m.log.Error("a hook of global transactions panicked and is passed over",
				"step", step, "panic", v, "stack", string(debug.Stack()))
		}
	}()
	call()
}

// bind gives a hook's function its arguments.
func bind(ctx context.Context, fn func(context.Context, Info), t Info) func() {
	if fn == nil {
		return nil
	}
	return func() { fn(ctx, t) }
}

func (m *Manager) failed(ctx context.Context, kind FailureKind, t Info, err error) {
	if m.cfg.OnFailure != nil {
		m.protect("failure", func() { m.cfg.OnFailure(ctx, Failure{Kind: kind, Info: t, Err: err}) })
	}
}

// info describes the transaction to hooks.
func (t *Tx) info() Info { return Info{Name: t.name, Timeout: t.timeout, XID: t.xid} }

func (t *Tx) hooksNow() []Hook {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.hooks
}

// within returns ctx with the transaction, for hooks that belong to it.
func (t *Tx) within(ctx context.Context) context.Context {
	return context.WithValue(xid.NewContext(ctx, t.xid), txKey{}, t)
}

// without returns ctx without the transaction, for hooks that come after it. A
// Run may have been called inside another one, which stays.
func (t *Tx) without(ctx context.Context) context.Context {
	if xid.FromContext(ctx) == t.xid {
		return xid.NewContext(ctx, "")
	}
	return ctx
}

func (t *Tx) beforeCommit(ctx context.Context) {
	inside := t.within(ctx)
	t.manager.notify(t.hooksNow(), "before commit", func(h Hook) func() { return bind(inside, h.BeforeCommit, t.info()) })
}

func (t *Tx) beforeRollback(ctx context.Context) {
	inside := t.within(ctx)
	t.manager.notify(t.hooksNow(), "before rollback", func(h Hook) func() { return bind(inside, h.BeforeRollback, t.info()) })
}

// committed tells of the answer to a commit.
func (t *Tx) committed(ctx context.Context, err error) {
	ctx = t.without(ctx)
	if err != nil {
		t.manager.failed(ctx, CommitFailed, t.info(), err)
		return
	}
	if !t.told.CompareAndSwap(false, true) {
		return // a Commit that is repeated
	}
	t.manager.notify(t.hooksNow(), "after commit", func(h Hook) func() { return bind(ctx, h.AfterCommit, t.info()) })
}

// rolledBack tells of the answer to a rollback.
func (t *Tx) rolledBack(ctx context.Context, status protocol.GlobalStatus, err error) {
	ctx = t.without(ctx)
	if err != nil {
		t.manager.failed(ctx, RollbackFailed, t.info(), err)
		return
	}
	if rollbackGoesOn(status) {
		t.manager.failed(ctx, RollingBack, t.info(), nil)
	}
	t.manager.notify(t.hooksNow(), "after rollback", func(h Hook) func() { return bind(ctx, h.AfterRollback, t.info()) })
}

// complete tells of the end, once.
func (t *Tx) complete(ctx context.Context, err error) {
	if !t.completed.CompareAndSwap(false, true) {
		return
	}
	ctx = t.without(ctx)
	t.manager.notify(t.hooksNow(), "after completion", func(h Hook) func() {
		if h.AfterCompletion == nil {
			return nil
		}
		return func() { h.AfterCompletion(ctx, t.info(), err) }
	})
	t.manager.protect("guard", func() { t.exit(err) })
}

func rollbackGoesOn(s protocol.GlobalStatus) bool {
	switch s {
	case protocol.StatusRollbacking, protocol.StatusRollbackRetrying,
		protocol.StatusTimeoutRollbacking, protocol.StatusTimeoutRollbackRetrying:
		return true
	}
	return false
}
