// Package frame is the envelope of every message on a Seata TCP connection,
// version 1.
//
// Job: a header, a head map and an opaque body to bytes and back; refuse
// foreign or damaged bytes before anything is allocated for them.
// Owner: protocol/rpc reads and writes frames; tools take captured ones apart.
// It must not know: what a body means, how it is compressed, or where bytes
// come from.
//
// All numbers are big endian:
//
//	offset  bytes
//	0       2      magic 0xdada
//	2       1      version
//	3       4      length of the whole frame
//	7       2      length of header and head map: 16 + n
//	9       1      message type: request, response, heartbeat
//	10      1      codec of the body
//	11      1      compressor of the body
//	12      4      request id
//	16      n      head map: key, value, ...; each a 2-byte length and UTF-8
//	16+n    ...    body; a heartbeat has none
package frame
