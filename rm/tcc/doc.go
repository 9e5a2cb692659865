// Package tcc makes a branch of a global transaction out of three functions:
// try reserves, confirm uses the reservation, cancel gives it back.
//
// Job: register an action with the coordinator; run its try as a branch; carry
// the try's argument to confirm and cancel, in the form that Java Seata's TCC
// participants read and write.
// Owner: the application declares actions; rm hands it phase two.
// It must not know: connections, SQL, or who decides the transaction.
//
// Confirm and cancel may be called more than once, and cancel also for a try
// that never ran or still runs. Package fence takes care of that for actions on
// an SQL database; others must see to it themselves.
package tcc
