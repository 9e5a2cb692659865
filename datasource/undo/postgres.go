package undo

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/qiao-tx/qiao/datasource/image"
)

// Java classes of PostgreSQL's values.
const (
	classUUID       = "java.util.UUID"
	classPGobject   = "org.postgresql.util.PGobject"
	classPGInterval = "org.postgresql.util.PGInterval"
	arrayClass      = "sql.serial.SerialArray" // behind Seata's own prefix
)

type (
	// wireObject is Jackson's rendering of pgjdbc's PGobject.
	wireObject struct {
		Class string `json:"@class"`
		Type  string `json:"type"`
		Value string `json:"value"`
		Null  bool   `json:"null"`
	}
	// wireInterval is that of PGInterval.
	wireInterval struct {
		Class        string      `json:"@class"`
		Type         string      `json:"type"`
		Value        string      `json:"value"`
		Years        int64       `json:"years"`
		Months       int64       `json:"months"`
		Days         int64       `json:"days"`
		Hours        int64       `json:"hours"`
		Minutes      int64       `json:"minutes"`
		WholeSeconds int64       `json:"wholeSeconds"`
		MicroSeconds int64       `json:"microSeconds"`
		Seconds      json.Number `json:"seconds"`
		Null         bool        `json:"null"`
	}
	// wireArray is that of Seata's SerialArray. Array repeats the elements;
	// Java writes and does not read it.
	wireArray struct {
		Class     string          `json:"@class"`
		Elements  json.RawMessage `json:"elements"`
		BaseType  int             `json:"baseType"`
		BaseName  string          `json:"baseTypeName"`
		Array     json.RawMessage `json:"array"`
		ResultSet any             `json:"resultSet"`
	}
)

// encodePostgres writes the values that only PostgreSQL has.
func (c Codec) encodePostgres(v any) (json.RawMessage, error) {
	switch v := v.(type) {
	case image.Instant:
		return Codec{Package: c.Package}.encodeMoment(classTimestamp, string(v)) // Java's Timestamp is a moment, whatever the zone
	case image.UUID:
		return typed(classUUID, string(v))
	case image.Object:
		return marshal(wireObject{Class: classPGobject, Type: v.Type, Value: v.Text})
	case image.Interval:
		return encodeInterval(v)
	case image.Array:
		return c.encodeArray(v)
	}
	return nil, fmt.Errorf("a %T has no Java form", v)
}

// microsPer are the microseconds of an interval's units.
const (
	microsPerSecond = int64(time.Second / time.Microsecond)
	microsPerMinute = 60 * microsPerSecond
	microsPerHour   = 60 * microsPerMinute
)

// encodeInterval divides an interval into the fields that pgjdbc keeps.
func encodeInterval(i image.Interval) (json.RawMessage, error) {
	w := wireInterval{
		Class: classPGInterval, Type: "interval", Years: int64(i.Months / 12), Months: int64(i.Months % 12), Days: int64(i.Days),
		Hours: i.Micros / microsPerHour, Minutes: i.Micros % microsPerHour / microsPerMinute,
		WholeSeconds: i.Micros % microsPerMinute / microsPerSecond, MicroSeconds: i.Micros % microsPerSecond,
	}
	if w.Hours > math.MaxInt32 || w.Hours < math.MinInt32 {
		return nil, fmt.Errorf("the interval %v has more hours than Java's class holds", i)
	}
	seconds := decimalSeconds(w.WholeSeconds, w.MicroSeconds)
	w.Seconds = json.Number(seconds)
	w.Value = fmt.Sprintf("%d years %d mons %d days %d hours %d mins %s secs", w.Years, w.Months, w.Days, w.Hours, w.Minutes, seconds)
	return marshal(w)
}

// decimalSeconds writes seconds with at least one digit of their fraction.
func decimalSeconds(whole, micros int64) string {
	sign := ""
	if whole < 0 || micros < 0 {
		sign, whole, micros = "-", -whole, -micros
	}
	fraction := strings.TrimRight(fmt.Sprintf("%06d", micros), "0")
	if fraction == "" {
		fraction = "0"
	}
	return fmt.Sprintf("%s%d.%s", sign, whole, fraction)
}

// decodeObject reads what Jackson writes as an object with its class.
func (c Codec) decodeObject(raw json.RawMessage) (any, error) {
	head, err := decodeAs[struct {
		Class string `json:"@class"`
	}](raw)
	if err != nil {
		return nil, err
	}
	switch {
	case head.Class == "":
		return nil, undecodable("an object without a class where a value was expected")
	case head.Class == classPGobject:
		o, err := decodeAs[wireObject](raw)
		if o.Null {
			return nil, err
		}
		return image.Object{Type: o.Type, Text: o.Value}, err
	case head.Class == classPGInterval:
		return decodeInterval(raw)
	case wantClass(head.Class, arrayClass) == nil:
		return c.decodeArray(raw)
	}
	return nil, fmt.Errorf("%w: a value of class %q", ErrForeign, head.Class)
}

func decodeInterval(raw json.RawMessage) (any, error) {
	w, err := decodeAs[wireInterval](raw)
	if err != nil || w.Null {
		return nil, err
	}
	months := w.Years*12 + w.Months
	for _, n := range []int64{w.Years, w.Months, w.Days, w.Hours, w.Minutes, w.WholeSeconds, w.MicroSeconds, months} {
		if n > math.MaxInt32 || n < math.MinInt32 {
			return nil, undecodable("an interval with the field %d", n)
		}
	}
	return image.Interval{
		Months: int32(months), Days: int32(w.Days),
		Micros: w.Hours*microsPerHour + w.Minutes*microsPerMinute + w.WholeSeconds*microsPerSecond + w.MicroSeconds,
	}, nil
}

func decodeUUID(raw json.RawMessage) (any, error) {
	text, err := decodeAs[string](raw)
	if err != nil {
		return nil, err
	}
	text = strings.ToLower(text)
	for i, r := range text {
		hyphen := i == 8 || i == 13 || i == 18 || i == 23
		if hyphen != (r == '-') || !hyphen && !strings.ContainsRune("0123456789abcdef", r) {
			return nil, undecodable("%q is no UUID", text)
		}
	}
	if len(text) != 36 {
		return nil, undecodable("%q is no UUID", text)
	}
	return image.UUID(text), nil
}

// arrayElements are the Java classes and java.sql.Types numbers of elements.
var arrayElements = map[string]struct {
	class string
	jdbc  int
}{
	"int2": {classShort, 5}, "int4": {classInteger, 4}, "int8": {classLong, -5}, "numeric": {classBigDecimal, 2},
	"bool": {classBoolean, -7}, "text": {classString, 12}, "varchar": {classString, 12}, "uuid": {classUUID, 1111},
}

// encodeArray writes an array in Java's form, or as its text when that has no
// place for it: an array of arrays, which Java itself cannot read back, or one
// with a NaN among decimals.
func (c Codec) encodeArray(a image.Array) (json.RawMessage, error) {
	of, known := arrayElements[a.Elements]
	elements, flat := splitArray(a.Text)
	if !known || !flat || of.class == classBigDecimal && slices.ContainsFunc(elements, noNumber) {
		return marshal(a.Text)
	}
	outer := make([]json.RawMessage, len(elements))
	inner := make([]json.RawMessage, len(elements))
	for i, e := range elements {
		if outer[i] = json.RawMessage("null"); e != nil {
			value, err := encodeElement(of.class, *e)
			if err != nil {
				return nil, err
			}
			outer[i] = value
		}
		inner[i] = outer[i]
		if parts := [2]json.RawMessage{}; of.class != classBigDecimal && json.Unmarshal(outer[i], &parts) == nil && parts[1] != nil {
			inner[i] = parts[1] // the array's own class says what its elements are
		}
	}
	class := "[L" + of.class + ";"
	w := wireArray{Class: c.class(arrayClass), BaseType: of.jdbc, BaseName: a.Elements}
	var err error
	if w.Elements, err = typed(class, outer); err != nil {
		return nil, err
	}
	if w.Array, err = typed(class, inner); err != nil {
		return nil, err
	}
	return marshal(w)
}

func encodeElement(class, text string) (json.RawMessage, error) {
	switch class {
	case classString:
		return encodeString(0, text)
	case classBoolean:
		return marshal(text == "t")
	case classInteger, classShort, classLong:
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || class == classInteger {
			return json.RawMessage(text), err
		}
		return typed(class, n)
	case classUUID:
		return typed(class, text)
	}
	return encodeDecimal(text)
}

func noNumber(text *string) bool { return text != nil && !isNumber(*text) }

// splitArray takes the elements out of an array's text; a nil one is NULL. It
// reports whether it is an array of one dimension that begins at 1.
func splitArray(text string) (elements []*string, flat bool) {
	if len(text) < 2 || text[0] != '{' || text[len(text)-1] != '}' {
		return nil, false
	}
	inner := text[1 : len(text)-1]
	for inner != "" {
		var element strings.Builder
		quoted := inner[0] == '"'
		i := 0
		if quoted {
			for i = 1; i < len(inner) && inner[i] != '"'; i++ {
				if inner[i] == '\\' && i+1 < len(inner) {
					i++
				}
				element.WriteByte(inner[i])
			}
			i++
		} else {
			for ; i < len(inner) && inner[i] != ','; i++ {
				if inner[i] == '{' || inner[i] == '"' {
					return nil, false
				}
				element.WriteByte(inner[i])
			}
		}
		value := element.String()
		if elements = append(elements, &value); !quoted && value == "NULL" {
			elements[len(elements)-1] = nil
		}
		if i >= len(inner) {
			break
		}
		if inner[i] != ',' {
			return nil, false
		}
		inner = inner[i+1:]
	}
	return elements, true
}

// maxDimensions is how many PostgreSQL's arrays have at most.
const maxDimensions = 6

func (c Codec) decodeArray(raw json.RawMessage) (any, error) {
	w, err := decodeAs[wireArray](raw)
	if err != nil {
		return nil, err
	}
	if _, known := arrayElements[w.BaseName]; !known {
		return nil, fmt.Errorf("%w: an array of %s", ErrForeign, w.BaseName)
	}
	text, err := c.arrayText(w.Elements, maxDimensions)
	return image.Array{Elements: w.BaseName, Text: text}, err
}

// arrayText is an array as PostgreSQL writes it.
func (c Codec) arrayText(raw json.RawMessage, dimensions int) (string, error) {
	parts, err := decodeAs[[]json.RawMessage](raw)
	if err != nil {
		return "", err
	}
	if len(parts) != 2 || dimensions == 0 {
		return "", undecodable("an array that is not [class, elements] of at most %d dimensions", maxDimensions)
	}
	elements, err := decodeAs[[]json.RawMessage](parts[1])
	if err != nil {
		return "", err
	}
	texts := make([]string, len(elements))
	for i, e := range elements {
		if strings.HasPrefix(string(e), `["[`) {
			if texts[i], err = c.arrayText(e, dimensions-1); err != nil {
				return "", err
			}
			continue
		}
		v, err := c.decodeValue(e)
		if err != nil {
			return "", err
		}
		texts[i] = elementText(v)
	}
	return "{" + strings.Join(texts, ",") + "}", nil
}

// elementText is one element as PostgreSQL writes it.
func elementText(v any) string {
	switch v := v.(type) {
	case nil:
		return "NULL"
	case bool:
		return fmt.Sprint(v)[:1]
	case string:
		special := func(r rune) bool { return strings.ContainsRune("{},\"\\ \t\n\r\v\f", r) }
		if v != "" && !strings.EqualFold(v, "NULL") && !slices.ContainsFunc([]rune(v), special) {
			return v
		}
		return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(v) + `"`
	}
	return fmt.Sprint(v)
}
