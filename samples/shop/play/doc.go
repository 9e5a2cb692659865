// Package play runs the whole shop: it starts its services, in Go or in Java as
// asked, places a few orders, and shows what each global transaction did.
//
// Job: programs and databases, the orders, the path of each transaction as it is
// seen between the services and their coordinator, the books at the end.
// Owner: samples/shop.
// It must not know: how a service works, how its calls travel, or how the
// coordinator decides; it looks at answers, messages and tables as an outsider.
package play
