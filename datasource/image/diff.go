package image

import (
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/qiao-tx/qiao/datasource/schema"
)

// Difference is the first place where rows are not what an image says. It is
// the evidence of a dirty write.
type Difference struct {
	Table string
	// Key names the row, such as "id=5".
	Key string
	// Column is "" when the row as a whole is missing or unexpected.
	Column          string
	Expected, Found string
}

func (d *Difference) String() string {
	if d.Column == "" {
		return fmt.Sprintf("table %s, row %s: expected %s, found %s", d.Table, d.Key, d.Expected, d.Found)
	}
	return fmt.Sprintf("table %s, row %s, column %s: expected %s, found %s", d.Table, d.Key, d.Column, d.Expected, d.Found)
}

// Diff compares the rows found with those expected, by primary key and over
// the columns that the expected rows have. It returns nil when they are equal.
// The error says that an image lacks its key.
func Diff(t *schema.Table, expected, found Image) (*Difference, error) {
	return diff(t, expected, found, equalIn)
}

// DiffAsJava is Diff for rows expected by a Java service: a row also passes
// when Java would read it as it is expected.
func DiffAsJava(t *schema.Table, expected, found Image) (*Difference, error) {
	return diff(t, expected, found, func(c schema.Column, expected, found any) bool {
		return equalIn(c, expected, found) || Equal(expected, AsJavaReads(c.JDBCType, found))
	})
}

// equalIn compares values of one column; a year may be a number or a date.
func equalIn(c schema.Column, a, b any) bool {
	if baseType(c.DatabaseType) == "year" {
		a, b = yearValue(a), yearValue(b)
	}
	return Equal(a, b)
}

// equality compares an expected value of a column with the one found.
type equality func(c schema.Column, expected, found any) bool

func diff(t *schema.Table, expected, found Image, equal equality) (*Difference, error) {
	byKey := make(map[string]Row, len(found.Rows))
	for _, row := range found.Rows {
		key, err := row.Key(t)
		if err != nil {
			return nil, err
		}
		byKey[identity(key)] = row
	}
	for _, want := range expected.Rows {
		key, err := want.Key(t)
		if err != nil {
			return nil, err
		}
		id := identity(key)
		got, ok := byKey[id]
		if !ok {
			return &Difference{Table: t.FullName(), Key: keyName(key), Expected: "a row", Found: "none"}, nil
		}
		delete(byKey, id)
		if d := diffRow(t, keyName(key), want, got, equal); d != nil {
			return d, nil
		}
	}
	for _, row := range found.Rows {
		key, err := row.Key(t)
		if err != nil {
			return nil, err
		}
		if _, extra := byKey[identity(key)]; extra {
			return &Difference{Table: t.FullName(), Key: keyName(key), Expected: "no row", Found: "one"}, nil
		}
	}
	return nil, nil
}

// Changed counts the rows of before that are missing from after or differ
// there. The error says that an image lacks its key.
func Changed(t *schema.Table, before, after Image) (int, error) {
	byKey := make(map[string]Row, len(after.Rows))
	for _, row := range after.Rows {
		key, err := row.Key(t)
		if err != nil {
			return 0, err
		}
		byKey[identity(key)] = row
	}
	n := 0
	for _, row := range before.Rows {
		key, err := row.Key(t)
		if err != nil {
			return 0, err
		}
		if now, ok := byKey[identity(key)]; !ok || diffRow(t, "", row, now, equalIn) != nil {
			n++
		}
	}
	return n, nil
}

func diffRow(t *schema.Table, key string, want, got Row, equal equality) *Difference {
	for _, w := range want {
		g, ok := got.Field(w.Name)
		if !ok {
			return &Difference{Table: t.FullName(), Key: key, Column: w.Name, Expected: show(w.Value), Found: "no such column"}
		}
		if c, _ := t.Column(w.Name); !equal(c, w.Value, g.Value) {
			return &Difference{Table: t.FullName(), Key: key, Column: w.Name, Expected: show(w.Value), Found: show(g.Value)}
		}
	}
	return nil
}

func keyName(key []Field) string {
	text := ""
	for i, f := range key {
		if i > 0 {
			text += " "
		}
		text += f.Name + "=" + show(f.Value)
	}
	return text
}

// showLimit bounds a value's text within evidence, in bytes.
const showLimit = 64

func show(v any) string {
	var text string
	switch v := v.(type) {
	case nil:
		return "NULL"
	case []byte:
		text = fmt.Sprintf("0x%x", v[:min(len(v), showLimit)])
	case string:
		text = fmt.Sprintf("%q", v[:min(len(v), showLimit)])
	default:
		text = fmt.Sprint(v)
	}
	if len(text) <= showLimit {
		return text
	}
	end := showLimit
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + "…"
}

// ErrNoRow: an image lacks a row that another has.
var ErrNoRow = errors.New("the image has no such row")

// Matching gives the rows of an image whose keys are those of another's rows, in
// the order of these. The error is ErrNoRow when one is not there.
func Matching(t *schema.Table, img, like Image) (Image, error) {
	byKey := make(map[string]Row, len(img.Rows))
	for _, row := range img.Rows {
		key, err := row.Key(t)
		if err != nil {
			return Image{}, err
		}
		byKey[identity(key)] = row
	}
	found := Image{Table: img.Table}
	for _, row := range like.Rows {
		key, err := row.Key(t)
		if err != nil {
			return Image{}, err
		}
		match, ok := byKey[identity(key)]
		if !ok {
			return Image{}, fmt.Errorf("%w: table %s, row %s", ErrNoRow, t.FullName(), keyName(key))
		}
		found.Rows = append(found.Rows, match)
	}
	return found, nil
}
