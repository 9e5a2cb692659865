package play

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/protocol"
)

const theXID = "127.0.0.1:8091:42"

// talk is a watch and what passes.
type talk struct{ *watch }

func newTalk() talk {
	return talk{newWatch(func(service string) string { return "language of " + service }, steps{"TakeStock": "stock"})}
}

func (w talk) toCoordinator(service string, id int64, m protocol.Message) {
	w.fromService(question{service, 1, id}, m, time.Now())
}

func (w talk) toService(service string, id int64, m protocol.Message) {
	w.fromCoordinator(question{service, 1, id}, m, time.Now())
}

func (w talk) begin() {
	w.toCoordinator("order", 1, &protocol.GlobalBegin{Name: "place-order"})
	w.toService("order", 1, &protocol.GlobalBeginResult{TxResult: protocol.OK(), XID: theXID})
}

func (w talk) only(t *testing.T) Path {
	t.Helper()
	paths, _, err := w.since(0)
	require.NoError(t, err)
	require.Len(t, paths, 1)
	return paths[0]
}

func register() *protocol.BranchRegister {
	return &protocol.BranchRegister{XID: theXID, Type: protocol.TypeAT, ResourceID: "db", LockKey: "stock:lamp"}
}

func registered(id int64) *protocol.BranchRegisterResult {
	return &protocol.BranchRegisterResult{TxResult: protocol.OK(), BranchID: id}
}

func order(id int64) *protocol.BranchCommit {
	return &protocol.BranchCommit{BranchOrder: protocol.BranchOrder{XID: theXID, BranchID: id}}
}

func done(id int64, status protocol.BranchStatus) *protocol.BranchCommitResult {
	return &protocol.BranchCommitResult{BranchOutcome: protocol.BranchOutcome{TxResult: protocol.OK(), XID: theXID, BranchID: id, Status: status}}
}

// Requests that travel in one frame are answered in one, or in other ones.
func TestMessagesThatTravelTogether(t *testing.T) {
	for name, answer := range map[string]func(w talk){
		"by position": func(w talk) {
			w.toService("stock", 9, &protocol.MergedResult{Messages: []protocol.Message{registered(1), registered(2)}})
		},
		"by id": func(w talk) {
			w.toService("stock", 9, &protocol.BatchResult{Messages: []protocol.Message{registered(2), registered(1)}, IDs: []int32{8, 7}})
		},
		"alone": func(w talk) {
			w.toService("stock", 7, registered(1))
			w.toService("stock", 8, registered(2))
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newTalk()
			w.begin()
			w.toCoordinator("stock", 9, &protocol.Merged{Messages: []protocol.Message{register(), register()}, IDs: []int32{7, 8}})
			answer(w)
			var ids []int64
			for _, b := range w.only(t).Branches {
				ids = append(ids, b.ID)
				assert.Equal(t, "locks stock:lamp", b.PhaseOne)
				assert.Equal(t, "language of stock", b.Language)
			}
			assert.ElementsMatch(t, []int64{1, 2}, ids)
		})
	}
}

// An order that is lost with its service is given again.
func TestAnOrderThatIsRepeated(t *testing.T) {
	w := newTalk()
	w.begin()
	w.toCoordinator("stock", 1, register())
	w.toService("stock", 1, registered(1))
	w.toService("stock", 2, order(1))
	w.toCoordinator("stock", 2, done(1, protocol.BranchPhaseTwoCommitFailedRetryable))
	assert.Equal(t, Open, w.only(t).Outcome())
	w.toService("stock", 3, order(1)) // is lost
	w.toService("stock", 4, order(1))
	w.toCoordinator("stock", 4, done(1, protocol.BranchPhaseTwoCommitted))
	assert.Equal(t, 3, w.only(t).Branches[0].Orders)
	assert.Equal(t, Committed, w.only(t).Outcome())
}

func TestOutcomes(t *testing.T) {
	for want, branches := range map[string][]Branch{
		Committed:  {{ID: 1, PhaseTwo: Committed}, {PhaseOne: "refused: row is locked"}, {ID: 2, PhaseTwo: Committed}},
		RolledBack: {{ID: 1, PhaseTwo: RolledBack}},
		Mixed:      {{ID: 1, PhaseTwo: RolledBack}, {ID: 2, PhaseTwo: Committed}},
		Open:       {{ID: 1, PhaseTwo: Committed}, {ID: 2}},
	} {
		assert.Equal(t, want, Path{Asked: "commit", Branches: branches}.Outcome())
	}
	assert.Equal(t, Committed, Path{Asked: "commit"}.Outcome())
	assert.Equal(t, RolledBack, Path{Asked: "rollback"}.Outcome())
}

// A commit that the coordinator answers with a rollback is none.
func TestARefusedBranchAndADecision(t *testing.T) {
	w := newTalk()
	w.begin()
	w.toCoordinator("stock", 1, register())
	w.toService("stock", 1, &protocol.BranchRegisterResult{TxResult: protocol.Failure(protocol.ExceptionLockKeyConflict, "row is locked")})
	w.toCoordinator("order", 2, &protocol.GlobalRollback{Global: protocol.Global{XID: theXID}})
	w.toService("order", 2, &protocol.GlobalRollbackResult{TxResult: protocol.OK(), Status: protocol.StatusRollbacked})
	p := w.only(t)
	assert.Equal(t, "order", p.Began)
	assert.Equal(t, "rollback", p.Asked)
	assert.Equal(t, "Rollbacked", p.Answer)
	assert.Equal(t, "refused: row is locked", p.Branches[0].PhaseOne)
	assert.Zero(t, p.Branches[0].ID)
	assert.Equal(t, RolledBack, p.Outcome())
}

// A saga's steps are branches that the order service registers and reports of, and
// its end is what it reports last.
func TestASaga(t *testing.T) {
	w := newTalk()
	w.begin()
	killed := 0
	w.at("stock", func() { killed++ })
	w.toCoordinator("order", 2, &protocol.BranchRegister{XID: theXID, Type: protocol.TypeSaga, ResourceID: "place-order#TakeStock"})
	assert.Equal(t, 1, killed, "its own service's part begins")
	w.toService("order", 2, registered(1))
	report := func(id int64, status protocol.GlobalStatus) {
		w.toCoordinator("order", id, &protocol.GlobalReport{Global: protocol.Global{XID: theXID}, Status: status})
		w.toService("order", id, &protocol.GlobalReportResult{TxResult: protocol.OK(), Status: status})
	}
	assert.False(t, w.only(t).Decided())
	report(3, protocol.StatusRollbackRetrying)
	report(4, protocol.StatusRollbackRetrying)
	assert.Equal(t, Open, w.only(t).Outcome())
	w.toCoordinator("order", 5, &protocol.BranchReport{XID: theXID, BranchID: 1, Type: protocol.TypeSaga, Status: protocol.BranchPhaseTwoRollbacked})
	w.toService("order", 5, &protocol.BranchReportResult{TxResult: protocol.OK()})
	report(6, protocol.StatusRollbacked)
	p := w.only(t)
	assert.Equal(t, RolledBack, p.Outcome())
	assert.Equal(t, []string{"RollbackRetrying", "Rollbacked"}, p.Reported)
	require.Len(t, p.Branches, 1)
	assert.Equal(t, "stock", p.Branches[0].Service)
	assert.Equal(t, "runs TakeStock", p.Branches[0].PhaseOne)
	assert.Equal(t, "undone", p.Branches[0].PhaseTwo)
}
