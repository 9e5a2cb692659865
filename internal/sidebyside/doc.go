// Package sidebyside runs this project's coordinator and an unmodified Java one on
// the same tables, for the same clients.
//
// Job: transactions begun on one are finished on the other, in every way, also when
// either is killed; a fleet moves from one to the other and back under load; and
// where Java's own races lose something, the scenario that shows it.
// Owner: tests only; no program imports it.
// It must not know: how either coordinator works inside, but for the statements by
// which a test holds the Java one up.
package sidebyside
