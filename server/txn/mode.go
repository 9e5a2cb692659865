package txn

import (
	"strings"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/storage"
)

// mode is what the machine knows of a branch type.
type mode struct {
	// locks: the branch takes row locks when it registers.
	locks bool
	// asynchronous: once commit is decided the branch cannot fail for a reason
	// of business, so the caller need not wait for it.
	asynchronous bool
	// final: phase one did all that a commit needs, so no order follows
	// (org.apache.seata.server.transaction.saga.SagaAnnotationCore).
	final bool
	// anyApplication: every process with the resource can finish the branch.
	anyApplication bool
}

var modes = [...]mode{
	protocol.TypeAT:             {locks: true, asynchronous: true, anyApplication: true},
	protocol.TypeTCC:            {},
	protocol.TypeSaga:           {},
	protocol.TypeXA:             {},
	protocol.TypeSagaAnnotation: {final: true},
}

// modeOf returns the zero mode for a type that Seata does not have.
func modeOf(t protocol.BranchType) (m mode, known bool) {
	if t < 0 || int(t) >= len(modes) {
		return mode{}, false
	}
	return modes[t], true
}

// isAsynchronous tells whether the branch commits asynchronously.
func isAsynchronous(b *storage.Branch) bool {
	m, _ := modeOf(b.Type)
	return m.asynchronous
}

// sagaNamePrefix marks a saga that has no branch yet
// (org.apache.seata.common.Constants.SAGA_TRANS_NAME_PREFIX).
const sagaNamePrefix = "$Saga_"

// sagaBranchID stands for the whole saga in the one order that drives it.
const sagaBranchID = -1

// isSaga tells whether the client drives phase two of the transaction, which
// it does as a whole (GlobalSession.isSaga).
func isSaga(s *storage.State) bool {
	if len(s.Branches) > 0 {
		return s.Branches[0].Type == protocol.TypeSaga
	}
	return strings.HasPrefix(s.Global.Name, sagaNamePrefix)
}

// nothingToDo tells whether a branch needs no order: its local part failed, or
// it only read.
func nothingToDo(b *storage.Branch) bool {
	return b.Status == protocol.BranchPhaseOneFailed ||
		b.Status == protocol.BranchPhaseOneRDONLY && b.Type == protocol.TypeXA
}

// nothingToCommit tells whether a branch needs no order when its transaction
// commits.
func nothingToCommit(b *storage.Branch) bool {
	m, _ := modeOf(b.Type)
	return m.final || nothingToDo(b)
}

// commitOrders are the orders to send next for a committed transaction: the
// synchronous branches one at a time in the order of their registration, or with
// Parallel the first of each resource, and after them all the asynchronous ones
// at once.
func (m *Machine) commitOrders(s *storage.State) []Order {
	if isSaga(s) {
		return []Order{sagaOrder(s)}
	}
	var orders []Order
	for i := range s.Branches {
		if b := &s.Branches[i]; !isAsynchronous(b) && m.mayJoin(orders, b) {
			orders = append(orders, order(s, b))
		}
	}
	if len(orders) > 0 {
		return orders
	}
	orders = make([]Order, len(s.Branches))
	for i := range s.Branches {
		orders[i] = order(s, &s.Branches[i])
	}
	return orders
}

// rollbackOrders are the orders to send next for a transaction that rolls back:
// the branch registered last, or with Parallel the last of each resource.
func (m *Machine) rollbackOrders(s *storage.State) []Order {
	if isSaga(s) {
		return []Order{sagaOrder(s)}
	}
	var orders []Order
	for i := len(s.Branches) - 1; i >= 0; i-- {
		if b := &s.Branches[i]; m.mayJoin(orders, b) {
			orders = append(orders, order(s, b))
		}
	}
	return orders
}

// mayJoin tells whether a branch may be ordered at once with those before it.
func (m *Machine) mayJoin(orders []Order, b *storage.Branch) bool {
	if len(orders) > 0 && !m.Parallel {
		return false
	}
	for i := range orders {
		if orders[i].ResourceID == b.ResourceID {
			return false
		}
	}
	return true
}

func order(s *storage.State, b *storage.Branch) Order {
	m, _ := modeOf(b.Type)
	return Order{
		BranchOrder: protocol.BranchOrder{
			XID: s.XID, BranchID: b.ID, Type: b.Type,
			ResourceID: b.ResourceID, ApplicationData: b.ApplicationData,
		},
		ClientID:       b.ClientID,
		AnyApplication: m.anyApplication,
	}
}

// sagaOrder tells the saga's application to go on, or to compensate.
func sagaOrder(s *storage.State) Order {
	return Order{BranchOrder: protocol.BranchOrder{
		XID: s.XID, BranchID: sagaBranchID, Type: protocol.TypeSaga,
		ResourceID:      s.Global.ApplicationID + "#" + s.Global.Group,
		ApplicationData: s.Global.Status.String(),
	}}
}
