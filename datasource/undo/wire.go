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
	}
)

const (
	classPrefix = "org.apache.seata.rm.datasource."
	classEmpty  = classPrefix + "sql.struct.TableRecords$EmptyTableRecords"
	classList   = "java.util.ArrayList"

	keyPrimary = "PRIMARY_KEY"
	keyNone    = "NULL"
)

var kinds = map[string]sqlparse.Kind{
	"INSERT": sqlparse.Insert,
	"UPDATE": sqlparse.Update,
	"DELETE": sqlparse.Delete,
}

// list is a Java list.
type list[T any] struct{ items []T }

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
	return json.Unmarshal(parts[1], &l.items)
}

func (l list[T]) MarshalJSON() ([]byte, error) {
	items := l.items
	if items == nil {
		items = []T{}
	}
	return marshal([]any{classList, items})
}
