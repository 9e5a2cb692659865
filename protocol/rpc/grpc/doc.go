// Package grpc carries Seata's frames over gRPC.
//
// Job: serve SeataService.sendRequest on a connection of HTTP/2 without TLS and
// give each of its streams out as a net.Conn of frames of version 1, which
// package rpc works on as on any other; answer every other call with a status.
// Owner: server/gateway makes a Carrier of each such connection and closes it.
// It must not know: what a frame's body means, who is registered.
//
// A message of the stream is a GrpcMessageProto, the frame's fields under other
// names:
//
//	int32 id = 1; int32 messageType = 2; map<string, string> headMap = 3; bytes body = 4;
//
// The body's codec and compressor are the keys codec-type and compress-type of
// the head map, in decimal digits.
//
// Java's Seata client sends HTTP/2 that no gRPC server would take: its stream
// begins with the header fields of an answer and names no method
// (GrpcEncoder, which both of its ends share). And it reads a message only if it
// comes whole in one DATA frame (GrpcDecoder). So this package works on the
// frames of HTTP/2 itself.
package grpc
