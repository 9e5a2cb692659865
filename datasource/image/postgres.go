package image

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/qiao-tx/qiao/datasource/schema"
)

// Values that only PostgreSQL has. Its TIMESTAMP is a Timestamp here, the class
// that pgjdbc gives it.
type (
	// Instant is "YYYY-MM-DD HH:MM:SS[.ffffff]" in UTC, of a TIMESTAMPTZ column.
	Instant string
	// UUID is its text, in lower case.
	UUID string
	// Object is a value whose type pgjdbc has no class for: JSON, addresses,
	// ranges. Type is PostgreSQL's own name of the type.
	Object struct{ Type, Text string }
	// Array is an array's text, such as {1,NULL,"a,b"}, and the name of its
	// elements' type.
	Array struct{ Elements, Text string }
	// Interval is what PostgreSQL keeps of an INTERVAL.
	Interval struct {
		Months, Days int32
		Micros       int64
	}
)

// String is the interval as PostgreSQL reads it under every IntervalStyle.
func (i Interval) String() string {
	return fmt.Sprintf("%+d months %+d days %+d microseconds", i.Months, i.Days, i.Micros)
}

// in is the instant in a zone's own time.
func (i Instant) in(zone *time.Location) Timestamp {
	t, err := time.Parse(instantLayout, string(i))
	if err != nil || zone == nil {
		return Timestamp(i)
	}
	return Timestamp(t.In(zone).Format(instantLayout))
}

const instantLayout = "2006-01-02 15:04:05.999999999"

// postgresSelect reads a column as a text that no setting of the session
// changes: DateStyle, TimeZone, IntervalStyle, bytea_output, extra_float_digits.
func postgresSelect(c schema.Column, name string) string {
	switch c.DatabaseType {
	case "text", "varchar", "bpchar": // a cast would cut the blanks of CHAR
		return name
	case "bytea":
		return "encode(" + name + ", 'hex')"
	case "float4", "float8":
		return "encode(" + c.DatabaseType + "send(" + name + "), 'hex')"
	case "interval":
		return "encode(interval_send(" + name + "), 'hex')"
	case "inet": // a cast would add /32
		return "abbrev(" + name + ")"
	case "date", "timestamp":
		return "to_json(" + name + ") #>> '{}'"
	case "timestamptz":
		return "to_json(" + name + " AT TIME ZONE 'UTC') #>> '{}'"
	}
	return "CAST(" + name + " AS text)"
}

func postgresValue(c schema.Column, v any) (any, error) {
	text, err := asText(v)
	if err != nil {
		return nil, err
	}
	switch c.DatabaseType {
	case "int2", "int4":
		n, err := strconv.ParseInt(text, 10, 32)
		return int32(n), err
	case "int8", "oid":
		return strconv.ParseInt(text, 10, 64)
	case "bool":
		return strconv.ParseBool(text)
	case "numeric":
		if strings.HasSuffix(text, "N") || strings.HasSuffix(text, "y") { // NaN, Infinity
			return strconv.ParseFloat(text, 64)
		}
		return Decimal(text), nil
	case "float4", "float8", "interval", "bytea":
		return postgresBinary(c.DatabaseType, text)
	case "date":
		return Date(text), nil
	case "time":
		return Time(trimFraction(text)), nil
	case "timestamp":
		return Timestamp(trimFraction(strings.Replace(text, "T", " ", 1))), nil
	case "timestamptz":
		return Instant(trimFraction(strings.Replace(text, "T", " ", 1))), nil
	case "bit":
		if c.Cast == "bit(1)" { // pgjdbc takes it for a boolean
			return text == "1", nil
		}
	}
	return postgresText(c, text)
}

// postgresBinary takes what the server sent in its binary form, in hexadecimal.
func postgresBinary(base, text string) (any, error) {
	b, err := hex.DecodeString(text)
	width := map[string]int{"float4": 4, "float8": 8, "interval": 16}[base]
	switch {
	case err != nil:
		return nil, err
	case base == "bytea":
		return b, nil
	case len(b) != width:
		return nil, fmt.Errorf("%d bytes, want %d", len(b), width)
	case base == "float4":
		return math.Float32frombits(binary.BigEndian.Uint32(b)), nil
	case base == "float8":
		return math.Float64frombits(binary.BigEndian.Uint64(b)), nil
	}
	return Interval{
		Micros: int64(binary.BigEndian.Uint64(b)),
		Days:   int32(binary.BigEndian.Uint32(b[8:])), Months: int32(binary.BigEndian.Uint32(b[12:])),
	}, nil
}

// postgresText takes the values that are texts here.
func postgresText(c schema.Column, text string) (any, error) {
	switch c.DatabaseType {
	case "text", "varchar", "bpchar", "char", "name", "citext", "enum", "timetz", "xml":
		return text, nil
	case "uuid":
		return UUID(text), nil
	case "json", "jsonb", "inet", "cidr", "macaddr", "macaddr8", "bit", "varbit", "int4range", "int8range", "numrange", "tsvector", "tsquery":
		return Object{c.DatabaseType, text}, nil
	case "_int2", "_int4", "_int8", "_numeric", "_bool", "_text", "_varchar", "_uuid":
		return Array{c.DatabaseType[1:], text}, nil
	}
	return nil, fmt.Errorf("images hold no values of this type")
}

// postgresArg is the text that Placeholder's casts take.
func postgresArg(c schema.Column, v any) any {
	switch v := v.(type) {
	case nil:
		return nil
	case bool:
		if c.DatabaseType == "bit" {
			return map[bool]string{true: "1", false: "0"}[v]
		}
	case []byte:
		return `\x` + hex.EncodeToString(v)
	case float32:
		return postgresFloat(float64(v), 32)
	case float64:
		return postgresFloat(v, 64)
	case Instant:
		text := string(v)
		if strings.HasSuffix(text, "infinity") {
			return text
		}
		if ad, bc := strings.CutSuffix(text, " BC"); bc {
			return ad + "+00 BC"
		}
		return text + "+00"
	case Object:
		return v.Text
	case Array:
		return v.Text
	}
	return fmt.Sprint(v)
}

func postgresFloat(f float64, bits int) string {
	if math.IsInf(f, 0) {
		return strings.TrimPrefix(fmt.Sprint(f)+"inity", "+") // of +Inf, Infinity
	}
	return strconv.FormatFloat(f, 'g', -1, bits)
}

// Retyped makes of a value in an undo record what Typed makes of the same value
// in the column: a record says less of PostgreSQL's types than the catalogue.
// instant is the value as the record has it in UTC. It fails for a value that
// does not tell what was in the column.
func Retyped(c schema.Column, v, instant any) (any, error) {
	if v == nil {
		return nil, nil
	}
	switch text := v.(type) {
	case Timestamp:
		if at, ok := instant.(Timestamp); ok && c.DatabaseType == "timestamptz" {
			return Instant(at), nil
		}
	case Time:
		if c.DatabaseType == "timetz" {
			return nil, fmt.Errorf("column %s (%s): %s is without its time zone", c.Name, c.Cast, text)
		}
	case string: // what had no class in Java
		if c.DatabaseType != "bool" && c.DatabaseType != "float4" && c.DatabaseType != "float8" && c.DatabaseType != "bytea" && c.DatabaseType != "interval" {
			return Typed(schema.PostgreSQL, c, text)
		}
	}
	if _, err := postgresText(c, ""); err != nil && !postgresOwn[c.DatabaseType] {
		return nil, fmt.Errorf("column %s (%s): %w", c.Name, c.Cast, err)
	}
	return v, nil
}

// postgresOwn are the types whose values have Go types of their own.
var postgresOwn = map[string]bool{
	"int2": true, "int4": true, "int8": true, "oid": true, "bool": true, "numeric": true, "float4": true, "float8": true,
	"interval": true, "bytea": true, "date": true, "time": true, "timestamp": true, "timestamptz": true,
}
