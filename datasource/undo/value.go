package undo

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/qiao-tx/qiao/datasource/image"
	"github.com/qiao-tx/qiao/datasource/schema"
)

// Codec reads and writes undo records.
type Codec struct {
	// Zone is the time zone of the Java processes on the same resource: Java
	// writes a date as a moment in its own zone. Nil is UTC. Without Java
	// writers any constant zone does.
	Zone *time.Location
	// Dialect is that of the database; MySQL's values are written so that Java
	// restores even what it loses of its own records.
	Dialect schema.Dialect
	// Package is Java's package in the names of classes that are written:
	// ApachePackage, which "" means, or IOPackage. Both are read.
	Package string
}

// Java classes of values.
const (
	classInteger    = "java.lang.Integer"
	classShort      = "java.lang.Short"
	classByte       = "java.lang.Byte"
	classLong       = "java.lang.Long"
	classFloat      = "java.lang.Float"
	classDouble     = "java.lang.Double"
	classString     = "java.lang.String"
	classBoolean    = "java.lang.Boolean"
	classBigDecimal = "java.math.BigDecimal"
	classBigInteger = "java.math.BigInteger"
	classSQLDate    = "java.sql.Date"
	classSQLTime    = "java.sql.Time"
	classDate       = "java.util.Date"
	classTimestamp  = "java.sql.Timestamp"
	classDateTime   = "java.time.LocalDateTime"
	classBytes      = "[B"
	classBlob       = "javax.sql.rowset.serial.SerialBlob"
	classClob       = "javax.sql.rowset.serial.SerialClob"
)

// Numbers of java.sql.Types whose values Java wraps.
const (
	jdbcBlob  = 2004
	jdbcClob  = 2005
	jdbcNClob = 2011
)

const (
	dateLayout     = "2006-01-02"
	dateTimeLayout = "2006-01-02 15:04:05.999999999"
)

func (c Codec) zone() *time.Location {
	if c.Zone == nil {
		return time.UTC
	}
	return c.Zone
}

// encodeValue writes a value in the class that Java's driver would give it. A
// date or time that this class cannot hold exactly (a zero date, 25:00:00, an
// hour that daylight saving skips) is written as text: it comes back unchanged
// here, and Java refuses it as dirty instead of restoring something else.
func (c Codec) encodeValue(jdbcType int, v any) (json.RawMessage, error) {
	switch v := v.(type) {
	case nil, bool, int32:
		return marshal(v)
	case int64:
		return typed(classLong, v)
	case uint64:
		return typed(classBigInteger, v)
	case float32:
		return encodeFloat(classFloat, float64(v), 32)
	case float64:
		return encodeFloat(classDouble, v, 64)
	case string:
		return encodeString(jdbcType, v)
	case []byte:
		class := classBytes
		if jdbcType == jdbcBlob {
			class = classBlob
		}
		return typed(class, base64.StdEncoding.EncodeToString(v))
	case image.Decimal:
		return encodeDecimal(string(v))
	case image.Time:
		if isTimeOfDay(string(v)) {
			return typed(classSQLTime, string(v))
		}
		return marshal(string(v))
	case image.Date:
		return c.encodeDate(string(v))
	case image.Year:
		return c.encodeDate(fmt.Sprintf("%04d-01-01", int16(v)))
	case image.DateTime:
		return c.encodeMoment(classDateTime, string(v))
	case image.Timestamp:
		return c.encodeMoment(classTimestamp, string(v))
	}
	return c.encodePostgres(v)
}

// isTimeOfDay tells of a TIME that java.sql.Time can be: of one day, without a
// fraction.
func isTimeOfDay(s string) bool {
	t, err := time.Parse(time.TimeOnly, s)
	return err == nil && t.Format(time.TimeOnly) == s
}

func typed(class string, v any) (json.RawMessage, error) { return marshal([]any{class, v}) }

func encodeString(jdbcType int, s string) (json.RawMessage, error) {
	if !utf8.ValidString(s) {
		return nil, errors.New("the text is not UTF-8; use a connection character set of utf8mb4, or a binary column")
	}
	if jdbcType == jdbcClob || jdbcType == jdbcNClob {
		return typed(classClob, s)
	}
	return marshal(s)
}

// encodeFloat writes a double bare, with a fraction or an exponent, or Java
// would take it for an Integer.
func encodeFloat(class string, f float64, bits int) (json.RawMessage, error) {
	switch {
	case math.IsNaN(f):
		return typed(class, "NaN")
	case math.IsInf(f, 1):
		return typed(class, "Infinity")
	case math.IsInf(f, -1):
		return typed(class, "-Infinity")
	}
	text := strconv.FormatFloat(f, 'g', -1, bits)
	if !strings.ContainsAny(text, ".e") {
		text += ".0"
	}
	if class == classDouble {
		return json.RawMessage(text), nil
	}
	return typed(class, json.RawMessage(text))
}

// encodeDecimal keeps the digits as they are: Java compares the scale too.
func encodeDecimal(s string) (json.RawMessage, error) {
	sign, digits := "", s
	if strings.HasPrefix(s, "-") {
		sign, digits = "-", s[1:]
	}
	for len(digits) > 1 && digits[0] == '0' && digits[1] >= '0' && digits[1] <= '9' {
		digits = digits[1:] // ZEROFILL
	}
	if !isNumber(sign + digits) {
		return nil, fmt.Errorf("%q is no decimal number", s)
	}
	return typed(classBigDecimal, json.RawMessage(sign+digits))
}

func (c Codec) encodeDate(s string) (json.RawMessage, error) {
	if ms, endless := endlessMillis[s]; endless {
		return typed(classSQLDate, ms)
	}
	t, ok := c.date(s)
	if !ok {
		return marshal(s)
	}
	return typed(classSQLDate, t.UnixMilli())
}

// encodeMoment writes whole milliseconds as a number; but a TIMESTAMP for old
// Java, which reads such a number as NULL, always with its nanoseconds.
func (c Codec) encodeMoment(class, s string) (json.RawMessage, error) {
	if ms, endless := endlessMillis[s]; endless {
		return typed(class, ms)
	}
	t, ok := c.moment(s)
	old := class == classTimestamp && c.Package == IOPackage
	switch {
	case !ok:
		return marshal(s)
	case t.Nanosecond()%int(time.Millisecond) == 0 && !old:
		return typed(class, t.UnixMilli())
	}
	return typed(class, []int64{t.UnixMilli(), int64(t.Nanosecond())})
}

// date is the moment at which Java's date begins; not ok for one that Java's
// calendar does not have.
func (c Codec) date(s string) (t time.Time, ok bool) {
	t, ok = parse(dateLayout, s, c.zone())
	if !ok {
		return t, false
	}
	return parse(dateLayout, s, c.dateZone(t))
}

// moment is a DATETIME in Java's zone; not ok for one that its clocks skip.
func (c Codec) moment(s string) (t time.Time, ok bool) { return parse(dateTimeLayout, s, c.zone()) }

func parse(layout, s string, zone *time.Location) (t time.Time, ok bool) {
	t, err := time.ParseInLocation(layout, s, zone)
	return t, err == nil && t.Format(layout) == s && !beforeGregory(t)
}

// firstZoned is the year from which on java.sql's classes know a zone's history.
const firstZoned = 1900

// dateZone is the zone as java.sql.Date has it: before 1900, with the offset of
// its standard time of today.
func (c Codec) dateZone(t time.Time) *time.Location {
	if t.UTC().Year() >= firstZoned {
		return c.zone()
	}
	standard := time.Date(2024, time.January, 1, 0, 0, 0, 0, c.zone())
	if standard.IsDST() {
		standard = standard.AddDate(0, 6, 0)
	}
	name, offset := standard.Zone()
	return time.FixedZone(name, offset)
}

// beforeGregory tells of dates that java.sql's classes take for Julian ones.
func beforeGregory(t time.Time) bool { return t.Year() < 1583 }

// isNumber tells whether s is one JSON number.
func isNumber(s string) bool {
	return s != "" && (s[0] == '-' || s[0] >= '0' && s[0] <= '9') && json.Valid([]byte(s))
}

// decodeValue reads a value. Jackson writes strings, booleans, Integers and
// Doubles bare, everything else as [class, value].
func (c Codec) decodeValue(raw json.RawMessage) (any, error) {
	if len(raw) == 0 {
		return nil, nil
	}
	switch raw[0] {
	case 'n':
		return nil, nil
	case 't':
		return true, nil
	case 'f':
		return false, nil
	case '"':
		return decodeAs[string](raw)
	case '[':
		return c.decodeTyped(raw)
	case '{':
		return c.decodeObject(raw)
	}
	if strings.ContainsAny(string(raw), ".eE") {
		return decodeAs[float64](raw)
	}
	if n, err := strconv.ParseInt(string(raw), 10, 32); err == nil {
		return int32(n), nil
	}
	return decodeAs[int64](raw)
}

func decodeAs[T any](raw json.RawMessage) (T, error) {
	var v T
	if err := json.Unmarshal(raw, &v); err != nil {
		return v, undecodable("%v", err)
	}
	return v, nil
}

func (c Codec) decodeTyped(raw json.RawMessage) (any, error) {
	parts, err := decodeAs[[]json.RawMessage](raw)
	if err != nil {
		return nil, err
	}
	if len(parts) != 2 {
		return nil, undecodable("a value of %d parts, want [class, value]", len(parts))
	}
	class, err := decodeAs[string](parts[0])
	if err != nil {
		return nil, err
	}
	value := parts[1]
	switch class {
	case classInteger, classShort, classByte:
		return decodeAs[int32](value)
	case classLong:
		return decodeAs[int64](value)
	case classFloat:
		f, err := decodeFloat(value, 32)
		return float32(f), err
	case classDouble:
		return decodeFloat(value, 64)
	case classBoolean:
		return decodeAs[bool](value)
	case classString, classClob:
		return decodeAs[string](value)
	case classBytes, classBlob:
		return decodeAs[[]byte](value)
	case classBigDecimal, classBigInteger:
		return decodeBig(class, value)
	case classUUID:
		return decodeUUID(value)
	}
	return c.decodeTemporal(class, value)
}

func decodeFloat(raw json.RawMessage, bits int) (float64, error) {
	f, err := strconv.ParseFloat(strings.Trim(string(raw), `"`), bits)
	if err != nil {
		return 0, undecodable("%v", err)
	}
	return f, nil
}

func decodeBig(class string, raw json.RawMessage) (any, error) {
	text := strings.Trim(string(raw), `"`)
	if !isNumber(text) {
		return nil, undecodable("%s is no number", raw)
	}
	if class == classBigInteger {
		if n, err := strconv.ParseUint(text, 10, 64); err == nil {
			return n, nil
		}
		if n, err := strconv.ParseInt(text, 10, 64); err == nil {
			return n, nil
		}
	}
	return image.Decimal(text), nil
}

func (c Codec) decodeTemporal(class string, raw json.RawMessage) (any, error) {
	if class == classSQLTime {
		text, err := decodeAs[string](raw)
		return image.Time(text), err
	}
	switch class {
	case classSQLDate, classTimestamp, classDateTime:
	default:
		return nil, fmt.Errorf("%w: a value of class %q", ErrForeign, class)
	}
	t, err := c.decodeMoment(raw)
	if err != nil {
		return nil, err
	}
	if text, endless := endlessText[t.UnixMilli()]; endless {
		return map[string]any{classSQLDate: image.Date(text), classTimestamp: image.Timestamp(text), classDateTime: image.DateTime(text)}[class], nil
	}
	switch class {
	case classSQLDate:
		return image.Date(sqlText(t.In(c.dateZone(t)), dateLayout)), nil
	case classTimestamp:
		return image.Timestamp(sqlText(t, dateTimeLayout)), nil
	}
	return image.DateTime(t.Format(dateTimeLayout)), nil
}

// decodeMoment reads milliseconds, or [milliseconds, nanoseconds of the second].
func (c Codec) decodeMoment(raw json.RawMessage) (time.Time, error) {
	if len(raw) == 0 || raw[0] != '[' {
		ms, err := decodeAs[int64](raw)
		return time.UnixMilli(ms).In(c.zone()), err
	}
	parts, err := decodeAs[[]int64](raw)
	if err != nil {
		return time.Time{}, err
	}
	if len(parts) != 2 || parts[1] < 0 || parts[1] >= int64(time.Second) {
		return time.Time{}, undecodable("%s is no [milliseconds, nanoseconds]", raw)
	}
	return time.UnixMilli(parts[0]).Add(time.Duration(parts[1] % int64(time.Millisecond))).In(c.zone()), nil
}
