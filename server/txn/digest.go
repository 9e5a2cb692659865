package txn

import (
	"fmt"
	"slices"
	"strings"

	"github.com/qiao-tx/qiao/protocol"
)

// digest is what the answers of a round amount to.
type digest struct {
	// done are branches that need no more orders.
	done []int64
	// hopeless: a branch will never do as ordered; failed: an order has to be
	// given again.
	hopeless, failed bool
	// rest counts the branches that are left, sync those of them that are
	// synchronous.
	rest, sync int
	// saga is what the application that drives a saga answered; sagaDone that
	// it did as it was told.
	saga     protocol.BranchStatus
	sagaDone bool
	evidence string
}

// maxEvidence caps the text kept for an operator, in bytes.
const maxEvidence = 2000

func digestAnswers(st *step, e Answers) digest {
	d := digest{saga: protocol.BranchUnknown}
	var reasons []string
	saga := isSaga(st.s)
	for _, a := range e.Answers {
		verdict := st.verdict(e.Rollback, a.Status)
		if saga {
			d.saga = a.Status
		} else if b := st.s.Branch(a.BranchID); b == nil || slices.Contains(d.done, a.BranchID) {
			continue // answered before
		} else if nothingToDo(b) {
			verdict = branchDone // as was reported after the order had left
		}
		switch verdict {
		case branchDone:
			if saga {
				d.sagaDone = true
			} else {
				d.done = append(d.done, a.BranchID)
			}
			continue
		case branchHopeless:
			d.hopeless = true
		case branchAgain:
			d.failed = true
		}
		reasons = append(reasons, strings.TrimSpace(fmt.Sprintf("branch %d: %s %s", a.BranchID, a.Status, a.Reason)))
	}
	d.count(st)
	d.evidence = strings.Join(reasons, "; ")
	if len(d.evidence) > maxEvidence {
		d.evidence = strings.ToValidUTF8(d.evidence[:maxEvidence], "")
	}
	return d
}

// count finds out what is left after the branches that are done.
func (d *digest) count(st *step) {
	d.rest = len(st.s.Branches) - len(d.done)
	for i := range st.s.Branches {
		if b := &st.s.Branches[i]; !isAsynchronous(b) {
			d.sync++
		}
	}
	for _, id := range d.done {
		if !isAsynchronous(st.s.Branch(id)) {
			d.sync--
		}
	}
}

type verdict uint8

const (
	branchDone verdict = iota
	branchHopeless
	branchAgain
)

// verdict judges one answer to an order. A status that is no answer to that
// order counts as none: the order is given again.
func (st *step) verdict(rollback bool, s protocol.BranchStatus) verdict {
	switch {
	case !rollback && s == protocol.BranchPhaseTwoCommitted,
		rollback && s == protocol.BranchPhaseTwoRollbacked:
		return branchDone
	case !rollback && s == protocol.BranchPhaseTwoCommitFailedUnretryable,
		rollback && s == protocol.BranchPhaseTwoRollbackFailedUnretryable:
		return branchHopeless
	case !rollback && s == protocol.BranchPhaseTwoCommitFailedXAERNOTARetryable,
		rollback && s == protocol.BranchPhaseTwoRollbackFailedXAERNOTARetryable:
		if st.now > st.s.Global.Deadline()+max(st.NotFoundGraceMillis, int64(st.s.Global.TimeoutMillis)) {
			return branchDone
		}
	}
	return branchAgain
}
