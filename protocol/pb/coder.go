package pb

import (
	"fmt"
	"math"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/codec"
)

const (
	// maxField is the highest number of a field in any message of the format.
	maxField = 7
	// maxDepth is how deep messages lie in each other, the lists of merged ones
	// left aside.
	maxDepth = 5
	// sharedMax is the longest body, in bytes, that is copied once and whole for
	// all its texts; texts of a longer one are copied one by one.
	sharedMax = 2048
)

// coder goes through the fields of a message in one direction: it appends them
// to b, or takes them from scope. After the first error it does nothing. When
// encoding, fields are only read: a message may be sent by several goroutines at
// once.
type coder struct {
	encoding bool
	b        []byte
	names    codec.Names
	inMerged bool
	err      error

	// Decoding:
	pos    int // where an error is
	text   string
	scopes [maxDepth]scope // of the open messages, outermost first
	depth  int
}

// scope is the fields of one protobuf message, by number.
type scope [maxField + 1]field

// field is one field as it arrived: a number, or a range of the body.
type field struct {
	wire       protowire.Type
	present    bool
	number     uint64
	start, end int
}

func (c *coder) fail(sentinel error, format string, args ...any) {
	if c.err == nil {
		c.err = fmt.Errorf("%w: %s", sentinel, fmt.Sprintf(format, args...))
	}
}

// message codes m, whose protobuf form takes b[start:end] when decoding.
func (c *coder) message(m protocol.Message, start, end int) {
	if list, ok := listOf(m); ok {
		if c.encoding {
			c.appendList(m.TypeCode(), list)
		} else {
			c.readList(list, start, end)
		}
		return
	}
	if !c.encoding {
		c.scopes[c.depth] = scope{}
		c.parse(&c.scopes[c.depth], start, end)
	}
	c.fields(m)
}

// parse takes the fields of a protobuf message apart. Fields that this version
// does not know are skipped. A field that comes twice is refused: no peer sends
// one, and what protobuf makes of it differs by kind.
func (c *coder) parse(s *scope, start, end int) {
	for c.pos = start; c.pos < end && c.err == nil; {
		number, f := c.nextField(end)
		if c.err != nil || number > maxField {
			continue
		}
		if s[number].present {
			c.fail(codec.ErrInvalid, "field %d comes twice", number)
			return
		}
		s[number] = f
	}
}

// nextField reads the field at pos.
func (c *coder) nextField(end int) (protowire.Number, field) {
	number, wire, n := protowire.ConsumeTag(c.b[c.pos:end])
	if n < 0 {
		c.failWire(n)
		return 0, field{}
	}
	at := c.pos + n
	f := field{wire: wire, present: true}
	switch wire {
	case protowire.VarintType:
		f.number, n = protowire.ConsumeVarint(c.b[at:end])
	case protowire.BytesType:
		var p []byte
		p, n = protowire.ConsumeBytes(c.b[at:end])
		f.start, f.end = at+n-len(p), at+n
	case protowire.Fixed32Type:
		_, n = protowire.ConsumeFixed32(c.b[at:end])
	case protowire.Fixed64Type:
		_, n = protowire.ConsumeFixed64(c.b[at:end])
	default:
		c.fail(codec.ErrInvalid, "field %d of wire type %d", number, wire)
		return 0, field{}
	}
	if n < 0 {
		c.failWire(n)
		return 0, field{}
	}
	c.pos = at + n
	return number, f
}

// failWire reports an error of protowire.
func (c *coder) failWire(n int) {
	err := protowire.ParseError(n)
	if strings.Contains(err.Error(), "EOF") {
		c.fail(codec.ErrTruncated, "%v", err)
		return
	}
	c.fail(codec.ErrInvalid, "%v", err)
}

// take returns the field with the number, which must be of the wire type, or of
// none when it is absent.
func (c *coder) take(number protowire.Number, wire protowire.Type) field {
	f := c.scopes[c.depth][number]
	if f.present && f.wire != wire && c.err == nil {
		c.fail(codec.ErrInvalid, "field %d has wire type %d, not %d", number, f.wire, wire)
		return field{}
	}
	return f
}

// open begins the message in the field with the number; close ends it.
func (c *coder) open(number protowire.Number) (mark int) {
	if c.encoding {
		c.b = protowire.AppendTag(c.b, number, protowire.BytesType)
		c.b = append(c.b, 0)
		return len(c.b)
	}
	f := c.take(number, protowire.BytesType)
	c.depth++
	inner := &c.scopes[c.depth]
	*inner = scope{}
	if f.present && c.err == nil {
		c.parse(inner, f.start, f.end)
	}
	return 0
}

// close writes the length of the message where open has left one byte for it.
func (c *coder) close(mark int) {
	if !c.encoding {
		c.depth--
		return
	}
	n := len(c.b) - mark
	if more := protowire.SizeVarint(uint64(n)) - 1; more > 0 {
		c.b = append(c.b, make([]byte, more)...)
		copy(c.b[mark+more:], c.b[mark:mark+n])
	}
	protowire.AppendVarint(c.b[:mark-1], uint64(n))
}

func (c *coder) int64(number protowire.Number, v *int64) {
	if c.encoding {
		c.appendNumber(number, uint64(*v))
		return
	}
	*v = int64(c.take(number, protowire.VarintType).number)
}

// appendNumber leaves zero out, as every writer does.
func (c *coder) appendNumber(number protowire.Number, n uint64) {
	if n != 0 {
		c.b = protowire.AppendTag(c.b, number, protowire.VarintType)
		c.b = protowire.AppendVarint(c.b, n)
	}
}

// integer codes an integer or an enumeration, which has to lie between low and
// high.
func integer[T ~int8 | ~uint8 | ~int16 | ~int32](c *coder, number protowire.Number, v *T, low, high int64) {
	n := int64(*v)
	if !c.encoding {
		// Protobuf cuts an int32 to its lower half.
		n = int64(int32(c.take(number, protowire.VarintType).number))
	}
	if n < low || n > high {
		c.fail(codec.ErrInvalid, "field %d is %d, not from %d to %d", number, n, low, high)
		return
	}
	if c.encoding {
		c.appendNumber(number, uint64(n))
	} else {
		*v = T(n)
	}
}

func (c *coder) int32(number protowire.Number, v *int32) {
	integer(c, number, v, math.MinInt32, math.MaxInt32)
}

func (c *coder) flag(number protowire.Number, v *bool) {
	if c.encoding {
		c.appendNumber(number, protowire.EncodeBool(*v))
		return
	}
	*v = protowire.DecodeBool(c.take(number, protowire.VarintType).number)
}

// str codes a text. Protobuf demands UTF-8, and Java drops a message without.
func (c *coder) str(number protowire.Number, s *string) {
	if c.encoding {
		if !utf8.ValidString(*s) {
			c.fail(codec.ErrInvalid, "field %d is not UTF-8; set seata.transport.serialization=seata, which carries any bytes", number)
		} else if *s != "" {
			c.b = protowire.AppendTag(c.b, number, protowire.BytesType)
			c.b = protowire.AppendString(c.b, *s)
		}
		return
	}
	f := c.take(number, protowire.BytesType)
	if f.start == f.end || c.err != nil {
		return
	}
	if !utf8.Valid(c.b[f.start:f.end]) {
		c.fail(codec.ErrInvalid, "field %d is not UTF-8", number)
		return
	}
	if len(c.b) > sharedMax {
		*s = string(c.b[f.start:f.end])
		return
	}
	if c.text == "" {
		c.text = string(c.b)
	}
	*s = c.text[f.start:f.end]
}
