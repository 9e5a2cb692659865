// Package gateway is the server's one port.
//
// Job: accept connections, tell Seata's protocol, gRPC and HTTP apart by their
// first bytes, register channels, turn each message into a call of the
// coordinator and its answer into the form that the client's version expects;
// bound what is under way; serve health and metrics.
// Owner: the wiring in cmd/qiao.
// It must not know: what a transaction is decided to be, how frames are coded.
package gateway
