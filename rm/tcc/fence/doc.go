// Package fence makes TCC actions on an SQL database safe against repeated,
// missing and late calls.
//
// Job: keep one record for each branch, in the same local transaction as the
// action's own changes; with it, confirm and cancel act once (idempotence), a
// cancel without a try does nothing (empty rollback), and a try that comes after
// its cancel is refused (suspension). The table is Apache Seata's tcc_fence_log;
// its DDL is in script/client/tcc/db.
// Owner: the application guards its actions with it and runs its Cleaner.
// It must not know: coordinators or connections to them.
//
// MySQL, MariaDB, PostgreSQL and SQLite are supported: every statement is written
// so that it means the same on each. The first statement of every local transaction is a
// write, because a transaction on SQLite that reads first cannot wait for its
// turn to write, and one on MySQL that looks with a lock for a record that is not
// there locks the gap around it and runs into deadlocks with its neighbours.
package fence
