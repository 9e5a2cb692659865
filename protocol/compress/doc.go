// Package compress packs and unpacks the bodies of frames and undo records.
//
// Job: Seata's compressors by their ids, in the containers that Java reads and
// writes, with a cap on what a packed body may become.
// Owner: protocol/rpc picks one by a frame's compressor, datasource/at by the
// context of an undo record.
// It must not know: frames, codecs, or what is in a body.
//
// Most packed bodies say how long they become: gzip and zip at their end, zstd at
// its beginning, lz4 before each of its blocks. That number is compared with the
// cap, and with the most that the format can make of so few bytes, before memory
// is taken. Then exactly that much is taken, once, and a body that turns out
// longer or shorter is damaged. Deflater and bzip2 say nothing: what does not fit
// the memory at hand is first expanded to nowhere, to learn its size.
//
// The containers are those of the classes under org.apache.seata.compressor, and
// two of them surprise: zip is an entry without the directory that ends a file,
// and bzip2 lacks the two bytes BZ at its beginning. 7z (sevenz) has no class in
// Seata's releases before 2.6 and needs random access to what it unpacks; it is
// refused by name.
package compress
