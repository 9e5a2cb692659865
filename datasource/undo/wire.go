package undo

import (
	"encoding/json"
	"errors"

	"github.com/qiao-tx/qiao/datasource/sqlparse"
)

// The structs below are Jackson's rendering of Seata's undo classes, with
// default typing: objects carry "@class", lists are ["java.util.ArrayList", […]].
type (
	wireRecord struct {
		Class    string              `json:"@class"`
		XID      string              `json:"xid"`
		BranchID int64               `json:"branchId"`
		Logs     list[wireStatement] `json:"sqlUndoLogs"`
	}
	wireStatement struct {
		Class   string    `json:"@class"`
		SQLType string    `json:"sqlType"`
		Table   string    `json:"tableName"`
		Before  wireImage `json:"beforeImage"`
		After   wireImage `json:"afterImage"`
	}
	wireImage struct {
		Class string        `json:"@class"`
		Table string        `json:"tableName"`
		Rows  list[wireRow] `json:"rows"`
	}
	wireRow struct {
		Class  string          `json:"@class"`
		Fields list[wireField] `json:"fields"`
	}
	wireField struct {
		Class   string          `json:"@class"`
		Name    string          `json:"name"`
		KeyType string          `json:"keyType"`
		Type    int             `json:"type"`
		Value   json.RawMessage `json:"value"`
		// Exact is ours: the value where Java's driver reads another. Java
		// passes over it.
		Exact json.RawMessage `json:"exact,omitempty"`
	}
)

// Java's packages: Seata moved from the one to the other with version 2.1.0.
const (
	ApachePackage = "org.apache.seata"
	IOPackage     = "io.seata"
)

const (
	classPath  = ".rm.datasource."
	classRow   = "sql.struct.Row"
	classField = "sql.struct.Field"
	classRows  = "sql.struct.TableRecords"
	classEmpty = "sql.struct.TableRecords$EmptyTableRecords"
	classLog   = "undo.BranchUndoLog"
	classSQL   = "undo.SQLUndoLog"
	classList  = "java.util.ArrayList"

	keyPrimary = "PRIMARY_KEY"
	keyNone    = "NULL"
)

var kinds = map[string]sqlparse.Kind{
	"INSERT": sqlparse.Insert,
	"UPDATE": sqlparse.Update,
	"DELETE": sqlparse.Delete,
}

// list is a Java list: the name of its class and a []T. Its Go type is what
// encoding/json writes as such by itself; a MarshalJSON would have every level
// of a record written, checked and copied again for each level above it.
type list[T any] [2]any

func listOf[T any](items []T) list[T] {
	if items == nil {
		items = []T{} // null is not a list
	}
	return list[T]{classList, items}
}

func (l list[T]) items() []T {
	items, _ := l[1].([]T)
	return items
}

var errList = errors.New(`a list must be written ["java.util.ArrayList", […]]`)

func (l *list[T]) UnmarshalJSON(data []byte) error {
	var parts []json.RawMessage
	if err := json.Unmarshal(data, &parts); err != nil {
		return err
	}
	if len(parts) != 2 {
		return errList
	}
	var class string
	if err := json.Unmarshal(parts[0], &class); err != nil {
		return errList
	}
	if class != classList {
		return errList
	}
	var items []T
	if err := json.Unmarshal(parts[1], &items); err != nil {
		return err
	}
	*l = listOf(items)
	return nil
}
