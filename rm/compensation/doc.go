// Package compensation makes a branch of a global transaction out of a business
// call and the function that takes it back: Seata's saga annotation mode
// (@CompensationBusinessAction).
//
// Job: register a call with the coordinator; run it as a branch; carry its
// argument to the compensation, in the form that Java Seata reads and writes.
// Owner: the application declares calls; rm hands it phase two.
// It must not know: connections, SQL, or who decides the transaction.
//
// The call is final when it returns: others see what it did, and when the
// transaction commits nothing follows. Only a rollback calls the compensation,
// which may come more than once, and also for a call that never ran or still runs.
// Package rm/tcc/fence takes care of that for calls on an SQL database
// (fence.GuardCall); others must see to it themselves.
package compensation
