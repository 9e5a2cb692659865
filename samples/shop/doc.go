// Package shop is the first example of the SDK: an order changes the databases
// of three services, and either all three or none.
//
// Job: the services order (begins the global transaction), stock and account
// (take part in it), each with an HTTP interface and a database of its own.
// Owner: qiao demo runs them as processes; readers start with order.go.
// It must not know: that the demo kills its processes while orders are placed.
package shop
