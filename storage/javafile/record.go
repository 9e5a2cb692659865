package javafile

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/qiao-tx/qiao/protocol"
)

// ErrDamaged reports bytes that Java cannot have written. The text names the offset.
var ErrDamaged = errors.New("damaged record")

// operation is what a record does (TransactionStoreManager.LogOperation).
type operation byte

const (
	addGlobal operation = iota + 1
	updateGlobal
	removeGlobal
	addBranch
	updateBranch
	removeBranch
)

// record is one record: of a global transaction or, from addBranch on, of a branch.
type record struct {
	operation
	id     int64 // of the transaction
	xid    string
	global globalRecord
	branch branchRecord
}

type globalRecord struct {
	timeoutMillis            int32
	application, group, name string
	beganAt                  int64
	status                   protocol.GlobalStatus
}

type branchRecord struct {
	id                  int64
	resource, lockKey   string
	client, application string
	kind                protocol.BranchType
	status              protocol.BranchStatus
}

// decode decodes the body of a record: all of it. The error wraps ErrDamaged.
func decode(body []byte) (*record, error) {
	if len(body) == 0 {
		return nil, fmt.Errorf("%w: it is empty", ErrDamaged)
	}
	r := &record{operation: operation(body[len(body)-1])}
	d := &decoder{data: body[:len(body)-1], lockKeyCap: maxLockKey}
	switch r.operation {
	case addGlobal, updateGlobal, removeGlobal:
		d.global(r)
	case addBranch, updateBranch, removeBranch:
		d.branch(r)
	default:
		return nil, fmt.Errorf("%w: operation %d is none of Seata's", ErrDamaged, body[len(body)-1])
	}
	if d.err == nil && (r.id <= 0 || r.xid == "" || r.operation >= addBranch && r.branch.id <= 0) {
		d.fail("it names no transaction or no branch")
	}
	if d.err == nil && len(d.data) > 0 {
		d.fail(fmt.Sprintf("%d bytes are left over", len(d.data)))
	}
	return r, d.err
}

// decoder reads big-endian numbers and texts after their lengths. After the first
// error it returns zeros.
type decoder struct {
	data []byte
	read int
	err  error
	// lockKeyCap bounds a lock key that was compressed, in bytes.
	lockKeyCap int
}

func (d *decoder) fail(what string) {
	if d.err == nil {
		d.err = fmt.Errorf("%w: %s, at byte %d of the record", ErrDamaged, what, d.read)
	}
}

func (d *decoder) take(n int) []byte {
	if d.err != nil || n > len(d.data) {
		d.fail("it ends too early")
		return nil
	}
	taken := d.data[:n]
	d.data, d.read = d.data[n:], d.read+n
	return taken
}

func (d *decoder) byte() byte {
	if b := d.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (d *decoder) int32() int32 {
	if b := d.take(4); b != nil {
		return int32(binary.BigEndian.Uint32(b))
	}
	return 0
}

func (d *decoder) int64() int64 {
	if b := d.take(8); b != nil {
		return int64(binary.BigEndian.Uint64(b))
	}
	return 0
}

// short reads a text after a length of two bytes.
func (d *decoder) short() string {
	if b := d.take(2); b != nil {
		return d.text(int(int16(binary.BigEndian.Uint16(b))))
	}
	return ""
}

// long reads a text after a length of four bytes.
func (d *decoder) long() string { return d.text(int(d.int32())) }

func (d *decoder) text(n int) string {
	if n < 0 {
		d.fail("a text has a negative length")
		return ""
	}
	return string(d.take(n))
}

func (d *decoder) global(r *record) {
	g := &r.global
	r.id, g.timeoutMillis = d.int64(), d.int32()
	g.application, g.group, g.name = d.short(), d.short(), d.short()
	r.xid = d.long()
	d.long() // applicationData, which nobody reads
	g.beganAt, g.status = d.int64(), protocol.GlobalStatus(d.byte())
	if g.status < 0 || g.status > protocol.StatusStopRollbackOrRollbackRetry {
		d.fail(fmt.Sprintf("status %d of a global transaction is none of Seata's", g.status))
	}
}

func (d *decoder) branch(r *record) {
	b := &r.branch
	r.id, b.id = d.int64(), d.int64()
	b.resource, b.lockKey = d.long(), d.lockKey()
	b.client, b.application = d.short(), d.long()
	r.xid = d.long()
	if b.kind = protocol.BranchType(d.byte()); b.kind < 0 || b.kind > protocol.TypeSagaAnnotation {
		d.fail(fmt.Sprintf("branch type %d is none of Seata's", b.kind))
	}
	b.status = protocol.BranchStatus(d.byte())
	if b.status < 0 || b.status > protocol.BranchPhaseOneRDONLY {
		d.fail(fmt.Sprintf("status %d of a branch is none of Seata's", b.status))
	}
	if len(d.data) > 0 {
		d.byte() // whether its locks are of a rollback, from 1.6 on
	}
}

// maxLockKey caps a lock key that was compressed: some millions of rows.
const maxLockKey = 64 << 20

// lockKey reads a lock key, which Java compresses when the record gets too long.
func (d *decoder) lockKey() string {
	text := d.long()
	if len(text) < 3 || text[0] != 0x1f || text[1] != 0x8b {
		return text
	}
	zip, err := gzip.NewReader(bytes.NewReader([]byte(text)))
	if err != nil {
		d.fail("the lock key: " + err.Error())
		return ""
	}
	plain, err := io.ReadAll(io.LimitReader(zip, int64(d.lockKeyCap)+1))
	switch {
	case err != nil:
		d.fail("the lock key: " + err.Error())
	case len(plain) > d.lockKeyCap:
		d.fail(fmt.Sprintf("the lock key has more than %d bytes", d.lockKeyCap))
	}
	return string(plain)
}
