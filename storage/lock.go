package storage

import (
	"errors"
	"fmt"
	"strings"
)

// MaxLocksPerBranch caps the rows one registration may lock.
const MaxLocksPerBranch = 1_000_000

// ErrBadLockKey reports a lock key that does not have the form
// "table:pk,pk;table2:pk". The caller's registration is at fault.
var ErrBadLockKey = errors.New("bad lock key")

// RowKey names one row for all transactions. The form is Seata's row_key:
// resource^^^table^^^pk.
type RowKey string

const rowKeySeparator = "^^^"

// NewRowKey names the row pk of a table in a resource.
func NewRowKey(resource, table, pk string) RowKey {
	return RowKey(resource + rowKeySeparator + table + rowKeySeparator + pk)
}

// Split undoes NewRowKey.
func (k RowKey) Split() (resource, table, pk string) {
	resource, rest, _ := strings.Cut(string(k), rowKeySeparator)
	table, pk, _ = strings.Cut(rest, rowKeySeparator)
	return resource, table, pk
}

// RowKeys lists the rows that a branch's lock key names, in its order, each
// once. It splits as the Java server does (";", then the first ":", then ",").
// The error wraps ErrBadLockKey.
func RowKeys(resource, lockKey string) ([]RowKey, error) {
	if lockKey == "" {
		return nil, nil
	}
	var keys []RowKey
	seen := make(map[RowKey]struct{})
	for group := range strings.SplitSeq(lockKey, ";") {
		if group == "" {
			continue
		}
		table, pks, ok := strings.Cut(group, ":")
		if !ok || table == "" {
			return nil, fmt.Errorf("%w: %.80q names no table; want table:pk,pk;table2:pk", ErrBadLockKey, group)
		}
		for pk := range strings.SplitSeq(pks, ",") {
			if pk == "" {
				return nil, fmt.Errorf("%w: table %q has an empty primary key", ErrBadLockKey, table)
			}
			key := NewRowKey(resource, table, pk)
			if _, dup := seen[key]; dup {
				continue
			}
			if len(keys) == MaxLocksPerBranch {
				return nil, fmt.Errorf("%w: more than %d rows in one branch", ErrBadLockKey, MaxLocksPerBranch)
			}
			seen[key] = struct{}{}
			keys = append(keys, key)
		}
	}
	return keys, nil
}
