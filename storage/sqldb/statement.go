package sqldb

import (
	"context"
	"database/sql"
	"encoding/hex"
	"fmt"
	"reflect"
	"strconv"
	"strings"
)

// statement builds the text of statements, with their values in it: there is
// nothing to prepare, and several go in one round trip.
type statement struct {
	d    *dialect
	text strings.Builder
}

func (d *dialect) statement(text string) *statement {
	s := &statement{d: d}
	s.text.WriteString(text)
	return s
}

// exec runs the statements and returns what the last one did.
func (s *statement) exec(ctx context.Context, q querier) (sql.Result, error) {
	return q.ExecContext(ctx, s.text.String())
}

func (s *statement) add(text string) *statement {
	s.text.WriteString(text)
	return s
}

// number adds a number.
func (s *statement) number(n int64) *statement {
	var digits [20]byte
	s.text.Write(strconv.AppendInt(digits[:0], n, 10))
	return s
}

// string adds a text.
func (s *statement) string(text string) *statement {
	s.d.literal(&s.text, text)
	return s
}

// param adds a value: a text, a number or a truth, or what is made of one.
func (s *statement) param(arg any) *statement {
	switch v := reflect.ValueOf(arg); {
	case v.Kind() == reflect.String:
		return s.string(v.String())
	case v.CanInt():
		return s.number(v.Int())
	case v.Kind() == reflect.Bool && v.Bool():
		return s.add("TRUE")
	case v.Kind() == reflect.Bool:
		return s.add("FALSE")
	}
	panic(fmt.Sprintf("a statement takes no %T", arg))
}

// moment adds a timestamp, from microseconds since 1970.
func (s *statement) moment(micros int64) *statement {
	s.add(s.d.moment[0]).number(micros / 1_000_000).add(".")
	var digits [8]byte
	s.text.Write(strconv.AppendInt(digits[:0], 1_000_000+micros%1_000_000, 10)[1:])
	return s.add(s.d.moment[1])
}

// in adds a list of values in parentheses.
func in[T any](s *statement, values []T) *statement {
	s.add("(")
	for i, v := range values {
		if i > 0 {
			s.add(",")
		}
		s.param(v)
	}
	return s.add(")")
}

// params adds values with commas between them.
func (s *statement) params(args ...any) *statement {
	for i, arg := range args {
		if i > 0 {
			s.add(",")
		}
		s.param(arg)
	}
	return s
}

// mysqlLiteral quotes a text. What the session's sql_mode may read in one way or
// another is written in hexadecimal.
func mysqlLiteral(dst *strings.Builder, text string) {
	if !strings.ContainsAny(text, "\\'\x00\x1a") {
		dst.WriteByte('\'')
		dst.WriteString(text)
		dst.WriteByte('\'')
		return
	}
	dst.WriteString("_utf8mb4 x'")
	dst.WriteString(hex.EncodeToString([]byte(text)))
	dst.WriteByte('\'')
}

// postgresqlLiteral quotes a text in the form that no setting changes.
func postgresqlLiteral(dst *strings.Builder, text string) {
	if !strings.ContainsAny(text, `\'`) {
		dst.WriteByte('\'')
		dst.WriteString(text)
		dst.WriteByte('\'')
		return
	}
	dst.WriteString(" E'")
	for i := range len(text) {
		if text[i] == '\\' || text[i] == '\'' {
			dst.WriteByte('\\')
		}
		dst.WriteByte(text[i])
	}
	dst.WriteByte('\'')
}

// literalBytes is about how long a text may get in a statement.
func literalBytes(text string) int64 { return 2*int64(len(text)) + 16 }
