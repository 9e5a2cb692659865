package at

import (
	"context"
	"database/sql"

	"github.com/qiao-tx/qiao/datasource/image"
	"github.com/qiao-tx/qiao/datasource/schema"
	"github.com/qiao-tx/qiao/datasource/wrap"
)

// session is a connection that our own statements run on: in phase one the
// user's, in phase two one of ours.
type session interface {
	Query(ctx context.Context, query string, args ...any) ([][]any, error)
	// Exec returns the number of rows affected.
	Exec(ctx context.Context, query string, args ...any) (int64, error)
}

// driverSession is the connection of the statement being protected.
type driverSession struct{ conn *conn }

func (s driverSession) Query(ctx context.Context, query string, args ...any) ([][]any, error) {
	named, err := wrap.Bind(s.conn.inner, args)
	if err != nil {
		return nil, err
	}
	rows, err := s.conn.queryInner(ctx, query, named)
	if err != nil {
		return nil, err
	}
	return wrap.ReadAll(rows)
}

func (s driverSession) Exec(ctx context.Context, query string, args ...any) (int64, error) {
	named, err := wrap.Bind(s.conn.inner, args)
	if err != nil {
		return 0, err
	}
	result, err := s.conn.execInner(ctx, query, named)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// poolSession is a connection of the resource's own pool.
type poolSession struct{ conn *sql.Conn }

func (s poolSession) Query(ctx context.Context, query string, args ...any) ([][]any, error) {
	rows, err := s.conn.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	var all [][]any
	for rows.Next() {
		row, into := make([]any, len(columns)), make([]any, len(columns))
		for i := range row {
			into[i] = &row[i]
		}
		if err := rows.Scan(into...); err != nil {
			return nil, err
		}
		all = append(all, row)
	}
	return all, rows.Err()
}

func (s poolSession) Exec(ctx context.Context, query string, args ...any) (int64, error) {
	result, err := s.conn.ExecContext(ctx, query, args...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// readImage runs a query for some columns of rows. rest is what follows FROM.
func readImage(ctx context.Context, s session, d schema.Dialect, t *schema.Table, columns []schema.Column, rest string, args []any) (image.Image, error) {
	rows, err := s.Query(ctx, "SELECT "+image.SelectList(d, "", columns)+" FROM "+rest, args...)
	if err != nil {
		return image.Image{}, err
	}
	img := image.Image{Table: t.FullName()}
	for _, values := range rows {
		row, err := image.FromRow(d, t, columns, values)
		if err != nil {
			return image.Image{}, err
		}
		img.Rows = append(img.Rows, row)
	}
	return img, nil
}

// locking makes a SELECT read and lock the rows as they are now, not as the
// transaction's snapshot shows them. SQLite's writer holds the whole file.
func locking(d schema.Dialect) string {
	if d == schema.SQLite {
		return ""
	}
	return " FOR UPDATE"
}

// keysPerQuery bounds the placeholders of one query, and SQLite's depth of
// expressions.
const keysPerQuery = 300

// readKeys reads and locks the rows with the given keys.
func readKeys(ctx context.Context, s session, d schema.Dialect, t *schema.Table, keys [][]any) (image.Image, error) {
	img := image.Image{Table: t.FullName()}
	for len(keys) > 0 {
		n := min(len(keys), keysPerQuery)
		where, args := image.WhereKeys(d, t, keys[:n], 1)
		part, err := readImage(ctx, s, d, t, image.Columns(t), t.Quoted(d)+" WHERE "+where+locking(d), args)
		if err != nil {
			return image.Image{}, err
		}
		img.Rows, keys = append(img.Rows, part.Rows...), keys[n:]
	}
	return img, nil
}

// keysOf lists the primary keys of an image's rows.
func keysOf(t *schema.Table, img image.Image) ([][]any, error) {
	keys := make([][]any, len(img.Rows))
	for i, row := range img.Rows {
		key, err := row.Key(t)
		if err != nil {
			return nil, err
		}
		for _, f := range key {
			keys[i] = append(keys[i], f.Value)
		}
	}
	return keys, nil
}
