package sagalog

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/qiao-tx/qiao/saga/machine"
)

// Seata keeps an error as a serialized Java object, and an engine of Java cannot
// load an instance whose error is anything else. So a Failure becomes a
// java.lang.RuntimeException: its message is that of the Failure, and its stack
// trace lists the names that the Failure goes by, one a frame. What Java wrote is
// searched for the class and the message.

const (
	javaMagic = "\xac\xed\x00\x05"
	// The bytes of Java's serialization protocol.
	tcNull, tcReference, tcClassDesc, tcObject = 0x70, 0x71, 0x72, 0x73
	tcString, tcArray, tcEndBlock, tcLong      = 0x74, 0x75, 0x78, 0x7c
	scSerializable, scWriteMethod              = 0x02, 0x03
)

// nameFrame and nameFile are the method and file of a frame that holds a name.
const nameFrame, nameFile = "isA", "qiao"

type javaWriter struct{ b []byte }

func (w *javaWriter) bytes(bs ...byte) { w.b = append(w.b, bs...) }
func (w *javaWriter) u16(n int)        { w.b = binary.BigEndian.AppendUint16(w.b, uint16(n)) }
func (w *javaWriter) u32(n int)        { w.b = binary.BigEndian.AppendUint32(w.b, uint32(n)) }
func (w *javaWriter) u64(n uint64)     { w.b = binary.BigEndian.AppendUint64(w.b, n) }
func (w *javaWriter) utf(s string)     { w.u16(len(s)); w.b = append(w.b, s...) }

func (w *javaWriter) text(s string) {
	s = modified(s)
	if len(s) > 0xffff {
		w.bytes(tcLong)
		w.u64(uint64(len(s)))
		w.b = append(w.b, s...)
		return
	}
	w.bytes(tcString)
	w.utf(s)
}

// modified is Java's form of UTF-8: pairs of surrogates and a long zero.
func modified(s string) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return r == 0 || r > 0xffff || r == utf8.RuneError }) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == 0:
			b.WriteString("\xc0\x80")
		case r > 0xffff:
			for _, half := range []rune{0xd800 + (r-0x10000)>>10, 0xdc00 + (r-0x10000)&0x3ff} {
				b.Write([]byte{0xe0 | byte(half>>12), 0x80 | byte(half>>6&0x3f), 0x80 | byte(half&0x3f)})
			}
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

func (w *javaWriter) class(name string, version uint64, flags byte, fields ...string) {
	w.bytes(tcClassDesc)
	w.utf(name)
	w.u64(version)
	w.bytes(flags)
	w.u16(len(fields))
	for _, f := range fields {
		kind, rest, _ := strings.Cut(f, " ")
		w.bytes(kind[0])
		fieldName, class, _ := strings.Cut(rest, " ")
		w.utf(fieldName)
		if class != "" {
			w.text(class)
		}
	}
	w.bytes(tcEndBlock)
}

const javaText = "Ljava/lang/String;"

// encodeFailure writes f as Java's serialization writes an exception.
func encodeFailure(f *machine.Failure) []byte {
	if f == nil {
		return nil
	}
	w := &javaWriter{}
	w.head()
	w.text(f.Message)
	names := append([]string{f.Class}, f.Also...)
	w.arrayHead(len(names))
	for i, name := range names {
		w.frameHead(i == 0)
		line := int(f.Network) + 1
		if f.Expired {
			line += expiredLine
		}
		w.u32(line)
		w.text(name)
		w.text(nameFile)
		w.text(nameFrame)
	}
	w.bytes(tcNull)     // suppressed: none
	w.bytes(tcEndBlock) // of Throwable, which has a method of its own for writing
	return w.b
}

// expiredLine is added to the line of a frame whose Failure is Expired.
const expiredLine = 100

// head writes the classes of the exception, and that it has no cause.
func (w *javaWriter) head() {
	w.b = append(w.b, javaMagic...)
	w.bytes(tcObject)
	w.class("java.lang.RuntimeException", 0x9e5f06470a3483e5, scSerializable)
	w.class("java.lang.Exception", 0xd0fd1f3e1a3b1cc4, scSerializable)
	w.class("java.lang.Throwable", 0xd5c635273977b8cb, scWriteMethod,
		"L cause Ljava/lang/Throwable;", "L detailMessage "+javaText,
		"[ stackTrace [Ljava/lang/StackTraceElement;", "L suppressedExceptions Ljava/util/List;")
	w.bytes(tcNull, tcNull) // no class above; no cause
}

func (w *javaWriter) arrayHead(n int) {
	w.bytes(tcArray)
	w.class("[Ljava.lang.StackTraceElement;", 0x02462a3c3cfd2239, scSerializable)
	w.bytes(tcNull)
	w.u32(n)
}

// frameHead writes what stands before a frame's fields. The first frame has the
// class of frames with it; later ones refer to that by its handle: before it have
// come the three classes of the exception with four strings, the exception, its
// message, the array's class and the array.
func (w *javaWriter) frameHead(first bool) {
	w.bytes(tcObject)
	if !first {
		w.bytes(tcReference)
		w.u32(0x7e0000 + 11)
		return
	}
	w.class("java.lang.StackTraceElement", 0x6109c59a2636dd85, scSerializable,
		"I lineNumber", "L declaringClass "+javaText, "L fileName "+javaText, "L methodName "+javaText)
	w.bytes(tcNull)
}

// decodeFailure reads what encodeFailure or an engine of Java wrote.
func decodeFailure(b []byte) *machine.Failure {
	if len(b) == 0 {
		return nil
	}
	r := &javaReader{b: b}
	f, err := r.failure()
	if err != nil {
		return &machine.Failure{Class: "unreadable", Message: fmt.Sprintf("an error of %d bytes that cannot be read: %v", len(b), err)}
	}
	return f
}

type javaReader struct{ b []byte }

var errNoException = errors.New("it is no serialized Java exception")

// failure collects the class names and the strings in their order, which is all
// that is needed, without building objects.
func (r *javaReader) failure() (*machine.Failure, error) {
	if !strings.HasPrefix(string(r.b), javaMagic) {
		return nil, errNoException
	}
	ours := r.ours()
	if ours != nil {
		return ours, nil
	}
	rest := r.b[len(javaMagic):]
	if len(rest) < 2 || rest[0] != tcObject || rest[1] != tcClassDesc {
		return nil, errNoException
	}
	rest = rest[1:]
	f := &machine.Failure{}
	// Class after class, from the exception's own to Throwable.
	for len(rest) > 0 && rest[0] == tcClassDesc {
		name, after, err := classAt(rest)
		if err != nil {
			return nil, err
		}
		if f.Class == "" {
			f.Class = name
		} else {
			f.Also = append(f.Also, name)
		}
		rest = after
	}
	f.Message = firstText(rest)
	return f, nil
}

// classAt reads a class description and returns its name and what follows it.
func classAt(b []byte) (name string, rest []byte, err error) {
	short := errors.New("it is cut off")
	take := func(n int) []byte {
		if err != nil || len(b) < n {
			err = short
			return make([]byte, n)
		}
		part := b[:n]
		b = b[n:]
		return part
	}
	take(1)
	name = string(take(int(binary.BigEndian.Uint16(take(2)))))
	take(9)
	for range binary.BigEndian.Uint16(take(2)) {
		kind := take(1)[0]
		take(int(binary.BigEndian.Uint16(take(2))))
		if kind != 'L' && kind != '[' {
			continue
		}
		switch take(1)[0] {
		case tcString:
			take(int(binary.BigEndian.Uint16(take(2))))
		case tcReference:
			take(4)
		default:
			return name, nil, errNoException
		}
		if err != nil {
			break
		}
	}
	if end := take(1); err == nil && end[0] != tcEndBlock {
		return name, nil, errNoException
	}
	return name, b, err
}

// firstText returns the first string in b that is no type's name.
func firstText(b []byte) string {
	for i := 0; i+3 <= len(b); i++ {
		if b[i] != tcString {
			continue
		}
		n := int(binary.BigEndian.Uint16(b[i+1:]))
		if i+3+n > len(b) {
			continue
		}
		s := string(b[i+3 : i+3+n])
		if utf8.ValidString(s) && !(strings.HasPrefix(s, "L") && strings.HasSuffix(s, ";")) && !strings.HasPrefix(s, "[L") {
			return s
		}
	}
	return ""
}

// ours reads an exception that encodeFailure wrote, or returns nil.
func (r *javaReader) ours() *machine.Failure {
	b, ok := r.b, true
	skip := func(write func(w *javaWriter)) {
		w := &javaWriter{}
		write(w)
		ok = ok && bytes.HasPrefix(b, w.b)
		if ok {
			b = b[len(w.b):]
		}
	}
	text := func() (s string) {
		if ok {
			s, b, ok = textAt(b)
		}
		return s
	}
	u32 := func() (n uint32) {
		if ok = ok && len(b) >= 4; ok {
			n, b = binary.BigEndian.Uint32(b), b[4:]
		}
		return n
	}
	skip((*javaWriter).head)
	f := &machine.Failure{Message: text()}
	skip(func(w *javaWriter) { w.arrayHead(0); w.b = w.b[:len(w.b)-4] })
	for i := range u32() {
		skip(func(w *javaWriter) { w.frameHead(i == 0) })
		line := u32()
		name := text()
		ok = ok && text() == nameFile && text() == nameFrame
		if !ok {
			return nil
		}
		if i > 0 {
			f.Also = append(f.Also, name)
			continue
		}
		f.Class, f.Expired = name, line > expiredLine
		f.Network = machine.Network((line - 1) % expiredLine)
	}
	if !ok {
		return nil
	}
	return f
}

// textAt reads a string of the stream.
func textAt(b []byte) (s string, rest []byte, ok bool) {
	switch {
	case len(b) >= 3 && b[0] == tcString:
		n := int(binary.BigEndian.Uint16(b[1:]))
		if len(b) >= 3+n {
			return plainText(b[3 : 3+n]), b[3+n:], true
		}
	case len(b) >= 9 && b[0] == tcLong:
		n := binary.BigEndian.Uint64(b[1:])
		if n <= uint64(len(b)-9) {
			return plainText(b[9 : 9+n]), b[9+n:], true
		}
	}
	return "", nil, false
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
