package redis

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/xid"
	"github.com/qiao-tx/qiao/storage"
)

const (
	// maxRows bounds the rows of one Batch: Redis does nothing else while it runs a
	// script, and takes about a million words in one command.
	maxRows = 50_000
	// maxWords bounds one command of a script: Lua's stack is small.
	maxWords = 1000
)

// ErrTooManyRows reports a Batch that would keep Redis from everything else for too
// long. Nothing was written, and to try again does not help: change fewer rows in one
// transaction.
var ErrTooManyRows = fmt.Errorf("more than %d row locks in one step", maxRows)

// plan is what apply.lua gets for one Batch. It is computed without I/O.
type plan struct {
	keys
	key   string // the transaction's hash
	words words
	// wanted are the rows that must be free, in the order of the words.
	wanted []storage.RowKey
	// next is what the transaction is when the Batch has been applied.
	next *record
	// adds: the Batch begins a transaction or adds branches, which a store that is
	// nearly full refuses.
	adds bool
	// count is what the Batch adds to the number in keys.counts.
	count int64
	// grave is the score of the tombstone that it leaves, or empty.
	grave string
}

// planner is what all plans of a node have in common.
type planner struct {
	keys
	lease, token string // this node's
}

// plan computes how b is applied to a transaction that is as before says. batch is a
// text that no other Batch has.
func (n planner) plan(before *record, b *storage.Batch, batch string) (*plan, error) {
	if err := checkBegin(b); err != nil {
		return nil, err
	}
	wanted, err := wantedRows(b)
	if err != nil {
		return nil, err
	}
	next, err := before.After(b)
	if err != nil {
		return nil, err
	}
	after := before.then(b, next, batch)
	if len(wanted) > maxRows || len(before.held) > maxRows {
		return nil, fmt.Errorf("%s: %w", b.XID, ErrTooManyRows)
	}
	grave := ""
	if b.Finish != nil {
		grave = strconv.FormatInt(graveScore(b.Finish), 10)
	}
	p := n.start(before, after, b.XID, expected{before.mark, len(before.Branches), grave})
	p.wanted = wanted
	p.adds = b.Revision == 0 || len(b.Add) > 0
	p.words.add(strconv.Itoa(len(wanted)))
	for _, row := range wanted {
		p.words.add(p.rows(), string(row))
	}
	if after.Finished() {
		p.finish(before, after, b)
	} else {
		p.change(before, after, b)
	}
	p.count = int64(len(after.Branches)-len(before.Branches))<<32 + int64(len(after.held)-len(before.held))
	return p, nil
}

// expected is what apply.lua compares besides the status.
type expected struct {
	mark     string
	branches int
	grave    string
}

// start is the head of a plan's words.
func (n planner) start(before, after *record, x string, e expected) *plan {
	p := &plan{keys: n.keys, key: n.global(after.Global.ID), next: after, words: newWords(), grave: e.grave}
	for _, word := range []string{
		n.lease, n.token, e.mark, after.mark, strconv.Itoa(int(before.Global.Status)), strconv.Itoa(e.branches),
		n.branches(x), n.tombstones(), x, e.grave, n.globals(),
	} {
		p.words.add(word)
	}
	return p
}

// checkBegin refuses a Batch that begins no transaction although it should.
func checkBegin(b *storage.Batch) error {
	if b.Revision != 0 || b.Global == nil {
		return nil
	}
	if _, id, err := xid.Parse(b.XID); err != nil || id != b.Global.ID {
		return fmt.Errorf("%w: %q does not begin a transaction: want a global record with the id that ends the XID", storage.ErrInvalidBatch, b.XID)
	}
	return nil
}

// wantedRows lists the rows that the Batch's new branches lock.
func wantedRows(b *storage.Batch) ([]storage.RowKey, error) {
	var wanted []storage.RowKey
	for i := range b.Add {
		branch := &b.Add[i]
		if !branch.Locked {
			continue
		}
		rows, err := storage.RowKeys(branch.ResourceID, branch.LockKey)
		if err != nil {
			return nil, fmt.Errorf("branch %d of %s: %w", branch.ID, b.XID, err)
		}
		if wanted == nil {
			wanted = rows
		} else {
			wanted = append(wanted, rows...)
		}
	}
	return wanted, nil
}

// do adds a command.
func (p *plan) do(words ...string) {
	p.words.number(len(words))
	for _, w := range words {
		p.words.add(w)
	}
}

// doEach adds a command for many words, or several of them.
func (p *plan) doEach(command, key string, words []string) {
	for part := range slices.Chunk(words, maxWords) {
		if key == "" {
			p.words.number(1 + len(part))
			p.words.add(command)
		} else {
			p.words.number(2 + len(part))
			p.words.add(command)
			p.words.add(key)
		}
		for _, w := range part {
			p.words.add(w)
		}
	}
}

// doSet adds an HSET of what pairs holds, if that is anything.
func (p *plan) doSet(key string, pairs []string) {
	if len(pairs) == 0 {
		return
	}
	p.words.number(2 + len(pairs))
	p.words.add("HSET")
	p.words.add(key)
	for _, w := range pairs {
		p.words.add(w)
	}
}

// change adds the commands of a transaction that goes on.
func (p *plan) change(before, after *record, b *storage.Batch) {
	now := strconv.FormatInt(b.At, 10)
	p.changeBranches(before, after, b, now)
	p.changeLocks(before, after, b)
	fields := globalChanges(&before.Global, &after.Global, before.Exists())
	if !before.Exists() {
		fields = append(fields, "xid", after.XID, "gmtCreate", now)
	}
	if len(fields) > 0 {
		fields = append(fields, "gmtModified", now)
	}
	p.doSet(p.key, append(fields, "qiao_mark", after.mark))
	if !before.Exists() {
		p.do("ZADD", p.live(), "0", member(after.Global.ID))
	}
	if before.Global.DueAt != after.Global.DueAt {
		p.setDue(after)
	}
}

func (p *plan) setDue(after *record) {
	if after.Global.DueAt == 0 {
		p.do("ZREM", p.due(), member(after.Global.ID))
		return
	}
	p.do("ZADD", p.due(), strconv.FormatInt(after.Global.DueAt, 10), member(after.Global.ID))
}

// globalChanges lists the fields of a transaction's hash that differ. Java wants each
// of its own to be there.
func globalChanges(was, is *storage.Global, existed bool) []string {
	fields := make([]string, 0, 32)
	text := func(name, old, new string) {
		if old != new || !existed {
			fields = append(fields, name, new)
		}
	}
	number := func(name string, old, new int64) {
		if old != new || !existed {
			fields = append(fields, name, strconv.FormatInt(new, 10))
		}
	}
	number("transactionId", was.ID, is.ID)
	number("status", int64(was.Status), int64(is.Status))
	text("applicationId", was.ApplicationID, is.ApplicationID)
	text("transactionServiceGroup", was.Group, is.Group)
	text("transactionName", was.Name, is.Name)
	number("timeout", int64(was.TimeoutMillis), int64(is.TimeoutMillis))
	number("beginTime", was.BeganAt, is.BeganAt)
	if !existed {
		fields = append(fields, "applicationData", "")
	}
	existed = true // ours are there only when they say something
	number("qiao_due", was.DueAt, is.DueAt)
	number("qiao_attempts", int64(was.Attempts), int64(is.Attempts))
	text("qiao_evidence", was.Evidence, is.Evidence)
	return fields
}

// changeBranches adds the commands for branches that are new, different or gone.
func (p *plan) changeBranches(before, after *record, b *storage.Batch, now string) {
	created := before.created
	for i := range b.Add {
		created = max(created, b.Add[i].RegisteredAt)
		if is := after.Branch(b.Add[i].ID); is != nil {
			p.doSet(p.branch(is.ID), newBranch(after, is, created, now))
			p.do("RPUSH", p.branches(after.XID), p.branch(is.ID))
		} else {
			p.leave(b.Add[i].ID)
		}
	}
	for i := range b.Change {
		p.changeBranch(before, after, b.Change[i].ID, now)
	}
	if b.UnlockAll || len(b.Unlock) > 0 {
		for i := range before.Branches {
			if was := &before.Branches[i]; was.Locked && was.LockKey == "" {
				p.changeBranch(before, after, was.ID, now)
			}
		}
	}
	for _, id := range b.Remove {
		if before.Branch(id) != nil {
			p.do("LREM", p.branches(after.XID), "0", p.branch(id))
			p.do("DEL", p.branch(id))
			p.leave(id)
		}
	}
}

func (p *plan) changeBranch(before, after *record, id int64, now string) {
	was, is := before.Branch(id), after.Branch(id)
	if was != nil && is != nil {
		p.doSet(p.branch(id), branchChanges(was, is, now))
	}
}

func branchChanges(was, is *storage.Branch, now string) []string {
	var fields []string
	if was.Status != is.Status {
		fields = append(fields, "status", strconv.Itoa(int(is.Status)))
	}
	if was.ApplicationData != is.ApplicationData {
		fields = append(fields, "applicationData", is.ApplicationData)
	}
	if was.Locked != is.Locked && is.LockKey == "" {
		fields = append(fields, "qiao_locked", lockedField(is))
	}
	if len(fields) > 0 {
		fields = append(fields, "gmtModified", now)
	}
	return fields
}

// lockedField is for a branch that locks without rows.
func lockedField(b *storage.Branch) string {
	if b.Locked {
		return "1"
	}
	return ""
}

func newBranch(after *record, b *storage.Branch, created int64, now string) []string {
	fields := []string{
		"xid", after.XID, "transactionId", strconv.FormatInt(after.Global.ID, 10), "branchId", strconv.FormatInt(b.ID, 10),
		"resourceGroupId", "", "resourceId", b.ResourceID, "branchType", b.Type.String(), "status", strconv.Itoa(int(b.Status)),
		"clientId", b.ClientID, "applicationData", b.ApplicationData,
		"gmtCreate", strconv.FormatInt(created, 10), "gmtModified", now,
	}
	if b.LockKey != "" {
		fields = append(fields, "qiao_lock_key", b.LockKey)
	} else if b.Locked {
		fields = append(fields, "qiao_locked", lockedField(b))
	}
	if b.RequestKey != "" {
		fields = append(fields, "qiao_request_key", b.RequestKey)
	}
	if b.RegisteredAt != created {
		fields = append(fields, "qiao_registered", strconv.FormatInt(b.RegisteredAt, 10))
	}
	return fields
}

// changeLocks adds the commands for rows that are taken, freed or another branch's now.
func (p *plan) changeLocks(before, after *record, b *storage.Batch) {
	rolling := rolls(after.Global.Status) && !rolls(before.Global.Status)
	if sameHeld(b) && !rolling {
		return
	}
	for row, branch := range after.held {
		was, held := before.held[row]
		switch {
		case !held:
			p.take(after, row, branch)
		case was != branch:
			p.do("HSET", p.row(row), "branchId", strconv.FormatInt(branch, 10))
		}
		if rolling && held {
			p.do("HSET", p.row(row), "status", "1")
		}
	}
	var freed []string
	for row := range before.held {
		if _, held := after.held[row]; !held {
			freed = append(freed, p.row(row))
		}
	}
	p.doEach("DEL", "", p.lists(before, after, b, freed))
}

// take adds the command that locks a row.
func (p *plan) take(after *record, row storage.RowKey, branch int64) {
	resource, table, pk := row.Split()
	fields := []string{
		"xid", after.XID, "transactionId", strconv.FormatInt(after.Global.ID, 10), "branchId", strconv.FormatInt(branch, 10),
		"rowKey", string(row), "resourceId", resource, "tableName", table, "pk", pk,
	}
	if rolls(after.Global.Status) {
		fields = append(fields, "status", "1")
	}
	p.doSet(p.row(row), fields)
}

// lists keeps the lists of rows that Java releases locks by, one for each branch. It
// returns the keys to delete, its own added.
func (p *plan) lists(before, after *record, b *storage.Batch, freed []string) []string {
	for i := range b.Add {
		if is := after.Branch(b.Add[i].ID); is != nil && listed(is) {
			p.do("HSET", p.locks(after.XID), strconv.FormatInt(is.ID, 10), p.listOf(is))
		}
	}
	var gone []string
	for i := range before.Branches {
		was := &before.Branches[i]
		if !listed(was) {
			continue
		}
		if is := after.Branch(was.ID); is == nil || !listed(is) {
			gone = append(gone, strconv.FormatInt(was.ID, 10))
		}
	}
	switch {
	case len(gone) == 0:
	case len(after.held) == 0:
		freed = append(freed, p.locks(after.XID))
	default:
		p.doEach("HDEL", p.locks(after.XID), gone)
	}
	return freed
}

// listed tells whether a branch has a list of rows.
func listed(b *storage.Branch) bool { return b.Locked && b.LockKey != "" }

// listOf joins the keys of a branch's rows.
func (p *plan) listOf(b *storage.Branch) string {
	rows, _ := storage.RowKeys(b.ResourceID, b.LockKey) // was checked when the branch was added
	if len(rows) == 1 {
		return p.row(rows[0])
	}
	list := make([]string, len(rows))
	for i, row := range rows {
		list[i] = p.row(row)
	}
	return strings.Join(list, ";")
}

// rolls tells whether Java marks the locks of a transaction with that status
// (org.apache.seata.server.session.GlobalSession.changeGlobalStatus).
func rolls(s protocol.GlobalStatus) bool {
	return s == protocol.StatusRollbacking || s == protocol.StatusTimeoutRollbacking ||
		s == protocol.StatusRollbackRetrying || s == protocol.StatusTimeoutRollbackRetrying
}

// finish adds the commands that leave nothing of a transaction but its tombstone.
func (p *plan) finish(before, after *record, b *storage.Batch) {
	x := after.XID
	if before.Exists() {
		gone := make([]string, 0, 3+len(before.Branches)+len(before.held))
		gone = append(gone, p.key)
		if len(before.Branches) > 0 {
			gone = append(gone, p.branches(x), p.locks(x))
		}
		for i := range before.Branches {
			gone = append(gone, p.branch(before.Branches[i].ID))
		}
		for row := range before.held {
			gone = append(gone, p.row(row))
		}
		p.doEach("DEL", "", gone)
		p.do("ZREM", p.live(), member(before.Global.ID))
		if before.Global.DueAt != 0 {
			p.do("ZREM", p.due(), member(before.Global.ID))
		}
	}
	p.do("ZADD", p.tombstones(), p.grave, strconv.FormatInt(after.Global.ID, 10))
	ids := []int64{after.Global.ID}
	for i := range before.Branches {
		ids = append(ids, before.Branches[i].ID)
	}
	for i := range b.Add {
		ids = append(ids, b.Add[i].ID)
	}
	p.leave(ids...)
}

// leave notes the latest id of transactions and branches that will not be there any
// more: those that are there are found as they are.
func (p *plan) leave(ids ...int64) {
	latest := make(map[int64]int64, 1) // by worker
	for _, id := range ids {
		worker := id >> storage.SequenceBits
		latest[worker] = storage.LaterID(latest[worker], id)
	}
	for _, id := range latest {
		p.usedID(id)
	}
}

func (p *plan) usedID(id int64) {
	p.do("ZADD", p.ids(), "GT", strconv.FormatInt(sequenceOf(id), 10), strconv.FormatInt(id>>storage.SequenceBits, 10))
}

// sequenceOf is the part of an id that counts up; as a score Redis compares it exactly.
func sequenceOf(id int64) int64 { return id & (1<<storage.SequenceBits - 1) }

// adopt computes how a transaction that another program has changed, or made, becomes
// one of ours at its next revision.
func (n planner) adopt(r *record, batch string) *plan {
	after := *r
	after.Revision++
	after.Global.DueAt = dueOf(&after.Global)
	after.mark = newMark(&after.State, batch)
	mark := r.mark
	if mark == "" {
		mark = "-"
	}
	p := n.start(r, &after, r.XID, expected{mark: mark, branches: len(r.Branches) + len(r.ghosts)})
	p.words.number(0)
	for _, key := range r.ghosts {
		p.do("LREM", p.branches(r.XID), "0", key)
	}
	p.doSet(p.key, append(globalChanges(&r.Global, &after.Global, true), "qiao_mark", after.mark))
	p.do("ZADD", p.live(), "0", member(r.Global.ID))
	p.setDue(&after)
	return p
}

// dueOf is when a transaction that another program left has to be looked at: at its
// time-out, at once when its phase two has begun, and never when it has ended.
func dueOf(g *storage.Global) int64 {
	switch s := g.Status; {
	case s == protocol.StatusBegin:
		return g.Deadline()
	case rolls(s), s == protocol.StatusCommitting, s == protocol.StatusCommitRetrying, s == protocol.StatusAsyncCommitting:
		return max(g.BeganAt, 1)
	}
	return 0
}
