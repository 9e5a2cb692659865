// Package wrap is what the wrappers around a database/sql driver share.
//
// Job: call a driver as database/sql would; rows with something to do when they
// are closed, and rows kept in memory; the errors that mean the same in every mode.
// Owner: datasource/at and datasource/xa wrap drivers with it.
// It must not know: what a mode does with a statement, or the coordinator.
package wrap
