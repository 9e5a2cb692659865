package redis

import (
	"context"
	"fmt"
	"strconv"

	goredis "github.com/redis/go-redis/v9"

	"github.com/qiao-tx/qiao/protocol/xid"
	"github.com/qiao-tx/qiao/storage"
)

// Load implements storage.Store.
func (s *Store) Load(ctx context.Context, x string) (storage.State, error) {
	if err := s.open(ctx); err != nil {
		return storage.State{}, err
	}
	r, grave, err := s.load(ctx, x)
	switch {
	case err != nil:
		return storage.State{}, err
	case r != nil:
		return r.State, nil
	case grave != 0:
		return storage.State{XID: x, Outcome: graveOutcome(grave)}, nil
	}
	return storage.State{}, nil
}

// maxTakeOver bounds how often another program may be faster.
const maxTakeOver = 20

// load reads a transaction and remembers it. What another program has made of it
// becomes a revision of its own first, so that what was decided before is refused.
func (s *Store) load(ctx context.Context, x string) (r *record, grave int64, err error) {
	_, id, err := xid.Parse(x)
	if err != nil {
		return nil, 0, nil // no transaction has such an XID
	}
	for range maxTakeOver {
		reply, err := s.server.eval(ctx, loadScript, s.keys.global(id), s.keys.prefix, s.keys.tombstones(), strconv.FormatInt(id, 10))
		if err != nil {
			return nil, 0, s.failedRead("read transaction "+x, err)
		}
		r, grave, err := decodeLoad(s.keys, reply)
		if err != nil {
			return nil, 0, s.failedRead("read transaction "+x, err)
		}
		if r == nil || r.XID != x {
			s.cache.drop(x)
			return nil, grave, nil
		}
		if !r.foreign() {
			s.cache.put(r)
			return r, 0, nil
		}
		if err := s.adopt(ctx, r); err != nil {
			return nil, 0, s.failedRead("take over transaction "+x, err)
		}
	}
	return nil, 0, fmt.Errorf("take over transaction %s: %w: another program changes it all the time", x, storage.ErrUnavailable)
}

// adopt makes what another program left a transaction of ours. It may be that one was
// faster.
func (s *Store) adopt(ctx context.Context, r *record) error {
	p := s.planner.adopt(r, s.batchToken())
	reply, err := s.server.eval(ctx, decideScript, p.key, string(p.words.packed()))
	if err == nil && reply == int64(answerFenced) {
		err = s.fenced()
	}
	return err
}

// recount counts branches and locks again: a node that crashed took what it had counted
// last with it, and another program counts nothing.
func (s *Store) recount(ctx context.Context) error {
	branches, locks := 0, 0
	err := s.scan(ctx, 0, func(r *record) bool {
		branches += len(r.Branches)
		locks += len(r.held)
		return true
	})
	if err != nil {
		return err
	}
	if err := s.server.client.Load().Set(ctx, s.keys.counts(), int64(branches)<<32+int64(locks), 0).Err(); err != nil {
		return fmt.Errorf("count branches and locks: %w", err)
	}
	return nil
}

// CheckLocks implements storage.Store.
func (s *Store) CheckLocks(ctx context.Context, x string, rows []storage.RowKey) error {
	if err := s.open(ctx); err != nil {
		return err
	}
	for len(rows) > 0 {
		part := rows[:min(len(rows), maxWords)]
		rows = rows[len(part):]
		args := []string{s.keys.globals(), x}
		for _, row := range part {
			args = append(args, s.keys.row(row))
		}
		reply, err := s.server.eval(ctx, checkScript, s.keys.live(), args...)
		if err != nil {
			return s.failedRead("check the row locks", err)
		}
		if list, ok := reply.([]any); ok && len(list) == 0 {
			continue
		}
		held, err := lockHeld(reply, part)
		if err != nil {
			return s.failedRead("check the row locks", err)
		}
		return held
	}
	return nil
}

// Due implements storage.Store. With several nodes on Redis each lists its share.
func (s *Store) Due(ctx context.Context, now int64, limit int) ([]string, error) {
	if err := s.open(ctx); err != nil || limit <= 0 {
		return nil, err
	}
	var due []string
	for offset := 0; len(due) < limit; {
		page, err := s.server.client.Load().ZRangeArgs(ctx, goredis.ZRangeArgs{
			Key: s.keys.due(), ByScore: true, Start: "(0", Stop: now, Offset: int64(offset), Count: int64(limit),
		}).Result()
		if err != nil {
			return nil, s.failedRead("find what is due", err)
		}
		offset += len(page)
		mine := page[:0:0]
		for _, m := range page {
			if id, err := strconv.ParseInt(m, 10, 64); err == nil && s.node.mine(id) {
				mine = append(mine, m)
			}
		}
		xids, err := s.xids(ctx, mine)
		if err != nil {
			return nil, s.failedRead("find what is due", err)
		}
		due = append(due, xids...)
		if len(page) < limit {
			break
		}
	}
	return due[:min(len(due), limit)], nil
}

// xids reads the XIDs of live transactions. One that another program has removed is
// forgotten here too.
func (s *Store) xids(ctx context.Context, members []string) ([]string, error) {
	if len(members) == 0 {
		return nil, nil
	}
	pipe := s.server.client.Load().Pipeline()
	cmds := make([]*goredis.StringCmd, len(members))
	for i, m := range members {
		id, _ := strconv.ParseInt(m, 10, 64)
		cmds[i] = pipe.HGet(ctx, s.keys.global(id), "xid")
	}
	if _, err := pipe.Exec(ctx); err != nil && err != goredis.Nil {
		return nil, err
	}
	var xids []string
	for i, cmd := range cmds {
		switch x, err := cmd.Result(); {
		case err == nil:
			xids = append(xids, x)
		case err != goredis.Nil:
			return nil, err
		default:
			if err := s.forget(ctx, members[i]); err != nil {
				return nil, err
			}
		}
	}
	return xids, nil
}

// forget removes a transaction that is gone from our lists. Its id never comes again.
func (s *Store) forget(ctx context.Context, member string) error {
	pipe := s.server.client.Load().Pipeline()
	pipe.ZRem(ctx, s.keys.due(), member)
	pipe.ZRem(ctx, s.keys.live(), member)
	_, err := pipe.Exec(ctx)
	return err
}

// scanPage is how many transactions are read at once.
const scanPage = 200

// Scan implements storage.Store.
func (s *Store) Scan(ctx context.Context, after int64, f func(storage.State) bool) error {
	if err := s.open(ctx); err != nil {
		return err
	}
	return s.scan(ctx, after, func(r *record) bool { return f(r.State) })
}

func (s *Store) scan(ctx context.Context, after int64, f func(*record) bool) error {
	for {
		members, err := s.server.client.Load().ZRangeArgs(ctx, goredis.ZRangeArgs{
			Key: s.keys.live(), ByLex: true, Start: "(" + member(after), Stop: "+", Count: scanPage,
		}).Result()
		if err != nil {
			return s.failedRead("list the transactions", err)
		}
		if len(members) == 0 {
			return nil
		}
		records, err := s.readPage(ctx, members)
		if err != nil {
			return s.failedRead("read transactions", err)
		}
		for i, r := range records {
			if r == nil {
				if err := s.forget(ctx, members[i]); err != nil {
					return s.failedRead("read transactions", err)
				}
				continue
			}
			if r.foreign() {
				if r, _, err = s.load(ctx, r.XID); err != nil {
					return err
				}
			}
			if r != nil && !f(r) {
				return nil
			}
		}
		if after, err = strconv.ParseInt(members[len(members)-1], 10, 64); err != nil {
			return fmt.Errorf("%w: %q in %s", ErrDamaged, members[len(members)-1], s.keys.live())
		}
		if err := s.open(ctx); err != nil {
			return err
		}
	}
}

// readPage reads transactions in one pipeline; one that is gone is nil.
func (s *Store) readPage(ctx context.Context, members []string) ([]*record, error) {
	cmds := make([]*goredis.Cmd, len(members))
	for tries := 1; ; tries++ {
		client := s.server.client.Load()
		pipe := client.Pipeline()
		for i, m := range members {
			id, _ := strconv.ParseInt(m, 10, 64)
			cmds[i] = loadScript.call(ctx, s.keys.global(id), []string{s.keys.prefix, s.keys.tombstones(), ""})
			_ = pipe.Process(ctx, cmds[i]) // only queues
		}
		_, err := pipe.Exec(ctx)
		if err == nil {
			break
		}
		if tries == maxTries || meaning(err) != forgotten {
			return nil, err
		}
		if err := loadScripts(ctx, client); err != nil {
			return nil, err
		}
	}
	records := make([]*record, len(members))
	for i, cmd := range cmds {
		var err error
		if records[i], _, err = decodeLoad(s.keys, cmd.Val()); err != nil {
			return nil, err
		}
	}
	return records, nil
}

// ScanLocks implements storage.Store.
func (s *Store) ScanLocks(ctx context.Context, f func(storage.RowKey, storage.Lock) bool) error {
	if err := s.open(ctx); err != nil {
		return err
	}
	return s.scan(ctx, 0, func(r *record) bool {
		for row, branch := range r.held {
			if !f(row, storage.Lock{XID: r.XID, BranchID: branch, Status: r.Global.Status}) {
				return false
			}
		}
		return true
	})
}

// LastID implements storage.Store. It counts the ids that another program left.
func (s *Store) LastID(ctx context.Context) (int64, error) {
	if err := s.open(ctx); err != nil {
		return 0, err
	}
	ended, err := s.server.client.Load().ZRevRangeWithScores(ctx, s.keys.ids(), 0, 0).Result()
	if err != nil {
		return 0, s.failedRead("read the latest id", err)
	}
	last := int64(0)
	if len(ended) > 0 {
		text, _ := ended[0].Member.(string)
		worker, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("%w: worker %q in %s", ErrDamaged, text, s.keys.ids())
		}
		last = worker<<storage.SequenceBits | int64(ended[0].Score)
	}
	err = s.scan(ctx, 0, func(r *record) bool {
		last = storage.LaterID(last, r.Global.ID)
		for i := range r.Branches {
			last = storage.LaterID(last, r.Branches[i].ID)
		}
		return true
	})
	return last, err
}

// Stats implements storage.Store. What Redis does not tell counts as none.
func (s *Store) Stats() storage.Stats {
	stats := storage.Stats{Batches: s.batches.Load(), Entries: s.entries.Load()}
	ctx, cancel := context.WithTimeout(context.Background(), s.cfg.Timeout)
	defer cancel()
	pipe := s.server.client.Load().Pipeline()
	globals, tombstones := pipe.ZCard(ctx, s.keys.live()), pipe.ZCard(ctx, s.keys.tombstones())
	counted := s.counts(ctx, pipe)
	counts := pipe.Get(ctx, s.keys.counts())
	_, _ = pipe.Exec(ctx) // what is not told is 0
	counted()
	stats.Globals, stats.Tombstones = globals.Val(), tombstones.Val()
	n, _ := counts.Int64()
	stats.Branches, stats.Locks = n>>32, n&(1<<32-1)
	return stats
}
