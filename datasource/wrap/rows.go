package wrap

import (
	"database/sql/driver"
	"errors"
	"io"
	"reflect"
)

// OwnedRows are rows with something to do when they are closed: the statement
// they came from, or the local transaction around a single SELECT … FOR UPDATE.
// Where the driver's rows lack an optional method, the answer is the one that
// database/sql assumes then.
type OwnedRows struct {
	driver.Rows
	// Release runs once, with the error of the rows' own Close.
	Release func(error) error
}

func (r *OwnedRows) Close() error {
	err := r.Rows.Close()
	if r.Release == nil {
		return err
	}
	release := r.Release
	r.Release = nil
	return errors.Join(err, release(err))
}

func (r *OwnedRows) HasNextResultSet() bool {
	n, ok := r.Rows.(driver.RowsNextResultSet)
	return ok && n.HasNextResultSet()
}

func (r *OwnedRows) NextResultSet() error {
	if n, ok := r.Rows.(driver.RowsNextResultSet); ok {
		return n.NextResultSet()
	}
	return io.EOF
}

func (r *OwnedRows) ColumnTypeScanType(index int) reflect.Type {
	if c, ok := r.Rows.(driver.RowsColumnTypeScanType); ok {
		return c.ColumnTypeScanType(index)
	}
	return reflect.TypeFor[any]()
}

func (r *OwnedRows) ColumnTypeDatabaseTypeName(index int) string {
	if c, ok := r.Rows.(driver.RowsColumnTypeDatabaseTypeName); ok {
		return c.ColumnTypeDatabaseTypeName(index)
	}
	return ""
}

func (r *OwnedRows) ColumnTypeLength(index int) (length int64, ok bool) {
	if c, has := r.Rows.(driver.RowsColumnTypeLength); has {
		return c.ColumnTypeLength(index)
	}
	return 0, false
}

func (r *OwnedRows) ColumnTypeNullable(index int) (nullable, ok bool) {
	if c, has := r.Rows.(driver.RowsColumnTypeNullable); has {
		return c.ColumnTypeNullable(index)
	}
	return false, false
}

func (r *OwnedRows) ColumnTypePrecisionScale(index int) (precision, scale int64, ok bool) {
	if c, has := r.Rows.(driver.RowsColumnTypePrecisionScale); has {
		return c.ColumnTypePrecisionScale(index)
	}
	return 0, 0, false
}
