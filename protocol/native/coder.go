package native

import (
	"encoding/binary"
	"fmt"
	"unicode/utf8"

	"github.com/qiao-tx/qiao/protocol"
)

// sharedMax is the longest body, in bytes, that is copied once and whole for
// all its texts. Texts of a longer one are copied one by one, so that a short
// text that lives long does not keep much else in memory.
const sharedMax = 2048

// coder goes through the fields of a message in one direction: it appends them
// to b, or reads them from b at pos. After the first error it does nothing.
// When encoding, fields are only read: a message may be sent by several
// goroutines at once.
type coder struct {
	encoding bool
	b        []byte
	pos      int    // decoding
	text     string // decoding: b as a string, once a text of a short b is read
	inMerged bool
	v2       bool // results of registrations begin with a result code
	stream   bool // decoding: more of b may follow later
	missing  int  // decoding a stream: how many more bytes are needed at least
	err      error
}

func (c *coder) fail(sentinel error, format string, args ...any) {
	if c.err == nil {
		c.err = fmt.Errorf("%w: %s", sentinel, fmt.Sprintf(format, args...))
	}
}

func (c *coder) remaining() int { return len(c.b) - c.pos }

// take returns the next n bytes, or nil with the error set.
func (c *coder) take(n int) []byte {
	if c.err != nil {
		return nil
	}
	if n > c.remaining() {
		c.short(n)
		return nil
	}
	p := c.b[c.pos : c.pos+n]
	c.pos += n
	return p
}

// short fails because n bytes are wanted and fewer remain. A merged message of a
// stream is there as a whole before its parts are read: what they lack will not
// come.
func (c *coder) short(n int) {
	if c.stream && !c.inMerged {
		c.missing = n - c.remaining()
	}
	c.fail(ErrTruncated, "%d bytes wanted, %d remain", n, c.remaining())
}

// ended tells, when decoding, whether the body ends here, between two fields. A
// stream does not: nobody leaves out fields there.
func (c *coder) ended() bool { return !c.encoding && !c.stream && c.remaining() == 0 }

func (c *coder) int16(v *int16) {
	if c.encoding {
		c.b = binary.BigEndian.AppendUint16(c.b, uint16(*v))
	} else if p := c.take(2); p != nil {
		*v = int16(binary.BigEndian.Uint16(p))
	}
}

func (c *coder) int32(v *int32) {
	if c.encoding {
		c.b = binary.BigEndian.AppendUint32(c.b, uint32(*v))
	} else if p := c.take(4); p != nil {
		*v = int32(binary.BigEndian.Uint32(p))
	}
}

func (c *coder) int64(v *int64) {
	if c.encoding {
		c.b = binary.BigEndian.AppendUint64(c.b, uint64(*v))
	} else if p := c.take(8); p != nil {
		*v = int64(binary.BigEndian.Uint64(p))
	}
}

// octet codes an enumeration of one byte. Values that Seata 2.5.0 does not
// know pass: later versions add some.
func octet[T ~int8 | ~uint8](c *coder, v *T) {
	if c.encoding {
		c.b = append(c.b, byte(*v))
	} else if p := c.take(1); p != nil {
		*v = T(p[0])
	}
}

// flag codes a truth value in one byte; only 1 is true.
func (c *coder) flag(v *bool) {
	var n uint8
	if *v {
		n = 1
	}
	octet(c, &n)
	if !c.encoding {
		*v = n == 1
	}
}

// flag16 is flag in two bytes.
func (c *coder) flag16(v *bool) {
	var n int16
	if *v {
		n = 1
	}
	c.int16(&n)
	if !c.encoding {
		*v = n == 1
	}
}

// str16 codes a text with a length of 2 bytes.
func (c *coder) str16(s *string) {
	if c.encoding && len(*s) > MaxText {
		c.fail(ErrTooLong, "a text of %d bytes, at most %d fit", len(*s), MaxText)
		return
	}
	n := int16(len(*s))
	c.int16(&n)
	c.bytes(s, int(n))
}

// cut16 is str16 that shortens a text that is too long instead of failing.
func (c *coder) cut16(s *string) {
	t := *s
	if c.encoding && len(t) > MaxText {
		end := MaxText
		for end > 0 && !utf8.RuneStart(t[end]) {
			end--
		}
		t = t[:end]
	}
	c.str16(&t)
	if !c.encoding {
		*s = t
	}
}

// str32 codes a text with a length of 4 bytes. They cannot overflow: a body of
// that length fits no frame.
func (c *coder) str32(s *string) {
	n := int32(len(*s))
	c.int32(&n)
	c.bytes(s, int(n))
}

// bytes codes the n bytes of a text after its length.
func (c *coder) bytes(s *string, n int) {
	switch {
	case c.err != nil:
	case c.encoding:
		c.b = append(c.b, *s...)
	case n < 0:
		c.fail(ErrInvalid, "a text of %d bytes", n)
	default:
		start := c.pos
		p := c.take(n)
		if len(p) == 0 {
			return
		}
		if len(c.b) > sharedMax {
			*s = string(p)
			return
		}
		if c.text == "" {
			c.text = string(c.b)
		}
		*s = c.text[start:c.pos]
	}
}

// typed appends m with its type code.
func (c *coder) typed(m protocol.Message) {
	code := int16(m.TypeCode())
	c.int16(&code)
	c.fields(m)
}

// next reads a type code and the message of that type.
func (c *coder) next() protocol.Message {
	var code int16
	c.int16(&code)
	if c.err != nil {
		return nil
	}
	return c.message(protocol.TypeCode(code))
}

// message reads the message of the type.
func (c *coder) message(code protocol.TypeCode) protocol.Message {
	m := protocol.New(code)
	if m == nil {
		c.fail(ErrUnknownType, "%d; is the peer newer than Seata %s?", code, protocol.SeataVersion)
		return nil
	}
	c.fields(m)
	return m
}
