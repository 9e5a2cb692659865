package storage

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// MaxLocksPerBranch caps the rows one registration may lock.
const MaxLocksPerBranch = 1_000_000

// maxRowKeyBytes caps the names of one branch's rows: a long resource id times
// many rows must not take the coordinator's memory.
const maxRowKeyBytes = 256 << 20

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

// AppendRowKey appends the bytes of NewRowKey to dst, for look-ups that need no
// string of their own.
func AppendRowKey(dst []byte, resource, table, pk string) []byte {
	dst = append(dst, resource...)
	dst = append(dst, rowKeySeparator...)
	dst = append(dst, table...)
	dst = append(dst, rowKeySeparator...)
	return append(dst, pk...)
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
	c := rowCollector{resource: resource}
	if err := c.measure(lockKey); err != nil {
		return nil, err
	}
	if c.rows == 0 {
		return nil, nil
	}
	c.keys = make([]RowKey, 0, c.rows)
	c.text.Grow(c.size)
	if c.rows > fewRows {
		c.seen = make(map[RowKey]struct{}, c.rows)
	}
	return c.keys, EachRow(lockKey, c.add)
}

// CheckRows tells whether RowKeys would take the lock key, without the keys.
func CheckRows(resource, lockKey string) error {
	c := rowCollector{resource: resource}
	return c.measure(lockKey)
}

// EachRow calls f with each row that the lock key names, in its order,
// repetitions included, until f fails. The error is f's or wraps ErrBadLockKey.
func EachRow(lockKey string, f func(table, pk string) error) error {
	for lockKey != "" {
		var group string
		group, lockKey, _ = strings.Cut(lockKey, ";")
		if group == "" {
			continue
		}
		table, pks, ok := strings.Cut(group, ":")
		if !ok || table == "" {
			return fmt.Errorf("%w: %.80q names no table; want table:pk,pk;table2:pk", ErrBadLockKey, group)
		}
		for more := true; more; {
			var pk string
			if pk, pks, more = strings.Cut(pks, ","); pk == "" {
				return fmt.Errorf("%w: table %q has an empty primary key", ErrBadLockKey, table)
			}
			if err := f(table, pk); err != nil {
				return err
			}
		}
	}
	return nil
}

// fewRows is the number up to which comparing rows is cheaper than hashing.
const fewRows = 8

// rowCollector gathers row keys in one string: nearly every branch has one or
// two rows, and the store keeps each key as long as the lock.
type rowCollector struct {
	rows, size int
	resource   string
	text       strings.Builder
	keys       []RowKey
	seen       map[RowKey]struct{}
}

// measure counts the rows and the bytes of their keys, against the limits.
func (c *rowCollector) measure(lockKey string) error {
	if err := EachRow(lockKey, c.count); err != nil {
		return err
	}
	c.size += c.rows * (len(c.resource) + 2*len(rowKeySeparator))
	if c.size > maxRowKeyBytes {
		return fmt.Errorf("%w: the names of %d rows take %d bytes, at most %d are allowed", ErrBadLockKey, c.rows, c.size, maxRowKeyBytes)
	}
	return nil
}

func (c *rowCollector) count(table, pk string) error {
	if c.rows == MaxLocksPerBranch {
		return fmt.Errorf("%w: more than %d rows in one branch", ErrBadLockKey, MaxLocksPerBranch)
	}
	c.rows++
	c.size += len(table) + len(pk)
	return nil
}

func (c *rowCollector) add(table, pk string) error {
	start := c.text.Len()
	c.text.WriteString(c.resource)
	c.text.WriteString(rowKeySeparator)
	c.text.WriteString(table)
	c.text.WriteString(rowKeySeparator)
	c.text.WriteString(pk)
	// The builder was grown to the full size: earlier keys stay where they are.
	key := RowKey(c.text.String()[start:])
	if c.seen == nil {
		if !slices.Contains(c.keys, key) {
			c.keys = append(c.keys, key)
		}
		return nil
	}
	if _, dup := c.seen[key]; !dup {
		c.seen[key] = struct{}{}
		c.keys = append(c.keys, key)
	}
	return nil
}
