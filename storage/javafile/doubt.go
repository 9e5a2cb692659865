package javafile

import (
	"github.com/qiao-tx/qiao/protocol"
)

// Before 2.0, Java writes no record of three decisions: that a transaction of AT
// branches is to be committed, that a commit or a rollback is to be retried, and that
// the time is up (GlobalSession.asyncCommit, queueToRetryCommit). Its own restart
// takes such a transaction for an open one, and rolls it back. What else the file
// says may tell better:
//
//   - A branch of an open transaction was removed, or its rows were given to another
//     transaction: it was decided. Had it been a rollback there would be a record,
//     unless the time was up. So before its time-out it was a commit.
//   - After its time-out it may have been either: it is parked for an operator.
//   - Without a sign an open transaction is taken for open. When it has an AT branch
//     that is doubtful, and said.

// onlyFromTwo are the statuses of which older versions write no record.
func onlyFromTwo(s protocol.GlobalStatus) bool {
	switch s {
	case protocol.StatusAsyncCommitting, protocol.StatusCommitRetrying, protocol.StatusRollbackRetrying,
		protocol.StatusTimeoutRollbacking, protocol.StatusTimeoutRollbackRetrying:
		return true
	}
	return s >= protocol.StatusDeleting
}

const (
	eitherWay = "a Java coordinator had decided it and begun to carry that out, and its file store does not say whether it was committed, " +
		"or rolled back as its time was up; look at its branches' databases, and finish it there by hand"
	mayBeCommitted = "a Java coordinator's file store has it as open, which may hide that it was committed; " +
		"it was parked as asked for; ask the application, and finish it by hand"
)

// settle decides what the open transactions are. lastWrite is when the files were
// last written to, in milliseconds since 1970.
func (p *replay) settle(lastWrite int64, parkDoubtful bool, report *Report) {
	for x, s := range p.live {
		if s.global.status != protocol.StatusBegin {
			continue
		}
		switch {
		case s.decided && len(s.branches) == 0:
			p.end(x) // whichever way, nothing is left to do
		case s.decided && s.deadline() > lastWrite:
			s.commit()
			report.InferredCommits++
		case s.decided:
			s.park(eitherWay)
			report.Parked++
		case !p.tellsAll && s.has(protocol.TypeAT):
			report.Doubtful++
			if parkDoubtful {
				s.park(mayBeCommitted)
			}
		}
	}
}

func (s *session) deadline() int64 { return s.global.beganAt + int64(s.global.timeoutMillis) }

func (s *session) has(kind protocol.BranchType) bool {
	for i := range s.branches {
		if s.branches[i].Type == kind {
			return true
		}
	}
	return false
}

// commit takes the transaction for one whose commit is decided.
func (s *session) commit() {
	s.global.status = protocol.StatusAsyncCommitting
	for i := range s.branches {
		s.branches[i].Locked = false
		if s.branches[i].Type != protocol.TypeAT {
			s.global.status = protocol.StatusCommitting
		}
	}
}

// park leaves the transaction, and the rows that it holds, to an operator.
func (s *session) park(why string) {
	s.global.status, s.evidence = protocol.StatusRollbackFailed, why
}
