package redis

import (
	"encoding/binary"
	"strconv"
)

// words are the arguments of apply.lua, packed into one: an array of strings in
// MessagePack. One word of a command costs Redis several times what one of these costs.
type words struct {
	buf []byte
	n   uint32
}

// newWords leaves room for the head of the array.
func newWords() words { return words{buf: make([]byte, 5, 1500)} }

// add adds the word that the parts make together.
func (w *words) add(parts ...string) {
	size := 0
	for _, part := range parts {
		size += len(part)
	}
	switch {
	case size < 32:
		w.buf = append(w.buf, 0xa0|byte(size))
	case size < 1<<8:
		w.buf = append(w.buf, 0xd9, byte(size))
	case size < 1<<16:
		w.buf = binary.BigEndian.AppendUint16(append(w.buf, 0xda), uint16(size))
	default: // a text of the protocol is far below 2^32
		w.buf = binary.BigEndian.AppendUint32(append(w.buf, 0xdb), uint32(size))
	}
	for _, part := range parts {
		w.buf = append(w.buf, part...)
	}
	w.n++
}

// number adds a small number as a word.
func (w *words) number(n int) { w.add(strconv.Itoa(n)) }

// packed is the whole array.
func (w *words) packed() []byte {
	w.buf[0] = 0xdd
	binary.BigEndian.PutUint32(w.buf[1:], w.n)
	return w.buf
}
