// Package child runs a program as a process of its own, for as long as its owner
// wants and not longer.
//
// Job: start a program and wait until it answers, kill it, start it again, end it.
// Owner: qiao demo and samples/shop, for their coordinator, services and
// databases.
// It must not know: what the programs do.
package child
