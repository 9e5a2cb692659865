package txn

import "github.com/qiao-tx/qiao/protocol"

// transition is one row of the table: on an event, when the condition holds,
// the actions are carried out in their order. They fill the Batch and the
// Effects; nothing else decides.
type transition struct {
	on   kind
	when *condition
	do   []action
}

// table holds the transitions of each phase. The first row whose event and
// condition match is taken.
var table = [...][]transition{
	absent: {
		{on: onBegin, do: []action{open, replyAfter}},
		{on: onRegister, do: []action{refuseUnknown}},
		{on: onReport, do: []action{refuseUnknown}},
		{on: onCommit, do: []action{reply}},
		{on: onRollback, do: []action{reply}},
		{on: onSagaReport, do: []action{replyReported}},
		{on: onAnswers},
		{on: onTick},
	},
	undecided: concat([]transition{
		{on: onBegin, do: []action{refuseDuplicate}},
		{on: onRegister, when: timeUpAndIdle, do: []action{finish(protocol.StatusTimeoutRollbacked), refuseDecided}},
		{on: onRegister, when: timeUp, do: []action{become(protocol.StatusTimeoutRollbacking), dropIdle, orderRollback, refuseDecided}},
		{on: onRegister, when: repeated, do: []action{replyRegistered}},
		{on: onRegister, when: malformed, do: []action{refuseMalformed}},
		{on: onRegister, do: []action{addBranch, replyBranch}},
		{on: onCommit, when: timeUpAndIdle, do: []action{finish(protocol.StatusTimeoutRollbacked), replyAfter}},
		{on: onCommit, when: timeUp, do: []action{become(protocol.StatusTimeoutRollbacking), dropIdle, orderRollback, replyAfter}},
		{on: onCommit, when: idleToCommit, do: []action{finish(protocol.StatusCommitted), replyAfter}},
		{on: onCommit, when: asynchronous, do: []action{become(protocol.StatusAsyncCommitting), dropFinal, unlock, orderCommit, replyAfter}},
		{on: onCommit, do: []action{become(protocol.StatusCommitting), dropFinal, unlock, orderCommit, wait}},
		{on: onRollback, when: idle, do: []action{finish(protocol.StatusRollbacked), replyAfter}},
		{on: onRollback, do: []action{become(protocol.StatusRollbacking), dropIdle, orderRollback, wait}},
		{on: onAnswers},
		{on: onTick, when: timeUpAndIdle, do: []action{finish(protocol.StatusTimeoutRollbacked)}},
		{on: onTick, when: timeUp, do: []action{become(protocol.StatusTimeoutRollbacking), dropIdle, orderRollback}},
		{on: onTick},
	}, reports, sagaReports),
	committing: concat([]transition{
		{on: onBegin, do: []action{refuseDuplicate}},
		{on: onRegister, do: []action{refuseDecided}},
		{on: onCommit, do: []action{reply}},
		{on: onRollback, do: []action{reply}},
		{on: onAnswers, when: answersToRollback},
		{on: onAnswers, when: nothingNew},
		{on: onAnswers, when: sagaCompensated, do: []action{finish(protocol.StatusRollbacked), settle}},
		{on: onAnswers, when: sagaCompensating, do: []action{become(protocol.StatusRollbackRetrying), later, settle}},
		{on: onAnswers, when: sagaNeverBegan, do: []action{finish(protocol.StatusFinished), settle}},
		{on: onAnswers, when: hopeless, do: []action{removeDone, park, settle}},
		{on: onAnswers, when: allDone, do: []action{finishAsDecided, settle}},
		{on: onAnswers, when: failed, do: []action{removeDone, becomeRetrying, later, settle}},
		{on: onAnswers, when: someOutstanding, do: []action{removeDone}},
		{on: onAnswers, when: asynchronousLeft, do: []action{removeDone, become(protocol.StatusAsyncCommitting), orderCommit, settle}},
		{on: onAnswers, do: []action{removeDone, awaitAnswers, orderCommit}},
		{on: onTick, when: dueAndEmpty, do: []action{finishAsDecided, settle}},
		{on: onTick, when: due, do: []action{awaitAnswers, orderCommit}},
		{on: onTick},
	}, reports, sagaReports),
	rollingBack: concat([]transition{
		{on: onBegin, do: []action{refuseDuplicate}},
		{on: onRegister, do: []action{refuseDecided}},
		{on: onCommit, do: []action{reply}},
		{on: onRollback, do: []action{reply}},
		{on: onAnswers, when: answersToCommit},
		{on: onAnswers, when: nothingNew},
		{on: onAnswers, when: sagaForwarding, do: []action{become(protocol.StatusCommitRetrying), later, settle}},
		{on: onAnswers, when: hopeless, do: []action{removeDone, park, settle}},
		{on: onAnswers, when: allDone, do: []action{finishAsDecided, settle}},
		{on: onAnswers, when: failed, do: []action{removeDone, becomeRetrying, later, settle}},
		{on: onAnswers, do: []action{removeDone, awaitAnswers, orderRollback}},
		{on: onTick, when: dueAndEmpty, do: []action{finishAsDecided, settle}},
		{on: onTick, when: due, do: []action{awaitAnswers, orderRollback}},
		{on: onTick},
	}, reports, sagaReports),
	parked: concat([]transition{
		{on: onBegin, do: []action{refuseDuplicate}},
		{on: onRegister, do: []action{refuseDecided}},
		{on: onCommit, do: []action{reply}},
		{on: onRollback, do: []action{reply}},
		{on: onAnswers},
		{on: onTick, when: foreign, do: []action{setAside}},
		{on: onTick},
	}, reports, sagaReports),
	finished: {
		{on: onBegin, do: []action{refuseDuplicate}},
		{on: onRegister, do: []action{refuseDecided}},
		{on: onReport, do: []action{refuseUnknown}},
		{on: onCommit, do: []action{reply}},
		{on: onRollback, do: []action{reply}},
		{on: onSagaReport, do: []action{reply}},
		{on: onAnswers},
		{on: onTick},
	},
}

// reports are the same in every phase of a live transaction: they change what
// is known of a branch, never a decision.
var reports = []transition{
	{on: onReport, when: unknownBranch, do: []action{refuseBranch}},
	{on: onReport, do: []action{changeBranch, reply}},
}

// sagaReports let the client that drives a saga end it, or hand it over, in
// every phase (SagaCore.doGlobalReport).
var sagaReports = []transition{
	{on: onSagaReport, when: notSaga, do: []action{reply}},
	{on: onSagaReport, when: reportsCommitted, do: []action{finish(protocol.StatusCommitted), replyAfter}},
	{on: onSagaReport, when: reportsRollbacked, do: []action{finish(protocol.StatusRollbacked), replyAfter}},
	{on: onSagaReport, when: reportsRollbackRetry, do: []action{become(protocol.StatusRollbackRetrying), later, replyAfter}},
	{on: onSagaReport, when: reportsCommitRetry, do: []action{become(protocol.StatusCommitRetrying), later, replyAfter}},
	{on: onSagaReport, when: reportsFailure, do: []action{parkAsReported, replyAfter}},
	{on: onSagaReport, do: []action{refuseReport}},
}

func concat(rows ...[]transition) []transition {
	var all []transition
	for _, r := range rows {
		all = append(all, r...)
	}
	return all
}
