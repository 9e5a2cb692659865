// Package load measures a transaction coordinator under a closed-loop load.
//
// Job: so many callers at once, each with one global transaction after the
// other, over the wire; answer the branches' phase-two orders; report rate,
// latency, and what it cost the server. Responder is the ceiling that the rate
// is compared with: the same round trips and fsyncs without any logic.
// Owner: cmd/qiao, as qiao bench.
// It must not know: how a coordinator works inside.
package load
