package redis

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/storage"
)

// record is a transaction as Redis has it.
type record struct {
	storage.State
	// mark is what this program left in the field qiao_mark: the revision, a token of
	// the Batch, the status and the number of branches. It is another one after every
	// Batch, and so stands for the whole state. Empty: no mark.
	mark string
	// created is the highest gmtCreate of a branch: Java orders them by it.
	created int64
	// held maps the rows that the transaction holds to the first of its branches that
	// names each. It is never changed.
	held map[storage.RowKey]int64
	// ghosts are keys in the list of branches that have no hash: Java deletes the two
	// one after the other.
	ghosts []string
}

// newMark is the mark after a Batch.
func newMark(s *storage.State, token string) string {
	return strconv.FormatUint(s.Revision, 10) + " " + token + " " +
		strconv.Itoa(int(s.Global.Status)) + " " + strconv.Itoa(len(s.Branches))
}

// foreign tells whether another program has changed the transaction since this one
// left it.
func (r *record) foreign() bool {
	_, rest, _ := strings.Cut(r.mark, " ")
	_, left, _ := strings.Cut(rest, " ")
	return left != strconv.Itoa(int(r.Global.Status))+" "+strconv.Itoa(len(r.Branches)) || len(r.ghosts) > 0
}

// heldRows computes held.
func heldRows(s *storage.State) map[storage.RowKey]int64 {
	var held map[storage.RowKey]int64
	for i := range s.Branches {
		b := &s.Branches[i]
		if !b.Locked || b.LockKey == "" {
			continue
		}
		if held == nil {
			held = make(map[storage.RowKey]int64)
		}
		rows, _ := storage.RowKeys(b.ResourceID, b.LockKey) // was checked when the branch was added
		for _, row := range rows {
			if _, first := held[row]; !first {
				held[row] = b.ID
			}
		}
	}
	return held
}

// fields reads the fields of a hash; the first mistake stays.
type fields struct {
	key    string
	values map[string]string
	err    error
}

func (f *fields) text(name string) string { return f.values[name] }

// number is 0 where there is none: Java leaves out what it has not.
func (f *fields) number(name string, bits int) int64 {
	text := f.values[name]
	if text == "" {
		return 0
	}
	n, err := strconv.ParseInt(text, 10, bits)
	if err != nil && f.err == nil {
		f.err = fmt.Errorf("%w: field %s of %s is %.40q, which is no number", ErrDamaged, name, f.key, text)
	}
	return n
}

// decodeRecord reads a transaction from its hashes.
func decodeRecord(k keys, global map[string]string, branches []map[string]string, locks map[string]string) (*record, error) {
	f := &fields{key: "the transaction " + global["xid"], values: global}
	r := &record{mark: f.text("qiao_mark")}
	r.XID = f.text("xid")
	r.Global = storage.Global{
		ID: f.number("transactionId", 64), Status: protocol.GlobalStatus(f.number("status", 8)),
		ApplicationID: f.text("applicationId"), Group: f.text("transactionServiceGroup"), Name: f.text("transactionName"),
		BeganAt: f.number("beginTime", 64), TimeoutMillis: int32(f.number("timeout", 32)),
		DueAt: f.number("qiao_due", 64), Attempts: int32(f.number("qiao_attempts", 32)), Evidence: f.text("qiao_evidence"),
	}
	if revision, _, some := strings.Cut(r.mark, " "); some {
		var err error
		if r.Revision, err = strconv.ParseUint(revision, 10, 64); err != nil {
			return nil, fmt.Errorf("%w: qiao_mark of %s is %.40q", ErrDamaged, r.XID, r.mark)
		}
	}
	for _, values := range branches {
		if ghost := values["qiao_ghost"]; ghost != "" {
			r.ghosts = append(r.ghosts, ghost)
			continue
		}
		b, created, err := decodeBranch(k, values, locks)
		if err != nil {
			return nil, err
		}
		r.Branches = append(r.Branches, b)
		r.created = max(r.created, created)
	}
	r.held = heldRows(&r.State)
	return r, f.err
}

func decodeBranch(k keys, values, locks map[string]string) (b storage.Branch, created int64, err error) {
	f := &fields{key: "branch " + values["branchId"], values: values}
	created = f.number("gmtCreate", 64)
	b = storage.Branch{
		ID: f.number("branchId", 64), Status: protocol.BranchStatus(f.number("status", 8)),
		ResourceID: f.text("resourceId"), ClientID: f.text("clientId"), ApplicationData: f.text("applicationData"),
		LockKey: f.text("qiao_lock_key"), RequestKey: f.text("qiao_request_key"), RegisteredAt: created,
	}
	if f.text("qiao_registered") != "" {
		b.RegisteredAt = f.number("qiao_registered", 64)
	}
	if b.Type, err = branchType(f.text("branchType")); err != nil {
		return b, 0, fmt.Errorf("%s: %w", f.key, err)
	}
	rows, locked := locks[values["branchId"]]
	if b.LockKey == "" && rows != "" { // Java keeps the rows there only
		b.LockKey = lockKeyOf(k, b.ResourceID, rows)
	}
	b.Locked = locked || b.LockKey == "" && f.text("qiao_locked") != ""
	return b, created, f.err
}

func branchType(name string) (protocol.BranchType, error) {
	for t := protocol.TypeAT; t <= protocol.TypeSagaAnnotation; t++ {
		if t.String() == name {
			return t, nil
		}
	}
	return 0, fmt.Errorf("%w: branchType %.40q is none of Seata's", ErrDamaged, name)
}

// lockKeyOf makes a lock key of the keys of rows, which Java joins with semicolons.
func lockKeyOf(k keys, resource, rows string) string {
	var key strings.Builder
	last := ""
	for row := range strings.SplitSeq(strings.TrimPrefix(rows, k.rows()), ";"+k.rows()) {
		table, pk, _ := strings.Cut(strings.TrimPrefix(row, resource+"^^^"), "^^^")
		switch {
		case last == "":
			key.WriteString(table + ":" + pk)
		case last == table:
			key.WriteString("," + pk)
		default:
			key.WriteString(";" + table + ":" + pk)
		}
		last = table
	}
	return key.String()
}

// pairs makes a map of an array of names and values.
func pairs(reply any) (map[string]string, error) {
	list, ok := reply.([]any)
	if !ok || len(list)%2 != 0 {
		return nil, fmt.Errorf("%w: %T in place of a hash", ErrDamaged, reply)
	}
	values := make(map[string]string, len(list)/2)
	for i := 0; i < len(list); i += 2 {
		name, ok1 := list[i].(string)
		value, ok2 := list[i+1].(string)
		if !ok1 || !ok2 {
			return nil, fmt.Errorf("%w: a hash with a %T", ErrDamaged, list[i+1])
		}
		values[name] = value
	}
	return values, nil
}

// decodeLoad reads the answer of load.lua: a transaction, or the tombstone's score if
// there is one, or neither.
func decodeLoad(k keys, reply any) (r *record, grave int64, err error) {
	list, ok := reply.([]any)
	switch {
	case !ok:
		return nil, 0, fmt.Errorf("%w: load.lua answered with %T", ErrDamaged, reply)
	case len(list) == 0 || len(list) == 1 && list[0] == nil:
		return nil, 0, nil
	case len(list) == 1:
		text, _ := list[0].(string)
		if grave, err = strconv.ParseInt(text, 10, 64); err != nil {
			return nil, 0, fmt.Errorf("%w: a tombstone's score is %q", ErrDamaged, text)
		}
		return nil, grave, nil
	case len(list) != 3:
		return nil, 0, fmt.Errorf("%w: load.lua answered with %d parts", ErrDamaged, len(list))
	}
	global, err1 := pairs(list[0])
	locks, err2 := pairs(list[2])
	hashes, ok := list[1].([]any)
	if err1 != nil || err2 != nil || !ok {
		return nil, 0, fmt.Errorf("%w: load.lua answered with %T, %T and %T", ErrDamaged, list[0], list[1], list[2])
	}
	branches := make([]map[string]string, len(hashes))
	for i, hash := range hashes {
		if branches[i], err = pairs(hash); err != nil {
			return nil, 0, err
		}
	}
	r, err = decodeRecord(k, global, branches, locks)
	return r, 0, err
}

// sameHeld tells whether a Batch leaves the held rows as they are.
func sameHeld(b *storage.Batch) bool {
	return len(b.Add)+len(b.Unlock)+len(b.Remove) == 0 && !b.UnlockAll && b.Finish == nil
}

// then is the record after a Batch that leads to next.
func (r *record) then(b *storage.Batch, next *storage.State, token string) *record {
	n := &record{State: *next, created: r.created, held: r.held}
	n.mark = newMark(next, token)
	for i := range b.Add {
		n.created = max(n.created, b.Add[i].RegisteredAt)
	}
	switch {
	case next.Finished():
		n.held = nil
	case !sameHeld(b):
		n.held = heldRows(next)
	}
	return n
}
