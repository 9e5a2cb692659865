// Package sqldb keeps transactions in MySQL, MariaDB or PostgreSQL, on Seata's
// own tables.
//
// Job: a storage.Store that several coordinators can share, and that a Java
// coordinator can read. One Batch is part of exactly one SQL transaction; all the
// Batches that wait at a moment share one.
// Owner: cmd/qiao opens it, server/coordinator uses it.
// It must not know: what a Batch is for, or who is connected.
//
// A Batch is decided here against what the database says under the lock of the
// transaction's row in global_table: group.go is the decision, without I/O;
// read.go and write.go are the statements before and after it. What Seata's tables
// have no place for is in tables of our own, qiao_*.
package sqldb
