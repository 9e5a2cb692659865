package undo

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/qiao-tx/qiao/datasource/image"
	"github.com/qiao-tx/qiao/datasource/sqlparse"
)

// Decode reads a record, joined and decompressed. The error is ErrUndecodable
// or ErrForeign.
func (c Codec) Decode(content []byte) (Record, error) {
	if len(content) > MaxSize {
		return Record{}, undecodable("%d bytes, at most %d are read", len(content), MaxSize)
	}
	if !utf8.Valid(content) {
		return Record{}, undecodable("it is not UTF-8")
	}
	var w wireRecord
	if err := json.Unmarshal(content, &w); err != nil {
		return Record{}, undecodable("%v", err)
	}
	if err := wantClass(w.Class, classLog); err != nil {
		return Record{}, err
	}
	r := Record{XID: w.XID, BranchID: w.BranchID}
	for i, s := range w.Logs.items() {
		e, err := c.entry(s)
		if err != nil {
			return Record{}, fmt.Errorf("statement %d: %w", i+1, err)
		}
		r.Entries = append(r.Entries, e)
	}
	return r, nil
}

// wantClass takes the class in either of Java's packages.
func wantClass(class string, names ...string) error {
	for _, name := range names {
		for _, javaPackage := range []string{ApachePackage, IOPackage} {
			if class == javaPackage+classPath+name {
				return nil
			}
		}
	}
	return undecodable("class %q where %s was expected", class, strings.Join(names, " or "))
}

func (c Codec) entry(s wireStatement) (Entry, error) {
	if err := wantClass(s.Class, classSQL); err != nil {
		return Entry{}, err
	}
	kind, ok := kinds[s.SQLType]
	if !ok {
		return Entry{}, undecodable("SQL type %q", s.SQLType)
	}
	before, err := c.image(s.Before)
	if err != nil {
		return Entry{}, fmt.Errorf("before image: %w", err)
	}
	after, err := c.image(s.After)
	if err != nil {
		return Entry{}, fmt.Errorf("after image: %w", err)
	}
	if kind == sqlparse.Insert && len(before.Rows) > 0 || kind == sqlparse.Delete && len(after.Rows) > 0 ||
		kind == sqlparse.Update && len(before.Rows) != len(after.Rows) {
		return Entry{}, undecodable("%s of table %s with %d rows before and %d after", s.SQLType, s.Table, len(before.Rows), len(after.Rows))
	}
	return Entry{Kind: kind, Table: s.Table, Before: before, After: after}, nil
}

func (c Codec) image(w wireImage) (image.Image, error) {
	if err := wantClass(w.Class, classRows, classEmpty); err != nil {
		return image.Image{}, err
	}
	img := image.Image{Table: w.Table}
	for _, wr := range w.Rows.items() {
		if err := wantClass(wr.Class, classRow); err != nil {
			return image.Image{}, err
		}
		row := make(image.Row, len(wr.Fields.items()))
		for i, wf := range wr.Fields.items() {
			if err := wantClass(wf.Class, classField); err != nil {
				return image.Image{}, err
			}
			value := wf.Value
			if len(wf.Exact) > 0 {
				value = wf.Exact
			}
			v, err := c.decodeValue(value)
			if err != nil {
				return image.Image{}, fmt.Errorf("column %s: %w", wf.Name, err)
			}
			row[i] = image.Field{Name: wf.Name, Type: wf.Type, Key: wf.KeyType == keyPrimary, Value: v}
		}
		img.Rows = append(img.Rows, row)
	}
	return img, nil
}
