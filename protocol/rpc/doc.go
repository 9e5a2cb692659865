// Package rpc is one connection that speaks Seata's protocol, on either side.
//
// Job: send requests and match their answers, hand incoming requests to a
// handler, coalesce writes, keep the connection alive, notice when it is dead.
// Owner: client opens Conns, server/gateway accepts them.
// It must not know: who is registered, what a request does, how to reconnect.
//
// A Conn has three goroutines. The reader decodes frames, resolves answers and
// calls the handler. The writer sends whatever has been queued since its last
// write with one write: senders encode straight into that queue. The ticker
// ends overdue calls, sends heartbeats and closes an idle connection.
package rpc
