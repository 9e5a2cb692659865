// Package peers knows who is connected.
//
// Job: the registered channels of transaction and resource managers, which
// resources each serves, and which of them gets an order of phase two, in
// Seata's order of fallback.
// Owner: server/gateway registers channels; server/coordinator sends orders.
// It must not know: what a transaction is decided to be, how bytes travel.
package peers
