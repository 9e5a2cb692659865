// Package sagalog keeps the log of sagas.
//
// Job: Batches of saga/machine made durable, those of concurrent sagas together in
// one SQL transaction; instances and definitions read back; who runs what.
// Owner: saga writes and reads through the Store interface.
// It must not know: what a state machine does next, services, coordinators.
//
// The tables are Seata's (script/client/saga/db), with the values that
// org.apache.seata.saga.engine.store.db.DbAndReportTcStateLogStore writes, so that
// an engine of Java can read the log and go on with an instance, and the reverse.
// What they cannot hold is in two tables of our own, qiao_saga_node and
// qiao_saga_owner: which process runs an instance, and whether it still may.
package sagalog
