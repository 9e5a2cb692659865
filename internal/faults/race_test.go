//go:build race

package faults

// buildFlags make the coordinator what this test binary is.
var buildFlags = []string{"-race"}
