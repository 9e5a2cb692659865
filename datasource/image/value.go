package image

import (
	"bytes"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/qiao-tx/qiao/datasource/schema"
)

// Values of an image are nil, bool, int32, int64, uint64, float32, float64,
// string, []byte, or one of the types below. The Go type stands for the class
// that Java's driver gives the column (int32 is Integer, int64 Long, uint64
// BigInteger), so that images of both sides compare equal. Dates and times are
// the database's own text: no time zone or precision comes between.
type (
	// Decimal is an exact decimal number, with the scale it was written with.
	Decimal string
	// Date is "YYYY-MM-DD".
	Date string
	// Time is "[-]HH:MM:SS[.ffffff]"; MySQL's reaches from -838 to 838 hours.
	Time string
	// DateTime is "YYYY-MM-DD HH:MM:SS[.ffffff]" of a DATETIME column.
	DateTime string
	// Timestamp is the same of a TIMESTAMP column, in the session's zone.
	Timestamp string
	// Year is the value of a YEAR column.
	Year int16
)

// jdbcBlob is the java.sql.Types number of Java's Blob.
const jdbcBlob = 2004

// Typed turns what a driver returned for a column into an image value.
// Character data arrives as string or []byte, whatever the driver prefers;
// MySQL's dates and times, and all of PostgreSQL's values, must arrive as text
// (see SelectList).
func Typed(d schema.Dialect, c schema.Column, v any) (any, error) {
	if v == nil {
		return nil, nil
	}
	if d == schema.SQLite {
		return sqliteValue(c, v)
	}
	convert := mysqlValue
	if d == schema.PostgreSQL {
		convert = postgresValue
	}
	typed, err := convert(c, v)
	if err != nil {
		return nil, fmt.Errorf("column %s (%s): %w", c.Name, c.DatabaseType, err)
	}
	return typed, nil
}

// sqliteValue keeps the storage class: SQLite's columns hold values of any.
func sqliteValue(c schema.Column, v any) (any, error) {
	switch v := v.(type) {
	case int64, float64, string:
		return v, nil
	case []byte:
		return bytes.Clone(v), nil
	}
	return nil, fmt.Errorf("column %s: the driver returned a %T, which is no storage class of SQLite", c.Name, v)
}

func mysqlValue(c schema.Column, v any) (any, error) {
	switch base := baseType(c.DatabaseType); base {
	case "tinyint", "smallint", "mediumint", "int", "integer", "bigint", "year":
		return mysqlInteger(c, base, v)
	case "float":
		f, err := asFloat(v)
		return float32(f), err
	case "double", "real":
		return asFloat(v)
	case "decimal", "numeric":
		text, err := asText(v)
		return Decimal(text), err
	case "date", "time", "datetime", "timestamp":
		return mysqlTemporal(base, v)
	case "bit":
		return mysqlBit(c, v)
	}
	if IsBinary(c) {
		return asBytes(v)
	}
	return asText(v)
}

func mysqlInteger(c schema.Column, base string, v any) (any, error) {
	unsigned := strings.Contains(c.DatabaseType, "unsigned")
	if base == "bigint" && unsigned {
		return asUint(v)
	}
	n, err := asInt(v)
	if err != nil {
		return nil, err
	}
	switch {
	case base == "year":
		return Year(n), nil
	case base == "bigint", (base == "int" || base == "integer") && unsigned:
		return n, nil
	case c.JDBCType == schema.JDBCBit && (n == 0 || n == 1):
		return n == 1, nil
	}
	return int32(n), nil
}

func mysqlTemporal(base string, v any) (any, error) {
	text, err := asText(v)
	if err != nil {
		return nil, err
	}
	text = trimFraction(text)
	switch base {
	case "date":
		return Date(text), nil
	case "time":
		return Time(text), nil
	case "datetime":
		return DateTime(text), nil
	}
	return Timestamp(text), nil
}

// mysqlBit reads BIT(1) as a boolean, as Java's driver does, and wider ones as
// their bytes.
func mysqlBit(c schema.Column, v any) (any, error) {
	b, err := asBytes(v)
	if err != nil {
		return nil, err
	}
	if (c.DatabaseType == "bit" || c.DatabaseType == "bit(1)") && len(b) == 1 && b[0] <= 1 {
		return b[0] == 1, nil
	}
	return b, nil
}

// IsBinary tells whether the column holds bytes rather than text.
func IsBinary(c schema.Column) bool {
	switch c.JDBCType {
	case schema.JDBCBinary, schema.JDBCVarBinary, schema.JDBCLongVarBinary, jdbcBlob:
		return true
	}
	return false
}

// Arg turns an image value into an argument that writes exactly that value
// into the column, in a place that Placeholder wrote.
func Arg(d schema.Dialect, c schema.Column, v any) any {
	if d == schema.PostgreSQL {
		return postgresArg(c, v)
	}
	switch v := v.(type) {
	case bool:
		if v {
			return int64(1)
		}
		return int64(0)
	case int32:
		return int64(v)
	case float32:
		return float64(v)
	case Year:
		return int64(v)
	case string:
		return yearOf(c, v)
	case Date:
		return yearOf(c, string(v))
	case Decimal:
		return string(v)
	case Time:
		return string(v)
	case DateTime:
		return string(v)
	case Timestamp:
		return string(v)
	}
	return v
}

// yearOf cuts the date that stands for a YEAR in undo records.
func yearOf(c schema.Column, s string) string {
	if baseType(c.DatabaseType) == "year" && len(s) > 4 {
		return s[:4]
	}
	return s
}

// yearValue is the Year that a number or a date of a YEAR column stands for.
func yearValue(v any) any {
	switch v := v.(type) {
	case int32:
		return Year(v)
	case Date:
		if n, err := strconv.ParseInt(string(v[:min(len(v), 4)]), 10, 16); err == nil {
			return Year(n)
		}
	}
	return v
}

// floatDigits is how many digits of a FLOAT MySQL sends where it sends text.
const floatDigits = 6

// AsJavaReads is what MySQL Connector/J with its default settings makes of a
// value of MySQL: a TINYINT(1) is a boolean, a FLOAT has six digits, a TIME no
// fraction.
func AsJavaReads(jdbcType int, v any) any {
	switch v := v.(type) {
	case int32:
		if jdbcType == schema.JDBCBit {
			return v > 0 || v == -1
		}
	case float32:
		f, err := strconv.ParseFloat(strconv.FormatFloat(float64(v), 'g', floatDigits, 32), 32)
		if err == nil {
			return float32(f)
		}
	case Time:
		whole, _, _ := strings.Cut(string(v), ".")
		return Time(whole)
	}
	return v
}

// Equal compares two image values by what they mean: 9.90 is 9.9, true is 1,
// ".500" of a second is ".5". Bytes never equal text.
func Equal(a, b any) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return canonical(a) == canonical(b)
}

// canonical is a text that is the same for values that mean the same.
func canonical(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case []byte:
		return "bytes " + string(v)
	case string:
		return "text " + v
	case float32:
		return canonicalFloat(float64(v))
	case float64:
		return canonicalFloat(v)
	case Date:
		return "text " + trimFraction(string(v))
	case Time:
		return "text " + trimFraction(string(v))
	case DateTime:
		return "text " + trimFraction(string(v))
	case Timestamp:
		return "text " + trimFraction(string(v))
	case Year:
		return fmt.Sprintf("text %04d-01-01", int16(v))
	case Instant:
		return "text " + trimFraction(string(v))
	case UUID:
		return "text " + string(v)
	case Object:
		return "object " + v.Type + " " + v.Text
	case Array:
		return "array " + v.Text
	case Interval:
		return "interval " + v.String()
	case bool:
		if v {
			return "number 1"
		}
		return "number 0"
	}
	return "number " + plainDecimal(fmt.Sprint(v))
}

func canonicalFloat(f float64) string {
	if f == 0 {
		f = 0 // takes away the sign of a negative zero, which databases take as equal
	}
	return "float " + strconv.FormatFloat(f, 'g', -1, 64)
}

// maxExponent bounds the digits that a decimal's exponent can unfold into.
const maxExponent = 400

// plainDecimal writes a decimal number without exponent, superfluous zeros, or
// the sign of zero. Text that is no such number is returned as it is.
func plainDecimal(s string) string {
	mantissa, exponent := s, 0
	if i := strings.IndexAny(s, "eE"); i >= 0 {
		n, err := strconv.Atoi(s[i+1:])
		if err != nil || n < -maxExponent || n > maxExponent {
			return s
		}
		mantissa, exponent = s[:i], n
	}
	sign := ""
	switch {
	case strings.HasPrefix(mantissa, "-"):
		sign, mantissa = "-", mantissa[1:]
	case strings.HasPrefix(mantissa, "+"):
		mantissa = mantissa[1:]
	}
	whole, fraction, _ := strings.Cut(mantissa, ".")
	digits := whole + fraction
	if digits == "" || strings.Trim(digits, "0123456789") != "" {
		return s
	}
	point := len(whole) + exponent
	if point < 0 {
		digits, point = strings.Repeat("0", -point)+digits, 0
	}
	if point > len(digits) {
		digits += strings.Repeat("0", point-len(digits))
	}
	whole = strings.TrimLeft(digits[:point], "0")
	fraction = strings.TrimRight(digits[point:], "0")
	switch {
	case whole == "" && fraction == "":
		return "0"
	case whole == "":
		whole = "0"
	}
	if fraction == "" {
		return sign + whole
	}
	return sign + whole + "." + fraction
}

// trimFraction drops the zeros at the end of a fraction of a second.
func trimFraction(s string) string {
	if !strings.Contains(s, ".") {
		return s
	}
	return strings.TrimSuffix(strings.TrimRight(s, "0"), ".")
}

func asText(v any) (string, error) {
	switch v := v.(type) {
	case string:
		return v, nil
	case []byte:
		return string(v), nil
	case int64:
		return strconv.FormatInt(v, 10), nil
	case uint64:
		return strconv.FormatUint(v, 10), nil
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64), nil
	}
	return "", fmt.Errorf("the value %v is a %T, not text", v, v)
}

func asBytes(v any) ([]byte, error) {
	switch v := v.(type) {
	case []byte:
		return bytes.Clone(v), nil
	case string:
		return []byte(v), nil
	}
	return nil, fmt.Errorf("the value is a %T, not bytes", v)
}

func asInt(v any) (int64, error) {
	switch v := v.(type) {
	case int64:
		return v, nil
	case uint64:
		if v > math.MaxInt64 {
			return 0, fmt.Errorf("%d exceeds the column's type", v)
		}
		return int64(v), nil
	case bool:
		if v {
			return 1, nil
		}
		return 0, nil
	case string:
		return strconv.ParseInt(v, 10, 64)
	case []byte:
		return strconv.ParseInt(string(v), 10, 64)
	}
	return 0, fmt.Errorf("the value %v is a %T, not an integer", v, v)
}

func asUint(v any) (uint64, error) {
	switch v := v.(type) {
	case uint64:
		return v, nil
	case int64:
		if v < 0 {
			return 0, fmt.Errorf("%d is negative", v)
		}
		return uint64(v), nil
	case string:
		return strconv.ParseUint(v, 10, 64)
	case []byte:
		return strconv.ParseUint(string(v), 10, 64)
	}
	return 0, fmt.Errorf("the value %v is a %T, not an integer", v, v)
}

func asFloat(v any) (float64, error) {
	switch v := v.(type) {
	case float64:
		return v, nil
	case float32:
		return float64(v), nil
	case int64:
		return float64(v), nil
	case string:
		return strconv.ParseFloat(v, 64)
	case []byte:
		return strconv.ParseFloat(string(v), 64)
	}
	return 0, fmt.Errorf("the value %v is a %T, not a number", v, v)
}

// baseType is the declared type without length and attributes: "bigint" of
// "bigint(20) unsigned".
func baseType(declared string) string {
	if i := strings.IndexAny(declared, "( "); i >= 0 {
		return declared[:i]
	}
	return declared
}
