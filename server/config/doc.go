// Package config is how a server is set up.
//
// Job: one commented struct, filled from defaults, a YAML file, the environment
// and flags, in this order of growing strength, and validated as a whole.
// Owner: the wiring in cmd/qiao.
// It must not know: what any setting does once the server runs.
package config
