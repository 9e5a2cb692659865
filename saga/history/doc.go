// Package history reads the log of a saga that is written in Go.
//
// Job: what the log has at a place of the function; the order in which results
// came, so that a replay gives them in the same; whether the function still does
// what the log says it did; what is undone and in which order.
// Owner: saga, one History for each run of an instance.
// It must not know: clocks, databases, goroutines, the function.
//
// A place is a path: "3" is the third thing that the function did, "3.1.2" the
// second that the second branch of the group at 3 did.
package history
