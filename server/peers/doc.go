// Package peers knows who is connected.
//
// Job: the registered channels of transaction and resource managers, here and at
// other nodes, which resources each serves, and which of them gets an order of
// phase two, in Seata's order of fallback; what changes of those here.
// Owner: server/gateway registers channels, server/cluster those at other nodes;
// server/coordinator sends orders.
// It must not know: what a transaction is decided to be, how bytes travel.
package peers
