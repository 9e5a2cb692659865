package wrap

import (
	"database/sql/driver"
	"errors"
	"io"
	"reflect"
)

// KeptRows are rows that were read whole, for a caller who gets them later: the
// connection is free meanwhile.
type KeptRows struct {
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

// Keep reads and closes rows. The last own columns are not for whoever gets the
// rows: they come back as ours.
func Keep(inner driver.Rows, own int) (kept *KeptRows, ours [][]any, err error) {
	described := &OwnedRows{Rows: inner}
	names := inner.Columns()
	width := len(names) - own
	kept = &KeptRows{names: names[:width:width]}
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

func describe(r *OwnedRows, i int) (t columnType) {
	t.scan, t.database = r.ColumnTypeScanType(i), r.ColumnTypeDatabaseTypeName(i)
	t.length, t.hasLength = r.ColumnTypeLength(i)
	t.nullable, t.knowsNull = r.ColumnTypeNullable(i)
	t.precision, t.scale, t.has = r.ColumnTypePrecisionScale(i)
	return t
}

func (r *KeptRows) Columns() []string { return r.names }
func (r *KeptRows) Close() error      { r.next = len(r.rows); return nil }

func (r *KeptRows) Next(dest []driver.Value) error {
	if r.next >= len(r.rows) {
		return io.EOF
	}
	copy(dest, r.rows[r.next])
	r.next++
	return nil
}

// Hide leaves the rows without columns.
func (r *KeptRows) Hide() { r.names, r.types = nil, nil }

// Affected is the result of a statement by the rows that it gave.
func (r *KeptRows) Affected() driver.Result { return driver.RowsAffected(len(r.rows)) }

func (r *KeptRows) ColumnTypeScanType(i int) reflect.Type { return r.types[i].scan }

func (r *KeptRows) ColumnTypeDatabaseTypeName(i int) string { return r.types[i].database }

func (r *KeptRows) ColumnTypeLength(i int) (length int64, ok bool) {
	return r.types[i].length, r.types[i].hasLength
}

func (r *KeptRows) ColumnTypeNullable(i int) (nullable, ok bool) {
	return r.types[i].nullable, r.types[i].knowsNull
}

func (r *KeptRows) ColumnTypePrecisionScale(i int) (precision, scale int64, ok bool) {
	return r.types[i].precision, r.types[i].scale, r.types[i].has
}
