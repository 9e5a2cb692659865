// Package tidy tests the tree itself.
//
// Job: hold every package to the table of rooms (who may import whom, which
// rooms are pure) and every file to the house rules that a machine can check.
// Owner: its own test, which make test and make lint run.
// It must not know: what the code it reads is for.
package tidy
