package grpc

import (
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// method is the one that is served.
const method = "/org.apache.seata.protocol.protobuf.SeataService/sendRequest"

// contentType is what gRPC's begin with.
const contentType = "application/grpc"

// call begins a stream, or ends the client's half of one. The caller holds mu.
func (c *Carrier) call(f *http2.MetaHeadersFrame) error {
	if s := c.streams[f.StreamID]; s != nil {
		if !f.StreamEnded() {
			return http2.ConnectionError(http2.ErrCodeProtocol)
		}
		s.endOfStream()
		return c.err
	}
	if f.StreamID%2 == 0 {
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	if f.StreamID <= c.lastID {
		return c.err // of a call that has ended meanwhile
	}
	c.lastID = f.StreamID
	if c.leaving || c.served >= c.o.MaxStreams {
		c.putControl(func() error { return c.framer.WriteRSTStream(f.StreamID, http2.ErrCodeRefusedStream) })
		return c.err
	}
	if f.Truncated {
		c.refuse(f, "431", codeResourceExhausted, fmt.Sprintf("header fields of more than %d bytes", maxHeaders))
		return c.err
	}
	if status, why, text := judge(f); status != "" {
		c.refuse(f, status, why, text)
		return c.err
	}
	c.accept(f)
	return c.err
}

// judge tells why a call is not served: the status of HTTP, "" when it is served,
// and that of gRPC. A call without a method but with a status is of Java's
// client.
func judge(f *http2.MetaHeadersFrame) (status string, why code, text string) {
	path, java := f.PseudoValue("path"), f.PseudoValue("status") != ""
	var kind, encoding string
	for _, h := range f.RegularFields() {
		switch h.Name {
		case "content-type":
			kind = h.Value
		case "grpc-encoding":
			encoding = h.Value
		}
	}
	suffix, ok := strings.CutPrefix(kind, contentType)
	switch {
	case !ok || suffix != "" && suffix != "+proto" && suffix[0] != ';':
		return "415", codeInvalidArgument, fmt.Sprintf(
			"content-type %q; over HTTP/2 this port serves gRPC, application/grpc; health and metrics are on HTTP/1.1", kind)
	case !java && f.PseudoValue("method") != "POST":
		return "405", codeUnimplemented, fmt.Sprintf("method %q; gRPC uses POST", f.PseudoValue("method"))
	case !java && path != method:
		return "200", codeUnimplemented, fmt.Sprintf("unknown method %s; this server has %s", path, method)
	case encoding != "" && encoding != "identity":
		return "200", codeUnimplemented, fmt.Sprintf(
			"grpc-encoding %q; use identity, and the key %s of headMap to compress bodies", encoding, keyCompressor)
	}
	return "", 0, ""
}

// accept gives the stream out. The caller holds mu.
func (c *Carrier) accept(f *http2.MetaHeadersFrame) {
	s := &stream{carrier: c, id: f.StreamID, window: c.initialWindow}
	c.streams[s.id] = s
	c.served++
	c.watchIdle()
	c.put(func() error { return c.writeHeaders(s.id, false, ":status", "200", "content-type", contentType) })
	if f.StreamEnded() {
		s.endOfStream()
	}
	c.serving.Go(func() {
		c.o.Accept(s)
		_ = s.Close()
		c.mu.Lock()
		defer c.mu.Unlock()
		c.served--
		c.watchIdle()
	})
}

// refuse answers a call with nothing but a status. The caller holds mu.
func (c *Carrier) refuse(f *http2.MetaHeadersFrame, status string, why code, text string) {
	c.putControl(func() error {
		return c.writeHeaders(f.StreamID, true, ":status", status, "content-type", contentType,
			"grpc-status", strconv.Itoa(int(why)), "grpc-message", encodeStatusMessage(text))
	})
	if !f.StreamEnded() {
		c.putControl(func() error { return c.framer.WriteRSTStream(f.StreamID, http2.ErrCodeNo) })
	}
}

// writeHeaders appends header fields, which alternate with their values. The
// caller holds mu.
func (c *Carrier) writeHeaders(id uint32, last bool, fields ...string) error {
	c.block.Reset()
	for i := 0; i < len(fields); i += 2 {
		if err := c.headers.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]}); err != nil {
			return err
		}
	}
	return c.framer.WriteHeaders(http2.HeadersFrameParam{
		StreamID: id, BlockFragment: c.block.Bytes(), EndHeaders: true, EndStream: last,
	})
}
