package frame

import (
	"encoding/binary"
	"fmt"
	"slices"
)

// null is the length that stands for a null text.
const null = -1

// appendHead writes the pairs in the order of their keys, so that equal frames
// are equal bytes.
func appendHead(dst []byte, head map[string]string) ([]byte, error) {
	var few [8]string // enough for most, on the stack
	keys := few[:0]
	for k := range head {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	var err error
	for _, k := range keys {
		if dst, err = appendText(dst, k); err != nil {
			return nil, err
		}
		if dst, err = appendText(dst, head[k]); err != nil {
			return nil, err
		}
	}
	return dst, nil
}

func appendText(dst []byte, s string) ([]byte, error) {
	if len(s) > MaxHeadLen {
		return nil, fmt.Errorf("%w: a key or value of %d bytes", ErrHead, len(s))
	}
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(s)))
	return append(dst, s...), nil
}

// decodeHead reads all of b. Of equal keys the last one counts.
func decodeHead(b []byte) (map[string]string, error) {
	if len(b) == 0 {
		return nil, nil
	}
	head := make(map[string]string)
	for rest := string(b); len(rest) > 0; { // one string, of which all texts are parts
		var key, value string
		var isNull bool
		var err error
		if key, isNull, rest, err = cutText(rest); err != nil {
			return nil, err
		}
		if isNull {
			return nil, fmt.Errorf("%w: a null key", ErrHead)
		}
		if value, _, rest, err = cutText(rest); err != nil {
			return nil, err
		}
		head[key] = value
	}
	return head, nil
}

func cutText(b string) (s string, isNull bool, rest string, err error) {
	if len(b) < 2 {
		return "", false, "", fmt.Errorf("%w: it ends within a length", ErrHead)
	}
	n := int(int16(uint16(b[0])<<8 | uint16(b[1])))
	b = b[2:]
	if n == null {
		return "", true, b, nil
	}
	if n < 0 || n > len(b) {
		return "", false, "", fmt.Errorf("%w: a text of %d bytes where %d remain", ErrHead, n, len(b))
	}
	return b[:n], false, b[n:], nil
}
