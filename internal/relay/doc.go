// Package relay stands between clients and a coordinator and sees every message.
//
// Job: carry the frames of Seata's protocol both ways, on an address that stays
// while the coordinator's changes, and act on a chosen message: before it
// arrives, after it, or instead of it.
// Owner: tests only; no program imports it.
// It must not know: what the messages are for.
package relay
