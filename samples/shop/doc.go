// Command shop runs a shop of four services, each in Go or in Java, and shows
// what their global transactions do.
//
// Job: turn flags into calls of package play, or of package service for one
// service alone.
// Owner: who wants to see it: go run ./samples/shop --help.
// It must not know: how a service or a transaction works.
package main
