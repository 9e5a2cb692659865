// Package service is the shop in Go: an order changes the databases of four
// services, and either all of them or none.
//
// Job: the services order (begins the global transaction), stock, account and
// points (take part in it), each with a database of its own, in each mode.
// Owner: samples/shop and qiao demo run them as processes; readers start with
// order.go, then stock.go.
// It must not know: in which language the other services are written, nor that
// processes are killed while orders are placed.
package service
