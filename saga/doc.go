// Package saga runs sagas: sequences of services, each with one that undoes it,
// written in Seata's JSON language of state machines, or as a Go function (Code).
//
// Job: start, go on with, compensate and recover instances; call their services;
// write every step to the log before it is acted on; tell the coordinator.
// Owner: the application opens one Engine and closes it.
// It must not know: how a state machine decides (saga/machine), SQL
// (saga/sagalog), the wire (client).
//
// A saga needs no coordinator. With one, the saga is a global transaction, as an
// engine of Java makes it: its id is the XID, each state is a branch, and a
// coordinator that hears of no end orders the saga forward or back.
//
// # Promises
//
// A state's run is in the log before its service is called, and its result before
// anything else happens. After a crash, also in the middle of a compensation, the
// engine goes on as if there had been none, except that a service whose end is not
// in the log is called again. Services must therefore be idempotent: FromContext
// has the key that all calls of a run share.
package saga
