package image

import (
	"encoding/hex"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/qiao-tx/qiao/datasource/schema"
)

// Locks collects the global locks of one branch, each once, in the order in
// which its rows were first met. The zero value is empty and ready.
type Locks struct {
	// Zone is the time zone of Java services on the same database: the text of a
	// TIMESTAMPTZ key is in it. Nil is UTC.
	Zone *time.Location

	tables []string
	keys   map[string][]string
	seen   map[[2]string]bool
}

// Add takes the rows of an image. Nothing is added when one of them has a key
// that cannot be written into a lock key.
func (l *Locks) Add(t *schema.Table, img Image) error {
	name := t.FullName()
	if strings.ContainsAny(name, ":;") {
		return fmt.Errorf("table %q: a name with ':' or ';' cannot be written into a lock key", name)
	}
	var keys []string
	for _, row := range img.Rows {
		texts, err := l.rowKeys(t, row)
		if err != nil {
			return err
		}
		keys = append(keys, texts...)
	}
	for _, key := range keys {
		l.add(name, key)
	}
	return nil
}

func (l *Locks) add(table, key string) {
	id := [2]string{table, key}
	if l.seen[id] {
		return
	}
	if l.seen == nil {
		l.seen, l.keys = map[[2]string]bool{}, map[string][]string{}
	}
	if _, known := l.keys[table]; !known {
		l.tables = append(l.tables, table)
	}
	l.seen[id] = true
	l.keys[table] = append(l.keys[table], key)
}

// Empty tells whether there is nothing to lock.
func (l *Locks) Empty() bool { return len(l.tables) == 0 }

// String is the lock key as the coordinator takes it: "table:pk,pk;table2:pk".
func (l *Locks) String() string {
	groups := make([]string, len(l.tables))
	for i, table := range l.tables {
		groups[i] = table + ":" + strings.Join(l.keys[table], ",")
	}
	return strings.Join(groups, ";")
}

// rowKeys is the row's key as Java writes it: the columns in Java's order, joined
// with "_". Java takes 'A' and 'a' for two rows even where the column's
// collation takes them for one; for such columns the folded spelling is locked
// as well, so that deleting 'A' conflicts with inserting 'a'. Other equalities
// of collations (accents, ß and ss) are not covered.
func (l *Locks) rowKeys(t *schema.Table, row Row) ([]string, error) {
	key, err := row.Key(t)
	if err != nil {
		return nil, err
	}
	key = javaOrder(key)
	exact, folded := make([]string, len(key)), make([]string, len(key))
	for i, f := range key {
		c, _ := t.Column(f.Name)
		value := asJavaLocks(c, f.Value)
		if instant, ok := value.(Instant); ok {
			value = instant.in(l.Zone)
		}
		text := KeyText(value)
		if strings.ContainsAny(text, ",;") {
			return nil, fmt.Errorf("table %s: the primary key %s = %q contains ',' or ';', which separate lock keys: AT cannot lock this row", t.Name, f.Name, text)
		}
		exact[i], folded[i] = text, text
		if c.CaseInsensitive {
			folded[i] = strings.TrimRight(strings.ToLower(text), " ")
		}
	}
	text := strings.Join(exact, "_")
	if strings.TrimSpace(text) == "" {
		return nil, fmt.Errorf("table %s: the primary key of a row is blank: a coordinator ignores such a lock", t.Name)
	}
	if other := strings.Join(folded, "_"); other != text && other != "" {
		return []string{text, other}, nil
	}
	return []string{text}, nil
}

// asJavaLocks is a key as Java reads it in MySQL where that is not the value:
// all numbers of a TINYINT(1) but zero, say, are one key for it.
func asJavaLocks(c schema.Column, v any) any {
	switch baseType(c.DatabaseType) {
	case "tinyint", "float":
		return AsJavaReads(c.JDBCType, v)
	}
	return v
}

// KeyText is an image value as Java's String.valueOf writes it. Bytes are the
// exception: Java writes an object's address, which locks nothing; we write
// them in hexadecimal, so that at least our own services exclude each other.
func KeyText(v any) string {
	switch v := v.(type) {
	case []byte:
		return "0x" + hex.EncodeToString(v)
	case float32:
		return javaFloat(float64(v), 32)
	case float64:
		return javaFloat(v, 64)
	case Decimal:
		return javaDecimal(string(v))
	case DateTime:
		return javaLocalDateTime(string(v))
	case Timestamp:
		if strings.Contains(string(v), ".") {
			return string(v)
		}
		return string(v) + ".0"
	case Time:
		whole, _, _ := strings.Cut(string(v), ".")
		return whole
	case Year:
		return fmt.Sprintf("%04d-01-01", int16(v))
	case Instant:
		return KeyText(Timestamp(v))
	case Object:
		return v.Text
	case Array:
		return v.Text
	}
	return fmt.Sprint(v)
}

// javaLocalDateTime writes a 'T', leaves out zero seconds, and groups the
// fraction's digits in threes.
func javaLocalDateTime(s string) string {
	date, clock, ok := strings.Cut(s, " ")
	if !ok {
		return s
	}
	whole, fraction, _ := strings.Cut(clock, ".")
	if fraction == "" {
		return date + "T" + strings.TrimSuffix(whole, ":00")
	}
	for len(fraction)%3 != 0 {
		fraction += "0"
	}
	return date + "T" + whole + "." + fraction
}

// javaFloat writes a number as Double.toString and Float.toString do: plain
// between 10^-3 and 10^7, else with an exponent, always with a fraction.
func javaFloat(f float64, bits int) string {
	switch {
	case math.IsNaN(f):
		return "NaN"
	case math.IsInf(f, 1):
		return "Infinity"
	case math.IsInf(f, -1):
		return "-Infinity"
	}
	if a := math.Abs(f); a == 0 || a >= 1e-3 && a < 1e7 {
		text := strconv.FormatFloat(f, 'f', -1, bits)
		if !strings.Contains(text, ".") {
			text += ".0"
		}
		return text
	}
	mantissa, exponent, _ := strings.Cut(strconv.FormatFloat(f, 'e', -1, bits), "e")
	if !strings.Contains(mantissa, ".") {
		mantissa += ".0"
	}
	n, _ := strconv.Atoi(exponent)
	return mantissa + "E" + strconv.Itoa(n)
}

// javaDecimal writes a decimal as BigDecimal.toString does: with an exponent
// when the number is below 10^-6.
func javaDecimal(s string) string {
	sign := ""
	if strings.HasPrefix(s, "-") {
		sign, s = "-", s[1:]
	}
	whole, fraction, _ := strings.Cut(s, ".")
	digits := strings.TrimLeft(whole+fraction, "0")
	if digits == "" {
		digits, sign = "0", ""
	}
	scale := len(fraction)
	adjusted := len(digits) - 1 - scale
	if adjusted < -6 {
		mantissa := digits[:1]
		if len(digits) > 1 {
			mantissa += "." + digits[1:]
		}
		return sign + mantissa + "E" + strconv.Itoa(adjusted)
	}
	if scale == 0 {
		return sign + digits
	}
	if len(digits) <= scale {
		digits = strings.Repeat("0", scale+1-len(digits)) + digits
	}
	return sign + digits[:len(digits)-scale] + "." + digits[len(digits)-scale:]
}
