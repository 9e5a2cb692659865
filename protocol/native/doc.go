// Package native is Seata's own serializer, codec 1 on the wire.
//
// Job: every message of package protocol to a frame body and back, in the
// layout of frame versions 0 and 1.
// Owner: protocol/rpc picks it by a frame's codec.
// It must not know: frames, compression, connections, or what a message does.
//
// A body is the 2-byte type code and then the fields, whose order is written
// once, in layout.go, for both directions. All numbers are big endian. A text
// has a length of 2 or 4 bytes before it; null and empty are the same.
//
// Three leniencies follow Java's decoder. Bytes after the last known field are
// ignored: newer versions of Seata append fields there. A registration or an
// undo deletion may end early, between two fields; the rest is empty. And
// merged requests may lack their ids, as from clients before 1.5.0.
package native
