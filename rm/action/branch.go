package action

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/xid"
	"github.com/qiao-tx/qiao/rm"
)

// ErrNoTransaction: phase one was called with a context that carries no global
// transaction, so nothing would ever end its branch.
var ErrNoTransaction = errors.New("no global transaction in the context; call it inside tm.Run, with the context that Run gives")

type branchKey struct{}

// WithBranch returns ctx with the branch that a function is called for.
func WithBranch(ctx context.Context, b rm.Branch) context.Context {
	return context.WithValue(ctx, branchKey{}, b)
}

// BranchFrom returns the branch that an action's function was called for; ok is
// false outside of one.
func BranchFrom(ctx context.Context) (b rm.Branch, ok bool) {
	b, ok = ctx.Value(branchKey{}).(rm.Branch)
	return b, ok
}

// Register registers a branch of the transaction that ctx carries, and returns
// the context for its phase one.
func Register(ctx context.Context, c rm.Coordinator, kind protocol.BranchType, env Environment, arg any) (context.Context, error) {
	b := rm.Branch{XID: xid.FromContext(ctx), Type: kind, ResourceID: env.Action}
	if b.XID == "" {
		return ctx, ErrNoTransaction
	}
	data, err := Encode(env, arg)
	if err != nil {
		return ctx, err
	}
	b.ApplicationData = data
	b.ID, err = c.RegisterBranch(ctx, rm.Registration{
		XID: b.XID, Type: kind, ResourceID: b.ResourceID, ApplicationData: data, RequestKey: rand.Text(),
	})
	if err != nil {
		return ctx, err
	}
	return context.WithValue(PhaseOne(ctx, b), sharingKey{}, &sharing{c, env, b}), nil
}

// PhaseOne returns the context for phase one of a branch that is registered. AT
// and XA leave alone what is done with it, as phase two takes it back, and only
// once.
func PhaseOne(ctx context.Context, b rm.Branch) context.Context {
	return WithBranch(xid.WithBranchType(ctx, b.Type.String()), b)
}

type sharingKey struct{}

// sharing is what Share needs during phase one.
type sharing struct {
	coordinator rm.Coordinator
	env         Environment
	branch      rm.Branch
}

// Share replaces the argument that the functions of phase two will get for the
// branch of ctx: with what phase one has found out, such as the number of a
// booking. It is to be called in phase one before the change that phase two must
// know of is made final. Its errors are those of rm.Coordinator.ReportBranch;
// phase one must then fail. It is Java's BusinessActionContextUtil.addContext.
func Share[T any](ctx context.Context, arg T) error {
	s, ok := ctx.Value(sharingKey{}).(*sharing)
	if b, inside := BranchFrom(ctx); !ok || !inside || b.ID != s.branch.ID {
		return errors.New("share an argument with phase two: call it in phase one, with the context given there")
	}
	data, err := Encode(s.env, arg)
	if err == nil {
		b := s.branch
		b.ApplicationData = data
		err = s.coordinator.ReportBranch(ctx, rm.Report{Branch: b, Status: protocol.BranchRegistered})
	}
	if err != nil {
		return fmt.Errorf("share an argument with phase two of branch %d: %w", s.branch.ID, err)
	}
	return nil
}
