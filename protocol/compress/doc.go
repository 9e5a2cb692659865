// Package compress packs and unpacks the bodies of frames.
//
// Job: Seata's compressors by their ids, in the containers that Java reads and
// writes, with a cap on what a packed body may become.
// Owner: protocol/rpc picks one by a frame's compressor.
// It must not know: frames, codecs, or what is in a body.
//
// A packed body says how long it becomes: gzip at its end, zstd at its
// beginning. That number is compared with the cap, and with the most that the
// format can make of so few bytes, before memory is taken. Then exactly that
// much is taken, once, and a body that turns out longer or shorter is damaged.
package compress
