package hessian

import (
	"encoding/binary"
	"math"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/codec"
)

// Tags of Hessian 2 (http://hessian.caucho.com/doc/hessian-serialization.html),
// and the bounds of its short forms.
const (
	tagNull      = 'N'
	tagTrue      = 'T'
	tagFalse     = 'F'
	tagInt       = 'I'
	tagLong      = 'L'
	tagLongOfInt = 0x59
	tagString    = 'S'
	tagChunk     = 'R'
	tagClass     = 'C'
	tagObject    = 'O'
	tagRef       = 'Q'
	tagTyped     = 'V'
	tagUntyped   = 0x58

	shortObject  = 0x60 // and 15 more
	shortTyped   = 0x70 // and 7 more
	shortUntyped = 0x78 // and 7 more

	maxShortString = 0x1f  // units after a tag that is their number
	maxMidString   = 0x3ff // units after a tag 0x30 to 0x33 and a byte
	maxChunk       = 0x8000
)

// writer appends values to b.
type writer struct {
	b        []byte
	names    codec.Names
	inMerged bool
	err      error
	// classes are those defined so far, and refs the values that Java can refer
	// to: each object and list counts, and an enumeration's is written once.
	classes []string
	refs    int
	enums   []enumRef
}

// enumRef is where a value of an enumeration was written.
type enumRef struct {
	class string
	value int
	ref   int
}

func (w *writer) fail(sentinel error, format string, args ...any) {
	if w.err == nil {
		w.err = wrapf(sentinel, format, args...)
	}
}

func (w *writer) message(m protocol.Message) {
	if m == nil {
		w.fail(codec.ErrInvalid, "a nil message")
		return
	}
	fields := layout(m)
	if fields == nil {
		w.fail(codec.ErrUnknownType, "%T has no body in this codec", m)
		return
	}
	w.checkIDs(m)
	w.refs++
	w.object(classNameOf(m.TypeCode(), w.names), fields)
	for _, f := range fields {
		if w.err != nil {
			return
		}
		w.value(f)
	}
}

// checkIDs compares the numbers of ids and messages.
func (w *writer) checkIDs(m protocol.Message) {
	ids, messages := 0, 0
	switch m := m.(type) {
	case *protocol.Merged:
		ids, messages = len(m.IDs), len(m.Messages)
		if ids == 0 {
			return // as from clients before 1.5.0
		}
	case *protocol.BatchResult:
		ids, messages = len(m.IDs), len(m.Messages)
	}
	if ids != messages {
		w.fail(codec.ErrInvalid, "%d ids for %d messages", ids, messages)
	}
}

// object begins an object, with the definition of its class the first time.
func (w *writer) object(class string, fields []field) {
	index := -1
	for i, c := range w.classes {
		if c == class {
			index = i
		}
	}
	if index < 0 {
		index = len(w.classes)
		w.classes = append(w.classes, class)
		w.b = append(w.b, tagClass)
		w.text(class)
		w.int(int32(len(fields)))
		for _, f := range fields {
			w.text(f.name)
		}
	}
	if index < 16 {
		w.b = append(w.b, shortObject+byte(index))
		return
	}
	w.b = append(w.b, tagObject)
	w.int(int32(index))
}

func (w *writer) value(f field) {
	switch v := f.value.(type) {
	case nil:
		w.b = append(w.b, tagNull)
	case *string:
		w.stringField(f.name, *v)
	case *bool:
		if *v {
			w.b = append(w.b, tagTrue)
		} else {
			w.b = append(w.b, tagFalse)
		}
	case *int16:
		w.int(int32(*v))
	case *int32:
		w.int(*v)
	case *int64:
		w.long(*v)
	case *[]int32:
		w.ids(*v)
	case messageList:
		w.list(v)
	default:
		if e, ok := enumOf(f.value); ok {
			w.enum(f.name, e)
			return
		}
		w.fail(codec.ErrInvalid, "field %s has a value of type %T", f.name, f.value)
	}
}

// stringField writes a text, or null for an empty one. A failure's message only
// explains: a part that is not UTF-8 must not cost the answer.
func (w *writer) stringField(name, s string) {
	if name == "msg" {
		s = strings.ToValidUTF8(s, "\ufffd")
	}
	switch {
	case s == "":
		w.b = append(w.b, tagNull)
	case !utf8.ValidString(s):
		w.fail(codec.ErrInvalid, "field %s is not UTF-8; set seata.transport.serialization=seata, which carries any bytes", name)
	default:
		w.text(s)
	}
}

// text writes a text. Java counts it in units of UTF-16 and writes each of them in
// UTF-8 by itself, also the two halves of a character beyond 0xffff. A chunk does
// not end between those.
func (w *writer) text(s string) {
	units := utf16Len(s)
	for units > maxChunk {
		n, end := 0, 0
		for i, r := range s {
			size := utf16.RuneLen(r)
			if n+size > maxChunk {
				end = i
				break
			}
			n += size
		}
		w.b = append(w.b, tagChunk, byte(n>>8), byte(n))
		w.units(s[:end])
		s, units = s[end:], units-n
	}
	switch {
	case units <= maxShortString:
		w.b = append(w.b, byte(units))
	case units <= maxMidString:
		w.b = append(w.b, 0x30+byte(units>>8), byte(units))
	default:
		w.b = append(w.b, tagString, byte(units>>8), byte(units))
	}
	w.units(s)
}

func (w *writer) units(s string) {
	for _, r := range s {
		if r <= math.MaxUint16 {
			w.b = utf8.AppendRune(w.b, r)
			continue
		}
		high, low := utf16.EncodeRune(r)
		w.unit(high)
		w.unit(low)
	}
}

// unit appends half of a character, in three bytes.
func (w *writer) unit(r rune) {
	w.b = append(w.b, 0xe0|byte(r>>12), 0x80|byte(r>>6)&0x3f, 0x80|byte(r)&0x3f)
}

func utf16Len(s string) int {
	n := 0
	for _, r := range s {
		n += utf16.RuneLen(r)
	}
	return n
}

func (w *writer) int(v int32) {
	switch {
	case v >= -0x10 && v <= 0x2f:
		w.b = append(w.b, byte(0x90+v))
	case v >= -0x800 && v <= 0x7ff:
		w.b = append(w.b, byte(0xc8+v>>8), byte(v))
	case v >= -0x40000 && v <= 0x3ffff:
		w.b = append(w.b, byte(0xd4+v>>16), byte(v>>8), byte(v))
	default:
		w.b = binary.BigEndian.AppendUint32(append(w.b, tagInt), uint32(v))
	}
}

func (w *writer) long(v int64) {
	switch {
	case v >= -0x08 && v <= 0x0f:
		w.b = append(w.b, byte(0xe0+v))
	case v >= -0x800 && v <= 0x7ff:
		w.b = append(w.b, byte(0xf8+v>>8), byte(v))
	case v >= -0x40000 && v <= 0x3ffff:
		w.b = append(w.b, byte(0x3c+v>>16), byte(v>>8), byte(v))
	case v >= math.MinInt32 && v <= math.MaxInt32:
		w.b = binary.BigEndian.AppendUint32(append(w.b, tagLongOfInt), uint32(v))
	default:
		w.b = binary.BigEndian.AppendUint64(append(w.b, tagLong), uint64(v))
	}
}

// enum writes a value; the same one a second time as a reference to the first.
// An absent global status is null.
func (w *writer) enum(name string, e enum) {
	v := e.get()
	if name == "globalStatus" && v == int(protocol.StatusNone) {
		w.b = append(w.b, tagNull)
		return
	}
	if v < 0 || v > e.highest {
		w.fail(codec.ErrInvalid, "field %s is %d, which has no name in Java", name, v)
		return
	}
	class := w.names.String() + ".core." + e.class
	for _, written := range w.enums {
		if written.class == e.class && written.value == v {
			w.b = append(w.b, tagRef)
			w.int(int32(written.ref))
			return
		}
	}
	w.enums = append(w.enums, enumRef{e.class, v, w.refs})
	w.refs++
	w.object(class, []field{{"name", nil}})
	w.text(e.nameOf(v))
}

func (w *writer) listHead(n int) {
	w.refs++
	if n <= 7 {
		w.b = append(w.b, shortUntyped+byte(n))
		return
	}
	w.b = append(w.b, tagUntyped)
	w.int(int32(n))
}

func (w *writer) ids(ids []int32) {
	w.listHead(len(ids))
	for _, id := range ids {
		w.int(id)
	}
}

func (w *writer) list(l messageList) {
	switch n := len(*l.messages); {
	case w.inMerged:
		w.fail(codec.ErrNested, "at most one level is allowed")
		return
	case n > MaxMerged:
		w.fail(codec.ErrTooLong, "%d messages, at most %d fit", n, MaxMerged)
		return
	case !l.array:
		w.listHead(n)
	default:
		w.arrayHead(n)
	}
	w.inMerged = true
	for _, m := range *l.messages {
		if w.err != nil {
			return
		}
		w.message(m)
	}
}

// arrayHead begins the array of a MergeResultMessage, the only one of a body.
func (w *writer) arrayHead(n int) {
	w.refs++
	class := "[" + classPrefix(w.names) + "AbstractResultMessage"
	if n <= 7 {
		w.b = append(w.b, shortTyped+byte(n))
		w.text(class)
		return
	}
	w.b = append(w.b, tagTyped)
	w.text(class)
	w.int(int32(n))
}
