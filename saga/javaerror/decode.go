package javaerror

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"
	"unicode/utf8"

	"github.com/qiao-tx/qiao/saga/machine"
)

// Decode reads what Encode or an engine of Java wrote.
func Decode(b []byte) *machine.Failure {
	if len(b) == 0 {
		return nil
	}
	f, err := readFailure(b)
	if err != nil {
		return &machine.Failure{Class: "unreadable", Message: fmt.Sprintf("an error of %d bytes that cannot be read: %v", len(b), err)}
	}
	return f
}

func readFailure(b []byte) (*machine.Failure, error) {
	rest, ok := strings.CutPrefix(string(b), javaMagic)
	if !ok {
		return nil, errNoException
	}
	r := &javaReader{b: []byte(rest)}
	v := r.content(0)
	if r.err != nil {
		return nil, r.err
	}
	o, ok := v.(*javaObject)
	if !ok || o.class == nil {
		return nil, errNoException
	}
	f := &machine.Failure{Class: o.class.name}
	for c := o.class.above; c != nil; c = c.above {
		f.Also = append(f.Also, c.name)
	}
	f.Message, _ = o.fields["detailMessage"].(string)
	frames, _ := o.fields["stackTrace"].([]any)
	ownNames(f, frames)
	return f, nil
}

var errNoException = errors.New("it is no serialized Java exception")

// ownNames takes the names from the frames that Encode wrote.
func ownNames(f *machine.Failure, frames []any) {
	for i, v := range frames {
		frame, _ := v.(*javaObject)
		if frame == nil || frame.fields["methodName"] != nameFrame || frame.fields["fileName"] != nameFile {
			return
		}
		name, _ := frame.fields["declaringClass"].(string)
		line, _ := frame.fields["lineNumber"].(int64)
		if i > 0 {
			f.Also = append(f.Also, name)
			continue
		}
		f.Class, f.Also, f.Expired = name, nil, line > expiredLine
		f.Network = machine.Network(max(line-1, 0) % expiredLine)
	}
}

// javaObject is an object of a stream, with the fields of all its classes.
type javaObject struct {
	class  *javaDescription
	fields map[string]any
}

// javaDescription describes a class.
type javaDescription struct {
	name   string
	flags  byte
	fields []javaField
	above  *javaDescription
}

type javaField struct {
	kind byte
	name string
}

// javaReader reads objects of Java's serialization protocol: enough for any
// exception without an Externalizable in it. It is total: each length is checked,
// and what it makes is no longer than what it reads.
type javaReader struct {
	b       []byte
	handles []any
	err     error
}

// maxJavaDepth bounds objects in objects.
const maxJavaDepth = 200

func (r *javaReader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf(format, args...)
	}
}

// take returns the next n bytes; after an error as many zeros, up to a few.
func (r *javaReader) take(n uint64) []byte {
	if r.err != nil || n > uint64(len(r.b)) {
		r.fail("it is cut off")
		return make([]byte, min(n, 8))
	}
	part := r.b[:n]
	r.b = r.b[n:]
	return part
}

func (r *javaReader) u8() byte    { return r.take(1)[0] }
func (r *javaReader) u16() uint64 { return uint64(binary.BigEndian.Uint16(r.take(2))) }
func (r *javaReader) u32() uint64 { return uint64(binary.BigEndian.Uint32(r.take(4))) }
func (r *javaReader) u64() uint64 { return binary.BigEndian.Uint64(r.take(8)) }

func (r *javaReader) utf() string { return plainText(r.take(r.u16())) }

// hold gives v the next handle.
func (r *javaReader) hold(v any) int {
	r.handles = append(r.handles, v)
	return len(r.handles) - 1
}

// content reads a value: nil, string, []any, *javaObject or *javaDescription.
func (r *javaReader) content(depth int) any {
	if depth > maxJavaDepth {
		r.fail("nested more than %d deep", maxJavaDepth)
	}
	if r.err != nil {
		return nil
	}
	switch tag := r.u8(); tag {
	case tcNull:
		return nil
	case tcReference:
		n := r.u32() - 0x7e0000
		if n >= uint64(len(r.handles)) {
			r.fail("a reference to nothing")
			return nil
		}
		return r.handles[n]
	case tcClassDesc:
		return r.description(depth)
	case tcString:
		n := r.hold("")
		s := r.utf()
		r.handles[n] = s
		return s
	case tcLong:
		n := r.hold("")
		s := plainText(r.take(r.u64()))
		r.handles[n] = s
		return s
	case tcArray:
		return r.array(depth)
	case tcObject:
		return r.object(depth)
	case tcEnum:
		r.class(depth)
		n := r.hold(nil)
		r.handles[n] = r.content(depth + 1)
		return r.handles[n]
	case tcClass:
		c := r.class(depth)
		r.hold(c)
		return c
	default:
		r.fail("the byte %#x begins no value", tag)
	}
	return nil
}

// class reads a description where one must stand.
func (r *javaReader) class(depth int) *javaDescription {
	c, _ := r.content(depth + 1).(*javaDescription)
	return c
}

func (r *javaReader) description(depth int) *javaDescription {
	c := &javaDescription{name: r.utf()}
	r.take(8)
	r.hold(c)
	c.flags = r.u8()
	for n := r.u16(); n > 0 && r.err == nil; n-- {
		f := javaField{kind: r.u8(), name: r.utf()}
		if f.kind == 'L' || f.kind == '[' {
			r.content(depth + 1) // the type's name
		}
		c.fields = append(c.fields, f)
	}
	r.annotation(depth)
	c.above = r.class(depth)
	return c
}

// annotation skips what a class writes beside its fields.
func (r *javaReader) annotation(depth int) {
	for r.err == nil {
		if len(r.b) == 0 {
			r.fail("it is cut off")
			return
		}
		switch r.b[0] {
		case tcEndBlock:
			r.u8()
			return
		case tcBlock:
			r.u8()
			r.take(uint64(r.u8()))
		case tcBlockLong:
			r.u8()
			r.take(r.u32())
		default:
			r.content(depth + 1)
		}
	}
}

func (r *javaReader) object(depth int) any {
	o := &javaObject{class: r.class(depth), fields: map[string]any{}}
	r.hold(o)
	var classes []*javaDescription
	for c := o.class; c != nil; c = c.above {
		if len(classes) > maxJavaDepth {
			r.fail("more than %d classes above each other", maxJavaDepth)
			return nil
		}
		classes = append(classes, c)
	}
	for i := len(classes) - 1; i >= 0; i-- {
		c := classes[i]
		if c.flags&scSerializable == 0 {
			r.fail("an Externalizable, %s", c.name)
			return nil
		}
		for _, f := range c.fields {
			o.fields[f.name] = r.value(f.kind, depth)
		}
		if c.flags&(scWriteMethod&^scSerializable) != 0 {
			r.annotation(depth)
		}
	}
	return o
}

func (r *javaReader) array(depth int) any {
	c := r.class(depth)
	at := r.hold(nil)
	kind := byte('L')
	if c != nil && len(c.name) > 1 {
		kind = c.name[1]
	}
	var list []any
	for n := r.u32(); n > 0 && r.err == nil; n-- {
		list = append(list, r.value(kind, depth))
	}
	r.handles[at] = list
	return list
}

// value reads a field or element.
func (r *javaReader) value(kind byte, depth int) any {
	switch kind {
	case 'B':
		return int64(int8(r.u8()))
	case 'Z':
		return r.u8() != 0
	case 'C', 'S':
		return int64(int16(r.u16()))
	case 'I':
		return int64(int32(r.u32()))
	case 'J':
		return int64(r.u64())
	case 'F':
		return float64(math.Float32frombits(uint32(r.u32())))
	case 'D':
		return math.Float64frombits(r.u64())
	}
	return r.content(depth + 1)
}

// plainText undoes modified.
func plainText(b []byte) string {
	if utf8.Valid(b) {
		return string(b)
	}
	var out []rune
	for len(b) > 0 {
		switch {
		case b[0] < 0x80:
			out = append(out, rune(b[0]))
			b = b[1:]
		case b[0]>>5 == 0x6 && len(b) >= 2:
			out = append(out, rune(b[0]&0x1f)<<6|rune(b[1]&0x3f))
			b = b[2:]
		case b[0]>>4 == 0xe && len(b) >= 3:
			r := rune(b[0]&0xf)<<12 | rune(b[1]&0x3f)<<6 | rune(b[2]&0x3f)
			if n := len(out); n > 0 && out[n-1] >= 0xd800 && out[n-1] < 0xdc00 && r >= 0xdc00 && r < 0xe000 {
				out[n-1] = 0x10000 + (out[n-1]-0xd800)<<10 + (r - 0xdc00)
			} else {
				out = append(out, r)
			}
			b = b[3:]
		default:
			out = append(out, utf8.RuneError)
			b = b[1:]
		}
	}
	return string(out)
}
