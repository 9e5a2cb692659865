// Package pb is Seata's protobuf serializer, codec 2 on the wire.
//
// Job: every message of package protocol to a frame body and back, as
// ProtobufSerializer does.
// Owner: protocol/rpc picks it by a frame's codec.
// It must not know: frames, compression, connections, or what a message does.
//
// A body is a 4-byte length, the full name of a protobuf message, and that
// message. seata.proto documents the messages; layout.go writes them down once,
// for both directions, and a test holds the two together. The code is ours and
// not protoc's for two reasons. Generated code enters its names into a registry
// of the process and panics on the second who does so, which would be another
// Seata library in the same service. And decoding would first build protoc's
// structs and then ours.
//
// What the format cannot say. It knows no heartbeat body and no UnregisterRM.
// Its numbers of exceptions and of global statuses are older than Seata 2.5.0:
// what they lack is sent as the nearest that Java reads (values.go), for Java
// drops an answer that has an unknown number. A Java client cannot register an
// XA branch in this codec, since its own enumeration has none.
package pb
