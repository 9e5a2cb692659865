package javaerror

import (
	"encoding/binary"
	"strings"
	"unicode/utf8"

	"github.com/qiao-tx/qiao/saga/machine"
)

const (
	javaMagic = "\xac\xed\x00\x05"
	// The bytes of Java's serialization protocol.
	tcNull, tcReference, tcClassDesc, tcObject = 0x70, 0x71, 0x72, 0x73
	tcString, tcArray, tcClass, tcBlock        = 0x74, 0x75, 0x76, 0x77
	tcEndBlock, tcBlockLong, tcLong, tcEnum    = 0x78, 0x7a, 0x7c, 0x7e
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

// Encode writes f as Java's serialization writes an exception.
func Encode(f *machine.Failure) []byte {
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
