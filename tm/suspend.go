package tm

import (
	"context"

	"github.com/qiao-tx/qiao/protocol/xid"
)

// Suspended is a global transaction that was left, to go on with later.
type Suspended struct {
	xid string
	tx  *Tx
}

// Suspend returns a context for work outside of the transaction that ctx
// carries, and the transaction. Most programs need neither: the context from
// before Run is outside of the transaction, and the one inside stays usable.
// outside still ends when ctx does, with the transaction's time-out too.
func Suspend(ctx context.Context) (outside context.Context, s Suspended) {
	return xid.NewContext(ctx, ""), Suspended{xid: xid.FromContext(ctx), tx: launcher(ctx)}
}

// XID returns the transaction's identity; "" when there was none.
func (s Suspended) XID() string { return s.xid }

// Resume returns a context for work inside the transaction again, on top of any
// ctx: that of a later request, say. Where this process began the transaction,
// the context ends with its time-out, as Tx.Bind's does. cancel releases its
// timer and does not touch the transaction. Resuming nothing hides what ctx
// carries.
func (s Suspended) Resume(ctx context.Context) (inside context.Context, cancel context.CancelFunc) {
	if s.tx != nil {
		return s.tx.Bind(ctx)
	}
	return xid.NewContext(ctx, s.xid), func() {}
}
