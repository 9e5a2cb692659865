package dubbo

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	hessian "github.com/apache/dubbo-go-hessian2"

	"github.com/qiao-tx/qiao/protocol/xid"
	"github.com/qiao-tx/qiao/rm"
	"github.com/qiao-tx/qiao/rm/tcc"
)

// Java's names of the class.
const (
	classActionContext       = "org.apache.seata.rm.tcc.api.BusinessActionContext"
	classLegacyActionContext = "io.seata.rm.tcc.api.BusinessActionContext"
)

// BusinessActionContext is Java Seata's class of that name (from 2.1 on), for the
// parameter of that type that the try method of a Java TCC interface has. Fields
// are nil where Java has null; what Java has more is not read.
//
// A consumer passes an empty one, or, over the branch it has registered, what
// NewActionContext returns. A provider hands what it got to Try.
type BusinessActionContext struct {
	XID        *string `hessian:"xid"`
	BranchID   *string `hessian:"branchId"`
	ActionName *string `hessian:"actionName"`
	// ActionContext are the action's parameters by name.
	ActionContext map[string]any `hessian:"actionContext"`
}

// JavaClassName implements hessian's POJO.
func (*BusinessActionContext) JavaClassName() string { return classActionContext }

// LegacyBusinessActionContext is BusinessActionContext for interfaces that are
// compiled with a Seata up to 2.0, whose packages are called io.seata.
type LegacyBusinessActionContext BusinessActionContext

// JavaClassName implements hessian's POJO.
func (*LegacyBusinessActionContext) JavaClassName() string { return classLegacyActionContext }

// ActionContext is what an action's provider receives: either class, or nil.
type ActionContext interface {
	// branch is the branch that the caller has registered, if it has.
	branch() (b rm.Branch, registered bool, err error)
}

func (c *BusinessActionContext) branch() (b rm.Branch, registered bool, err error) {
	if c == nil || text(c.BranchID) == "" {
		return b, false, nil
	}
	b = rm.Branch{XID: text(c.XID), ResourceID: text(c.ActionName)}
	if b.ID, err = strconv.ParseInt(*c.BranchID, 10, 64); err != nil || b.ID <= 0 {
		return b, false, fmt.Errorf("%w: its branchId %.40q is no positive number", ErrActionContext, *c.BranchID)
	}
	return b, true, nil
}

func (c *LegacyBusinessActionContext) branch() (rm.Branch, bool, error) {
	return (*BusinessActionContext)(c).branch()
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// ErrActionContext: the action context that came with a call of a try does not fit
// the call. Repeating it does not help.
var ErrActionContext = errors.New("the call's BusinessActionContext does not fit the call")

// NewActionContext returns the context that a Java provider expects with each of
// the three phases: that of the branch for which a function of a tcc.Action was
// called. Outside of one it is empty.
func NewActionContext(ctx context.Context) *BusinessActionContext {
	b, ok := tcc.BranchFrom(ctx)
	if !ok {
		return &BusinessActionContext{}
	}
	id := strconv.FormatInt(b.ID, 10)
	return &BusinessActionContext{XID: &b.XID, BranchID: &id, ActionName: &b.ResourceID, ActionContext: map[string]any{}}
}

// Try is the try of an action whose consumers call it over Dubbo: call it in the
// method that they call, with the method's context and its BusinessActionContext,
// if it has one (else nil). If the consumer has registered the branch, as Java
// Seata's do up to 1.8, it is run in that branch. Otherwise it is registered here,
// as Java's providers do from 2.0 on, so a consumer needs the filter only.
//
// A call made inside another action's try that brings no branch is refused: if an
// old Java consumer whose interface has no BusinessActionContext has registered
// one, a second one would confirm twice. If all consumers are Go's or Java's from
// 2.0 on, call h.Try instead.
//
// Errors are ErrActionContext and those of tcc.Handle.Try.
func Try[T any](ctx context.Context, h *tcc.Handle[T], c ActionContext, arg T) error {
	id, err := branchOf(ctx, h.Name(), c)
	switch {
	case err != nil:
		return fmt.Errorf("try of TCC action %q: %w", h.Name(), err)
	case id == 0:
		return h.Try(ctx, arg)
	}
	return h.TryIn(ctx, id, arg)
}

// branchOf is the branch that the caller has registered for the action, or 0.
func branchOf(ctx context.Context, action string, c ActionContext) (int64, error) {
	var b rm.Branch
	registered := false
	if c != nil {
		var err error
		if b, registered, err = c.branch(); err != nil {
			return 0, err
		}
	}
	switch x := xid.FromContext(ctx); {
	case !registered && xid.BranchType(ctx) == xid.TypeTCC:
		return 0, fmt.Errorf("%w: it was made inside a try but brings no branch; give the method a BusinessActionContext if its consumers are Java Seata's up to 1.8, else call the action's own Try", ErrActionContext)
	case !registered:
		return 0, nil
	case b.XID != x:
		return 0, fmt.Errorf("%w: it is of transaction %.64q, the call of %q; send the context of the call's own transaction", ErrActionContext, b.XID, x)
	case b.ResourceID != "" && b.ResourceID != action:
		return 0, fmt.Errorf("%w: it is of action %.64q; the consumer's action must have the provider's name", ErrActionContext, b.ResourceID)
	}
	return b.ID, nil
}

// registerActionContexts makes both classes known to dubbo-go's Hessian codec, which
// has one list for the process.
func registerActionContexts() {
	hessian.RegisterPOJO(&BusinessActionContext{})
	hessian.RegisterPOJO(&LegacyBusinessActionContext{})
}
