// Package frame is the envelope of every message on a Seata TCP connection.
//
// Job: a header, a head map and an opaque body to bytes and back, in the
// versions 0, 1 and 2; refuse foreign or damaged bytes before anything is
// allocated for them.
// Owner: protocol/rpc reads and writes frames; tools take captured ones apart.
// It must not know: what a body means, how it is compressed, or where bytes
// come from.
//
// All numbers are big endian. Versions 1 and 2:
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
//
// Version 0 (Seata's MessageCodecHandler to 0.6, ProtocolEncoderV0 later):
//
//	0       2      magic 0xdada
//	2       2      flags, below 0x100: 0x80 request, 0x40 one-way, 0x20 heartbeat,
//	               0x10 codec seata, else hessian
//	4       2      codec seata: the message's type code; hessian: length of the body
//	6       8      request id
//	14      ...    body; one of codec seata goes on without telling its length
package frame
