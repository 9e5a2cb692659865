package at

import (
	"database/sql/driver"
	"errors"
	"io"
	"reflect"
)

// keptRows are rows that were read whole, for a caller who gets them later: the
// connection is free meanwhile.
type keptRows struct {
	names []string
	types []columnType
	rows  [][]driver.Value
	next  int
}

// columnType is what a driver says of a result column.
type columnType struct {
	scan                      reflect.Type
	database                  string
	length, precision, scale  int64
	nullable                  bool
	hasLength, knowsNull, has bool
}

// keepRows reads and closes rows. Their last columns are not for the caller.
func keepRows(inner driver.Rows, own int) (kept *keptRows, ours [][]any, err error) {
	described := &ownedRows{Rows: inner}
	names := inner.Columns()
	width := len(names) - own
	kept = &keptRows{names: names[:width:width]}
	for i := range width {
		kept.types = append(kept.types, describe(described, i))
	}
	defer func() { err = errors.Join(err, inner.Close()) }()
	for {
		values := make([]driver.Value, len(names))
		switch err := inner.Next(values); {
		case errors.Is(err, io.EOF):
			return kept, ours, nil
		case err != nil:
			return nil, nil, err
		}
		row := make([]any, own)
		for i, v := range values {
			if b, ok := v.([]byte); ok {
				values[i] = append([]byte{}, b...) // the driver may use its buffer again
			}
			if i >= width {
				row[i-width] = values[i]
			}
		}
		kept.rows, ours = append(kept.rows, values[:width:width]), append(ours, row)
	}
}

func describe(r *ownedRows, i int) (t columnType) {
	t.scan, t.database = r.ColumnTypeScanType(i), r.ColumnTypeDatabaseTypeName(i)
	t.length, t.hasLength = r.ColumnTypeLength(i)
	t.nullable, t.knowsNull = r.ColumnTypeNullable(i)
	t.precision, t.scale, t.has = r.ColumnTypePrecisionScale(i)
	return t
}

func (r *keptRows) Columns() []string { return r.names }
func (r *keptRows) Close() error      { r.next = len(r.rows); return nil }

func (r *keptRows) Next(dest []driver.Value) error {
	if r.next >= len(r.rows) {
		return io.EOF
	}
	copy(dest, r.rows[r.next])
	r.next++
	return nil
}

// affected is the result of a statement by the rows that it gave.
func (r *keptRows) affected() driver.Result { return driver.RowsAffected(len(r.rows)) }

func (r *keptRows) ColumnTypeScanType(i int) reflect.Type { return r.types[i].scan }

func (r *keptRows) ColumnTypeDatabaseTypeName(i int) string { return r.types[i].database }

func (r *keptRows) ColumnTypeLength(i int) (length int64, ok bool) {
	return r.types[i].length, r.types[i].hasLength
}

func (r *keptRows) ColumnTypeNullable(i int) (nullable, ok bool) {
	return r.types[i].nullable, r.types[i].knowsNull
}

func (r *keptRows) ColumnTypePrecisionScale(i int) (precision, scale int64, ok bool) {
	return r.types[i].precision, r.types[i].scale, r.types[i].has
}
