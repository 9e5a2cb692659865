// Package testenv gives tests real servers.
//
// Job: start a database server of each kind once per test process, hand each
// test a fresh database on it, and see to it that nothing outlives the process;
// decide in one place what happens when a machine lacks a server.
// Owner: tests only; no program imports it.
// It must not know: what is tested.
package testenv
