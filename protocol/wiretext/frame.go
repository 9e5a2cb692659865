package wiretext

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/rpc"
)

// Frame is a frame as a JSON object. The members of its header are numbers, as
// on the wire; those of its body have the names that Seata's classes give them,
// and values of enumerations are names.
type Frame struct {
	Version     byte              `json:"version"`
	MessageType byte              `json:"message_type"`
	Codec       byte              `json:"codec"`
	Compressor  byte              `json:"compressor"`
	RequestID   int64             `json:"request_id"`
	HeadMap     map[string]string `json:"head_map"`
	Type        string            `json:"type"`
	Body        Body              `json:"body"`
	// Raw is the frame in hex when writing what the other members say would give
	// other bytes: a compressor has many ways to pack a body, a head map many
	// orders. Encode uses it for as long as it says the same as they do.
	Raw string `json:"raw,omitempty"`
}

// Body is a message as a JSON object: its fields in the order of the wire. A
// message inside of a merged one is an object of type and body.
type Body struct{ Message protocol.Message }

// Translator turns frames into Frames and back. The zero value is ready for
// use, by one goroutine.
type Translator struct {
	inspector rpc.Inspector
	again     []byte // the memory of a frame written back
}

// Cut returns the length of the frame that b begins with, or 0 when b ends
// within it. The error is an *rpc.FrameError.
func (t *Translator) Cut(b []byte) (int, error) { return t.inspector.Cut(b) }

// Read reads b, exactly one frame, and leaves Raw out: for looking at. The error
// is an *rpc.FrameError.
func (t *Translator) Read(b []byte) (*Frame, error) {
	h, m, err := t.inspector.Decode(b)
	if err != nil {
		return nil, err
	}
	return frameOf(h, m), nil
}

// Decode reads b, exactly one frame, so that Encode gives it back. The error is
// an *rpc.FrameError.
func (t *Translator) Decode(b []byte) (*Frame, error) {
	f, err := t.Read(b)
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(f)
	if err == nil {
		t.again, err = t.Encode(t.again[:0], text)
	}
	if err != nil || !bytes.Equal(t.again, b) {
		f.Raw = hex.EncodeToString(b)
	}
	return f, nil
}

// frameOf is the Frame of what an Inspector knows, without Raw.
func frameOf(h rpc.Header, m protocol.Message) *Frame {
	f := &Frame{
		Version: h.Version, MessageType: h.MessageType, Codec: h.Codec, Compressor: h.Compressor,
		RequestID: h.ID, HeadMap: make(map[string]string, len(h.Head)), Type: m.TypeCode().String(), Body: Body{m},
	}
	for _, key := range sortedKeys(h.Head) { // in order: keys may become equal
		f.HeadMap[valid(key)] = valid(h.Head[key])
	}
	return f
}

func sortedKeys(head map[string]string) []string { return slices.Sorted(maps.Keys(head)) }

// valid is a text as JSON can hold it.
func valid(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

// Encode is the inverse of Decode: it appends the frame that a JSON object
// describes to dst. Members that are left out are zero, but for version and
// codec, which are 1, and message_type, which follows from type. On an error dst
// is unchanged.
func (t *Translator) Encode(dst []byte, object []byte) ([]byte, error) {
	o, err := parseObject(object)
	if err != nil {
		return dst, err
	}
	if o.raw != nil && t.saysTheSame(o) {
		return append(dst, o.raw...), nil
	}
	return t.inspector.Append(dst, &o.header, o.message)
}

// saysTheSame tells whether an object's raw bytes are what its other members
// say.
func (t *Translator) saysTheSame(o *object) bool {
	h, m, err := t.inspector.Decode(o.raw)
	if err != nil {
		return false
	}
	raw, err := json.Marshal(frameOf(h, m))
	if err != nil {
		return false
	}
	members, err := json.Marshal(frameOf(o.header, o.message))
	return err == nil && bytes.Equal(raw, members)
}
