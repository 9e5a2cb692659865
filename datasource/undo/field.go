package undo

import (
	"encoding/json"
	"math"
	"strings"
	"time"

	"github.com/qiao-tx/qiao/datasource/image"
	"github.com/qiao-tx/qiao/datasource/schema"
)

// Java compares an after image with the rows as its driver reads them, and
// writes a before image back as the types beside its values say. Its own
// records lose values on both ways; ours need not.

// afterField writes a value as Java's driver reads it, and beside it, where
// that is another, the value itself.
func (c Codec) afterField(f image.Field, w *wireField) (err error) {
	if c.Dialect != schema.MySQL {
		w.Value, err = c.encodeValue(f.Type, f.Value)
		return err
	}
	read := image.AsJavaReads(f.Type, f.Value)
	if w.Value, err = c.encodeValue(f.Type, read); err != nil || image.Equal(read, f.Value) {
		return err
	}
	if t, ok := f.Value.(image.Time); ok {
		w.Value = c.withMillis(string(t), w.Value)
	}
	w.Exact, err = c.encodeValue(f.Type, f.Value)
	return err
}

// withMillis is a TIME as the moment that Java's driver reads, to the
// millisecond, and compares; whole is returned for one that is not of one day.
// java.sql.Time itself has no fraction in JSON, but equals its parent class.
func (c Codec) withMillis(clock string, whole json.RawMessage) json.RawMessage {
	t, err := time.ParseInLocation(dateTimeLayout, "1970-01-01 "+clock, c.zone())
	if err != nil {
		return whole
	}
	value, err := typed(classDate, t.UnixMilli())
	if err != nil {
		return whole
	}
	return value
}

// beforeField writes a value from which Java's driver makes exactly that value
// again. A key stays as it is: Java finds the row by it.
func (c Codec) beforeField(f image.Field, w *wireField) (err error) {
	value := f.Value
	if c.Dialect == schema.MySQL && !f.Key {
		w.Type, value = c.restorable(f.Type, f.Value)
	}
	w.Value, err = c.encodeValue(w.Type, value)
	return err
}

// restorable replaces what Java's driver, given the column's type, would write
// back changed or not at all.
//
// A type other than the column's also keeps Java from taking values for equal
// that it reads alike, such as 1 and 5 of a TINYINT(1): it would take the
// statement for one without effect, and leave the row as it is.
func (c Codec) restorable(jdbcType int, v any) (int, any) {
	switch v := v.(type) {
	case bool:
		if v {
			return schema.JDBCTinyInt, int32(1)
		}
		return schema.JDBCTinyInt, int32(0)
	case int32:
		if jdbcType == schema.JDBCBit {
			return schema.JDBCTinyInt, v
		}
	case int64: // of an INT UNSIGNED, too
		return schema.JDBCBigInt, v
	case uint64:
		if v > math.MaxInt64 {
			return schema.JDBCDecimal, v
		}
	case float32:
		return schema.JDBCDouble, v
	case image.Year:
		return schema.JDBCSmallInt, int32(v)
	case image.Date:
		if _, ok := c.date(string(v)); !ok {
			return schema.JDBCVarChar, string(v)
		}
	case image.Time:
		if !isTimeOfDay(string(v)) {
			return schema.JDBCVarChar, string(v)
		}
	case image.DateTime:
		if !c.wholeSecond(string(v)) {
			return schema.JDBCVarChar, string(v)
		}
	case image.Timestamp:
		if !c.wholeSecond(string(v)) {
			return schema.JDBCVarChar, string(v)
		}
	}
	return jdbcType, v
}

// wholeSecond tells of a moment of Java's calendar without a fraction of a
// second; such a fraction Java's driver does not send to MariaDB.
func (c Codec) wholeSecond(s string) bool {
	_, ok := c.moment(s)
	return ok && !strings.Contains(s, ".")
}
