// Package at makes a database take part in global transactions by images: the
// AT mode.
//
// Job: wrap a driver so that statements inside a global transaction leave an
// undo record and take global locks; carry out phase two.
// Owner: datasource opens it around a user's driver.
// It must not know: who began the transaction, how the coordinator is reached.
package at
