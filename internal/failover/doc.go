// Failover kills the leader of a cluster of three, again and again, while clients
// work, and says how long each time nobody could begin a transaction.
//
// Job: start three servers, keep callers of the Go SDK busy on all of them, kill -9
// the leader and start it again, measure, and check that nothing acknowledged was
// lost and that every transaction ended.
// Owner: make failover; a short run is a test.
// It must not know: how a leader is elected.
package main
