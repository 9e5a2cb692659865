package storage

// Node is one of the coordinators that use a store together.
type Node struct {
	// Worker is its part of new ids, 0 to 1023.
	Worker int
	// Address is host:port, where clients and the other nodes reach it.
	Address string
}

// Shared is a Store that several coordinators use at once.
type Shared interface {
	Store

	// Nodes lists those that are alive, this one among them, in the order of their
	// workers. It answers from memory; what it tells is at most seconds old.
	Nodes() []Node
}
