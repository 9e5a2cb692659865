package meta

import (
	"fmt"
	"strconv"
)

// record reads the columns of one row of a catalogue query. The first value
// that is not what it should be is kept as the error.
type record struct {
	values []any
	err    error
}

// text takes a text; NULL is "".
func (r *record) text(i int) string {
	if i >= len(r.values) {
		r.fail(i)
		return ""
	}
	switch v := r.values[i].(type) {
	case nil:
		return ""
	case string:
		return v
	case []byte:
		return string(v)
	case int64:
		return strconv.FormatInt(v, 10)
	case uint64:
		return strconv.FormatUint(v, 10)
	default:
		r.fail(i)
		return ""
	}
}

// number takes an integer, which some protocols send as text.
func (r *record) number(i int) int64 {
	n, err := strconv.ParseInt(r.text(i), 10, 64)
	if err != nil {
		r.fail(i)
	}
	return n
}

func (r *record) fail(i int) {
	if r.err != nil {
		return
	}
	if i >= len(r.values) {
		r.err = fmt.Errorf("the catalogue's answer has %d columns, column %d is missing", len(r.values), i+1)
		return
	}
	r.err = fmt.Errorf("column %d of the catalogue's answer is a %T, which is not understood", i+1, r.values[i])
}
