package sqlparse

import (
	"fmt"

	"github.com/qiao-tx/qiao/datasource/schema"
)

// TableName reads a table's name as a statement writes it: [schema.]table, with
// or without quotes. The error is ErrSyntax or ErrUnsupported.
func TableName(d schema.Dialect, text string) (schemaName, table string, err error) {
	src, err := scan(d, text)
	if err != nil {
		return "", "", err
	}
	table, ok := src.name(0)
	if ok && len(src.tokens) == 1 {
		return "", table, nil
	}
	schemaName = table
	if table, ok = src.name(2); ok && len(src.tokens) == 3 && src.punct(1, '.') {
		return schemaName, table, nil
	}
	return "", "", fmt.Errorf("%w: %q is no table's name", ErrSyntax, text)
}
