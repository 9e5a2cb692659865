// Mutants shows that the tests of the coordinator would see a mistake: it makes
// one in a copy of a source file, and the suite that the list names must fail.
//
// Job: read the list, build the suite with go's -overlay so that the tree is
// never touched, run it, and report which mutants were caught.
// Owner: make mutants; a short choice runs with the tests.
// It must not know: what the code under test does. The list is data.
package main
