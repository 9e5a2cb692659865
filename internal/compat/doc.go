// Package compat holds this project's coordinator against Seata's own, as Java
// clients of many versions see both.
//
// Job: drive unmodified Java clients, each version from Maven, through one
// scripted scenario on `qiao server` and on the Java coordinator; keep what each
// client saw under testdata/; explain every difference; print the table
// docs/compatibility.md.
// Owner: tests only; no program imports it. `make compat` runs it in full,
// `go test` a short form that must see what was kept.
// It must not know: how either coordinator comes to its answers.
package compat
