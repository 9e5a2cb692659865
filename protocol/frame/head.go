package frame

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
)

// null is the length that stands for a null text.
const null = -1

// appendHead writes the pairs in the order of their keys, so that equal frames
// are equal bytes.
func appendHead(dst []byte, head map[string]string) ([]byte, error) {
	var err error
	for _, k := range slices.Sorted(maps.Keys(head)) {
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
	for len(b) > 0 {
		var key, value string
		var isNull bool
		var err error
		if key, isNull, b, err = cutText(b); err != nil {
			return nil, err
		}
		if isNull {
			return nil, fmt.Errorf("%w: a null key", ErrHead)
		}
		if value, _, b, err = cutText(b); err != nil {
			return nil, err
		}
		head[key] = value
	}
	return head, nil
}

func cutText(b []byte) (s string, isNull bool, rest []byte, err error) {
	if len(b) < 2 {
		return "", false, nil, fmt.Errorf("%w: it ends within a length", ErrHead)
	}
	n := int(int16(binary.BigEndian.Uint16(b)))
	b = b[2:]
	if n == null {
		return "", true, b, nil
	}
	if n < 0 || n > len(b) {
		return "", false, nil, fmt.Errorf("%w: a text of %d bytes where %d remain", ErrHead, n, len(b))
	}
	return string(b[:n]), false, b[n:], nil
}
