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

const (
	// maxFields is how many fields a class may have; Seata's have up to eight.
	maxFields = 64
	// maxDepth is how deep the values of unknown fields may nest.
	maxDepth = 8
	// maxRefs is how many objects and lists a body may have: the merged messages
	// and some more.
	maxRefs = MaxMerged + 1<<10
)

// definition is a class as the body defines it.
type definition struct {
	class  string
	fields []string
}

// reader takes values off b. After the first error it does nothing.
type reader struct {
	b         []byte
	pos       int
	names     codec.Names
	err       error
	outermost protocol.Message
	inMerged  bool

	classes []definition
	types   []string
	// refs are what the body can refer to: the class and name of a value of an
	// enumeration, and nothing for an object or a list.
	refs []definition
}

func (r *reader) fail(sentinel error, format string, args ...any) {
	if r.err == nil {
		r.err = wrapf(sentinel, format, args...)
	}
}

// take returns the next n bytes, or nil with the error set.
func (r *reader) take(n int) []byte {
	if r.err != nil {
		return nil
	}
	if n > len(r.b)-r.pos {
		r.fail(codec.ErrTruncated, "%d bytes wanted, %d remain", n, len(r.b)-r.pos)
		return nil
	}
	p := r.b[r.pos : r.pos+n]
	r.pos += n
	return p
}

// next returns the next tag, which is the tag of null after an error.
func (r *reader) next() byte {
	if p := r.take(1); p != nil {
		return p[0]
	}
	return tagNull
}

// peek is next without taking it.
func (r *reader) peek() byte {
	tag := r.next()
	if r.err == nil {
		r.pos--
	}
	return tag
}

// message reads an object of a message's class; nil for null.
func (r *reader) message() protocol.Message {
	d, ok := r.object()
	if !ok {
		return nil
	}
	m := newMessage(d.class, r.names)
	if m == nil {
		r.unknownClass(d.class)
		return nil
	}
	if r.outermost == nil {
		r.outermost = m
	}
	r.addRef(definition{})
	codeGiven := false
	fields := layout(m)
	for _, name := range d.fields {
		if r.err != nil {
			return m
		}
		f, known := find(fields, name)
		switch {
		case !known || f.value == nil:
			r.skip(0)
		case name == "resultCode" && r.peek() == tagNull:
			r.next()
		default:
			codeGiven = codeGiven || name == "resultCode"
			r.value(f)
		}
	}
	if r.err == nil {
		r.complete(m, codeGiven)
	}
	return m
}

// complete derives what a body may leave out: the result code of an answer to a
// registration, which Java's servers before 2.0 do not set.
func (r *reader) complete(m protocol.Message, codeGiven bool) {
	switch m := m.(type) {
	case *protocol.RegisterTMResult:
		deriveCode(&m.Result, m.Identified, codeGiven)
	case *protocol.RegisterRMResult:
		deriveCode(&m.Result, m.Identified, codeGiven)
	case *protocol.UnregisterRMResult:
		deriveCode(&m.Result, m.Identified, codeGiven)
	case *protocol.Merged:
		r.checkIDs(len(m.IDs), len(m.Messages), true)
		m.Messages = notNil(m.Messages)
	case *protocol.MergedResult:
		m.Messages = notNil(m.Messages)
	case *protocol.BatchResult:
		r.checkIDs(len(m.IDs), len(m.Messages), false)
		m.Messages = notNil(m.Messages)
	}
}

func deriveCode(r *protocol.Result, identified, codeGiven bool) {
	if identified && !codeGiven {
		r.Code = protocol.ResultSuccess
	}
}

func notNil(messages []protocol.Message) []protocol.Message {
	if messages == nil {
		return []protocol.Message{}
	}
	return messages
}

func (r *reader) checkIDs(ids, messages int, optional bool) {
	if ids != messages && (ids != 0 || !optional) {
		r.fail(codec.ErrInvalid, "%d ids for %d messages", ids, messages)
	}
}

func find(fields []field, name string) (field, bool) {
	for _, f := range fields {
		if f.name == name {
			return f, true
		}
	}
	return field{}, false
}

func (r *reader) unknownClass(class string) {
	r.fail(codec.ErrUnknownType, "class %.120q is not one of the protocol's", class)
}

// object reads the head of an object and returns its class; false for null.
func (r *reader) object() (definition, bool) {
	for {
		tag := r.next()
		var index int32
		switch {
		case r.err != nil, tag == tagNull:
			return definition{}, false
		case tag == tagClass:
			r.define()
			continue
		case tag == tagObject:
			index = r.int(r.next())
		case tag >= shortObject && tag < shortTyped:
			index = int32(tag - shortObject)
		default:
			r.fail(codec.ErrInvalid, "tag %#x where an object belongs", tag)
		}
		if r.err == nil && (index < 0 || int(index) >= len(r.classes)) {
			r.fail(codec.ErrInvalid, "class %d of %d", index, len(r.classes))
		}
		if r.err != nil {
			return definition{}, false
		}
		return r.classes[index], true
	}
}

// define reads a class, which must be one of the protocol's.
func (r *reader) define() {
	d := definition{class: r.text(r.next())}
	if r.err == nil && !r.known(d.class) {
		r.unknownClass(d.class)
	}
	n := r.int(r.next())
	if r.err == nil && (n < 1 || n > maxFields) {
		r.fail(codec.ErrTooLong, "a class of %d fields, from 1 to %d are allowed", n, maxFields)
	}
	for i := int32(0); i < n && r.err == nil; i++ {
		d.fields = append(d.fields, r.text(r.next()))
	}
	if r.err == nil && len(r.classes) == maxFields {
		r.fail(codec.ErrTooLong, "more than %d classes", maxFields)
	}
	r.classes = append(r.classes, d)
}

// known tells whether a class is a message's or an enumeration's.
func (r *reader) known(class string) bool {
	if newMessage(class, r.names) != nil {
		return true
	}
	name, ok := strings.CutPrefix(class, r.names.String()+".core.")
	if !ok {
		return false
	}
	switch name {
	case "model.GlobalStatus", "model.BranchStatus", "model.BranchType",
		"exception.TransactionExceptionCode", "protocol.ResultCode":
		return true
	}
	return false
}

// value reads the value of a field. Null is the empty value.
func (r *reader) value(f field) {
	if e, ok := enumOf(f.value); ok {
		r.enum(f.name, e)
		return
	}
	tag := r.next()
	if r.err != nil || tag == tagNull {
		return
	}
	switch v := f.value.(type) {
	case *string:
		*v = r.text(tag)
	case *bool:
		*v = tag == tagTrue
		if tag != tagTrue && tag != tagFalse {
			r.fail(codec.ErrInvalid, "tag %#x where a truth value belongs", tag)
		}
	case *int16:
		n := r.int(tag)
		if n < math.MinInt16 || n > math.MaxInt16 {
			r.fail(codec.ErrInvalid, "field %s is %d, beyond 16 bits", f.name, n)
		}
		*v = int16(n)
	case *int32:
		*v = r.int(tag)
	case *int64:
		*v = r.long(tag)
	case *[]int32:
		*v = r.ids(tag)
	case messageList:
		*v.messages = r.messages(tag)
	}
}

// enum reads a value, or a reference to one that came before. An absent global
// status is one of its own.
func (r *reader) enum(name string, e enum) {
	var d definition
	switch tag := r.peek(); {
	case r.err != nil:
		return
	case tag == tagNull:
		r.next()
		if name == "globalStatus" {
			e.set(int(protocol.StatusNone))
		}
		return
	case tag == tagRef:
		r.next()
		d = r.ref()
	default:
		d = r.enumObject()
	}
	if r.err != nil {
		return
	}
	v := -1
	if d.class == r.names.String()+".core."+e.class {
		v = e.valueOf(d.fields[0])
	}
	if v < 0 {
		r.fail(codec.ErrInvalid, "field %s is %.60q of class %.120q; is the peer newer than Seata %s?",
			name, d.fields[0], d.class, protocol.SeataVersion)
		return
	}
	e.set(v)
}

// enumObject reads a value of an enumeration: its class and, as the only field,
// its name.
func (r *reader) enumObject() definition {
	d, ok := r.object()
	if !ok {
		r.fail(codec.ErrInvalid, "no value of an enumeration")
		return definition{}
	}
	if newMessage(d.class, r.names) != nil || len(d.fields) != 1 || d.fields[0] != "name" {
		r.fail(codec.ErrInvalid, "class %.120q is no enumeration", d.class)
		return definition{}
	}
	value := definition{class: d.class, fields: []string{r.text(r.next())}}
	r.addRef(value)
	return value
}

// addRef notes what a later reference may refer to.
func (r *reader) addRef(d definition) {
	if len(r.refs) == maxRefs {
		r.fail(codec.ErrTooLong, "more than %d objects and lists", maxRefs)
		return
	}
	r.refs = append(r.refs, d)
}

// ref reads what a reference refers to, which must be a value of an enumeration:
// nothing else comes twice.
func (r *reader) ref() definition {
	n := r.int(r.next())
	if r.err == nil && (n < 0 || int(n) >= len(r.refs) || r.refs[n].class == "") {
		r.fail(codec.ErrInvalid, "a reference to %d, where no value of an enumeration was", n)
	}
	if r.err != nil {
		return definition{}
	}
	return r.refs[n]
}

// list reads the head of a list and returns how many elements follow. An element
// takes at least a byte.
func (r *reader) list(tag byte) int {
	var n int32
	switch {
	case tag >= shortUntyped && tag <= shortUntyped+7:
		n = int32(tag - shortUntyped)
	case tag == tagUntyped:
		n = r.int(r.next())
	case tag >= shortTyped && tag <= shortTyped+7:
		r.listType()
		n = int32(tag - shortTyped)
	case tag == tagTyped:
		r.listType()
		n = r.int(r.next())
	default:
		r.fail(codec.ErrInvalid, "tag %#x where a list belongs", tag)
	}
	if r.err == nil && (n < 0 || n > MaxMerged || int(n) > len(r.b)-r.pos) {
		r.fail(codec.ErrTooLong, "%d elements announced in %d bytes, at most %d are allowed", n, len(r.b)-r.pos, MaxMerged)
	}
	if r.err != nil {
		return 0
	}
	r.addRef(definition{})
	return int(n)
}

// listType reads the class of a list: one of java.util's, or an array of the
// protocol's messages. It makes no difference.
func (r *reader) listType() {
	tag := r.peek()
	if isInt(tag) {
		n := r.int(r.next())
		if r.err == nil && (n < 0 || int(n) >= len(r.types)) {
			r.fail(codec.ErrInvalid, "type %d of %d", n, len(r.types))
		}
		return
	}
	class := r.text(r.next())
	if r.err == nil && !strings.HasPrefix(class, "java.util.") && !strings.HasPrefix(class, "["+classPrefix(r.names)) {
		r.unknownClass(class)
	}
	r.types = append(r.types, class)
}

func (r *reader) ids(tag byte) []int32 {
	var ids []int32
	for range r.list(tag) {
		ids = append(ids, r.int(r.next()))
		if r.err != nil {
			return nil
		}
	}
	return ids
}

func (r *reader) messages(tag byte) []protocol.Message {
	if r.inMerged {
		r.fail(codec.ErrNested, "at most one level is allowed")
		return nil
	}
	r.inMerged = true
	var all []protocol.Message
	for range r.list(tag) {
		m := r.message()
		if r.err == nil && m == nil {
			r.fail(codec.ErrInvalid, "a null among the merged messages")
		}
		if r.err != nil {
			return nil
		}
		all = append(all, m)
	}
	return all
}

// skip reads the value of a field that this version does not know, or that is
// null in every message.
func (r *reader) skip(depth int) {
	if depth > maxDepth {
		r.fail(codec.ErrInvalid, "values nest deeper than %d", maxDepth)
		return
	}
	tag := r.peek()
	switch {
	case r.err != nil:
	case tag == tagNull, tag == tagTrue, tag == tagFalse:
		r.next()
	case tag == tagRef:
		r.next()
		r.ref()
	case isInt(tag):
		r.int(r.next())
	case isLong(tag):
		r.long(r.next())
	case isText(tag):
		r.text(r.next())
	case tag == tagClass, tag == tagObject, tag >= shortObject && tag < shortTyped:
		r.enumObject()
	case tag == tagTyped, tag == tagUntyped, tag >= shortTyped && tag <= shortUntyped+7:
		for range r.list(r.next()) {
			r.skip(depth + 1)
			if r.err != nil {
				return
			}
		}
	default:
		r.fail(codec.ErrInvalid, "tag %#x, which no message of Seata's has", tag)
	}
}

func isInt(tag byte) bool { return tag == tagInt || tag >= 0x80 && tag <= 0xd7 }

func (r *reader) int(tag byte) int32 {
	switch {
	case tag >= 0x80 && tag <= 0xbf:
		return int32(tag) - 0x90
	case tag >= 0xc0 && tag <= 0xcf:
		if p := r.take(1); p != nil {
			return (int32(tag)-0xc8)<<8 + int32(p[0])
		}
	case tag >= 0xd0 && tag <= 0xd7:
		if p := r.take(2); p != nil {
			return (int32(tag)-0xd4)<<16 + int32(binary.BigEndian.Uint16(p))
		}
	case tag == tagInt:
		if p := r.take(4); p != nil {
			return int32(binary.BigEndian.Uint32(p))
		}
	default:
		r.fail(codec.ErrInvalid, "tag %#x where an integer belongs", tag)
	}
	return 0
}

func isLong(tag byte) bool {
	return tag == tagLong || tag == tagLongOfInt || tag >= 0x38 && tag <= 0x3f || tag >= 0xd8
}

func (r *reader) long(tag byte) int64 {
	switch {
	case tag >= 0xd8 && tag <= 0xef:
		return int64(tag) - 0xe0
	case tag >= 0xf0:
		if p := r.take(1); p != nil {
			return (int64(tag)-0xf8)<<8 + int64(p[0])
		}
	case tag >= 0x38 && tag <= 0x3f:
		if p := r.take(2); p != nil {
			return (int64(tag)-0x3c)<<16 + int64(binary.BigEndian.Uint16(p))
		}
	case tag == tagLongOfInt:
		if p := r.take(4); p != nil {
			return int64(int32(binary.BigEndian.Uint32(p)))
		}
	case tag == tagLong:
		if p := r.take(8); p != nil {
			return int64(binary.BigEndian.Uint64(p))
		}
	default:
		r.fail(codec.ErrInvalid, "tag %#x where a long integer belongs", tag)
	}
	return 0
}

func isText(tag byte) bool {
	return tag <= maxShortString || tag >= 0x30 && tag <= 0x33 || tag == tagString || tag == tagChunk
}

// text reads a text: chunks and a last part, or that alone.
func (r *reader) text(tag byte) string {
	if tag != tagChunk {
		return r.part(tag)
	}
	var b strings.Builder
	for ; tag == tagChunk && r.err == nil; tag = r.next() {
		b.WriteString(r.part(tag))
	}
	b.WriteString(r.part(tag))
	return b.String()
}

// part reads one part of a text.
func (r *reader) part(tag byte) string {
	n := 0
	switch {
	case r.err != nil:
	case tag <= maxShortString:
		n = int(tag)
	case tag >= 0x30 && tag <= 0x33:
		if p := r.take(1); p != nil {
			n = int(tag-0x30)<<8 | int(p[0])
		}
	case tag == tagString || tag == tagChunk:
		if p := r.take(2); p != nil {
			n = int(binary.BigEndian.Uint16(p))
		}
	default:
		r.fail(codec.ErrInvalid, "tag %#x where a text belongs", tag)
	}
	if r.err == nil && n > len(r.b)-r.pos {
		r.fail(codec.ErrTruncated, "a text of %d characters, %d bytes remain", n, len(r.b)-r.pos)
	}
	if r.err != nil {
		return ""
	}
	if isASCII(r.b[r.pos : r.pos+n]) {
		return string(r.take(n))
	}
	var b strings.Builder
	r.units(&b, n)
	return b.String()
}

func isASCII(b []byte) bool {
	for _, c := range b {
		if c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// units reads units of UTF-16, each in UTF-8 by itself.
func (r *reader) units(b *strings.Builder, n int) {
	for n > 0 && r.err == nil {
		c := r.unit()
		n--
		if utf16.IsSurrogate(c) && r.err == nil {
			if n == 0 {
				r.fail(codec.ErrInvalid, "half a character")
				return
			}
			c = utf16.DecodeRune(c, r.unit())
			n--
			if c == utf8.RuneError && r.err == nil {
				r.fail(codec.ErrInvalid, "half a character")
			}
		}
		b.WriteRune(c)
	}
}

// unit reads one unit: a character up to 0xffff or half of one beyond.
func (r *reader) unit() rune {
	first := r.next()
	switch {
	case r.err != nil:
	case first < 0x80:
		return rune(first)
	case first&0xe0 == 0xc0:
		if p := r.take(1); p != nil && p[0]&0xc0 == 0x80 {
			return rune(first&0x1f)<<6 | rune(p[0]&0x3f)
		}
	case first&0xf0 == 0xe0:
		if p := r.take(2); p != nil && p[0]&0xc0 == 0x80 && p[1]&0xc0 == 0x80 {
			return rune(first&0x0f)<<12 | rune(p[0]&0x3f)<<6 | rune(p[1]&0x3f)
		}
	}
	r.fail(codec.ErrInvalid, "a text that is not UTF-8")
	return 0
}
