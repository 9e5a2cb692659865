// Package move copies all that one store holds into another, and proves it.
//
// Job: transactions as they are, with branches, locks, revisions and times; the
// outcomes that finished ones still answer with; the mapping of groups; the latest
// id. A copy that stopped on the way is known as such and can go on; one that is
// done has been compared.
// Owner: qiao store copy and qiao store import.
// It must not know: which stores they are, nor what the transactions mean.
package move
