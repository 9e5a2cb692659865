package undo

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/qiao-tx/qiao/datasource/image"
)

// Encode writes a record. Its row's context column must be Context. The error
// is ErrUnwritable.
func (c Codec) Encode(r Record) ([]byte, error) {
	w := wireRecord{Class: classPrefix + "undo.BranchUndoLog", XID: r.XID, BranchID: r.BranchID}
	var statements []wireStatement
	for _, e := range r.Entries {
		s := wireStatement{Class: classPrefix + "undo.SQLUndoLog", Table: e.Table}
		for name, kind := range kinds {
			if kind == e.Kind {
				s.SQLType = name
			}
		}
		if s.SQLType == "" {
			return nil, fmt.Errorf("%w: kind %d of table %s", ErrUnwritable, e.Kind, e.Table)
		}
		var err error
		if s.Before, err = c.wireImage(e.Before); err != nil {
			return nil, err
		}
		if s.After, err = c.wireImage(e.After); err != nil {
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

func (c Codec) wireImage(img image.Image) (wireImage, error) {
	w := wireImage{Class: classPrefix + "sql.struct.TableRecords", Table: img.Table}
	if len(img.Rows) == 0 {
		w.Class = classEmpty
	}
	var rows []wireRow
	for _, row := range img.Rows {
		wr := wireRow{Class: classPrefix + "sql.struct.Row"}
		var fields []wireField
		for _, f := range row {
			value, err := c.encodeValue(f.Type, f.Value)
			if err != nil {
				return w, fmt.Errorf("%w: table %s, column %s: %w", ErrUnwritable, img.Table, f.Name, err)
			}
			wf := wireField{Class: classPrefix + "sql.struct.Field", Name: f.Name, KeyType: keyNone, Type: f.Type, Value: value}
			if f.Key {
				wf.KeyType = keyPrimary
			}
			fields = append(fields, wf)
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
