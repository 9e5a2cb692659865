// Package wiretap looks at the bytes of Seata connections.
//
// Job: find the frames in a stream of bytes, of which some may be missing; a
// proxy that forwards connections and hands out what passes.
// Owner: qiao frame, and samples/shop/play, which follows transactions by it.
// It must not know: how frames look as text, or where a capture comes from.
package wiretap
