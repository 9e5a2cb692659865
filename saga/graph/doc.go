// Package graph draws state machines.
//
// Job: a definition as SVG, its states in layers from the start down, and if the
// runs of an instance are given, how far it came.
// Owner: cmd/qiao writes the pictures to files.
// It must not know: files, the log, how a machine runs.
package graph
