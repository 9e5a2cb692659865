// Package demo shows what a global transaction is worth: it places orders in
// the sample shop while it kills the shop's processes and the coordinator, and
// then checks that no money and no goods came or went.
//
// Job: databases, child processes, orders, kills, the final account.
// Owner: cmd/qiao, as qiao demo.
// It must not know: how the coordinator or the SDK works; it looks at answers,
// tables and metrics as an outsider.
package demo
