// Package xa makes a database take part in global transactions by its own
// two-phase commit: the XA mode.
//
// Job: wrap a driver so that a local transaction inside a global one becomes a
// branch that the database prepares; carry out phase two, on whatever session
// the database lets it.
// Owner: datasource opens it around a user's driver.
// It must not know: what statements say beyond their first words, who began the
// transaction, how the coordinator is reached.
package xa
