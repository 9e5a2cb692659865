package undo

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/qiao-tx/qiao/datasource/image"
)

// Encode writes a record. The error is ErrUnwritable.
func (c Codec) Encode(r Record) ([]byte, error) {
	w := wireRecord{Class: c.class(classLog), XID: r.XID, BranchID: r.BranchID}
	var statements []wireStatement
	for _, e := range r.Entries {
		s := wireStatement{Class: c.class(classSQL), Table: e.Table}
		for name, kind := range kinds {
			if kind == e.Kind {
				s.SQLType = name
			}
		}
		if s.SQLType == "" {
			return nil, fmt.Errorf("%w: kind %d of table %s", ErrUnwritable, e.Kind, e.Table)
		}
		var err error
		if s.Before, err = c.wireImage(e.Before, c.beforeField); err != nil {
			return nil, err
		}
		if s.After, err = c.wireImage(e.After, c.afterField); err != nil {
			return nil, err
		}
		statements = append(statements, s)
	}
	w.Logs = listOf(statements)
	content, err := marshal(w)
	if err != nil {
		return nil, fmt.Errorf("%w: %v", ErrUnwritable, err)
	}
	if len(content) > MaxSize {
		return nil, fmt.Errorf("%w: %d bytes, at most %d are allowed; change fewer rows in one local transaction", ErrUnwritable, len(content), MaxSize)
	}
	return content, nil
}

func (c Codec) class(name string) string {
	if c.Package == "" {
		return ApachePackage + classPath + name
	}
	return c.Package + classPath + name
}

func (c Codec) wireImage(img image.Image, write func(image.Field, *wireField) error) (wireImage, error) {
	w := wireImage{Class: c.class(classRows), Table: img.Table}
	if len(img.Rows) == 0 {
		w.Class = c.class(classEmpty)
	}
	var rows []wireRow
	for _, row := range img.Rows {
		wr := wireRow{Class: c.class(classRow)}
		fields := make([]wireField, len(row))
		for i, f := range row {
			fields[i] = wireField{Class: c.class(classField), Name: f.Name, KeyType: keyNone, Type: f.Type}
			if f.Key {
				fields[i].KeyType = keyPrimary
			}
			if err := write(f, &fields[i]); err != nil {
				return w, fmt.Errorf("%w: table %s, column %s: %w", ErrUnwritable, img.Table, f.Name, err)
			}
		}
		wr.Fields = listOf(fields)
		rows = append(rows, wr)
	}
	w.Rows = listOf(rows)
	return w, nil
}

// marshal writes JSON without escaping for HTML, which no reader of undo
// records asks for.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}
