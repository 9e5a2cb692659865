// Package redis keeps transactions in Redis 7, under Seata's own keys.
//
// Job: a storage.Store that several coordinators can share, and whose keys a Java
// coordinator can take over. One Batch is one run of one Lua script, which writes
// all of it or nothing; the Batches that wait at a moment go out in one pipeline.
// Owner: cmd/qiao opens it, server/coordinator uses it.
// It must not know: what a Batch is for, or who is connected.
//
// A Batch becomes a plan (plan.go, without I/O): what must still be so, the rows that
// must be free, and the commands that write. apply.lua checks the first two and runs
// the third. What Seata's keys have no place for is in fields qiao_*, which a Java
// coordinator ignores, and under keys of our own, QIAO_*.
package redis
