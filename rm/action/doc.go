// Package action is what the branches have in common whose phases are functions
// of the application: TCC actions and calls with a compensation.
//
// Job: carry a branch's argument in the form that Java Seata's participants read
// and write (the action context); run a function of phase two within its time and
// its repetitions; tell the coordinator how it went.
// Owner: rm/tcc and rm/compensation build their resources on it.
// It must not know: connections, SQL, or who decides the transaction.
package action
