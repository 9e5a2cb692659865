package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// errUnknown: the commit was sent and not answered, and the database could not be
// asked since.
var errUnknown = errors.New("the outcome of the batch is unknown")

// prepareMark writes the row of qiao_ids by which this node recognises its latest
// SQL transaction, so that it can be locked. Ids of workers are 0 and more. The
// writer does so again when the node has another worker id.
func (s *Store) prepareMark(ctx context.Context) error {
	mark := -1 - int64(s.node.workerID())
	if mark == s.mark {
		return nil
	}
	commits := time.Now().UnixMicro()
	st := s.dialect.statement("INSERT INTO qiao_ids (worker,last_id) VALUES (").params(mark, commits)
	if _, err := st.add(")"+s.dialect.upsert("worker", []string{"last_id"})).exec(ctx, s.db); err != nil {
		return fmt.Errorf("mark what this node writes: %w", err)
	}
	s.mark, s.commits = mark, commits
	return nil
}

// markCommit has tx carry a number of its own. The writer alone calls it.
func (s *Store) markCommit(w *changeWriter) {
	s.commits++
	w.begin("UPDATE qiao_ids SET last_id=").number(s.commits).add(" WHERE worker=").number(s.mark)
}

// settle finds out whether the SQL transaction with the latest mark was committed,
// after its commit was not answered. The row of the mark is locked until the
// database has finished that SQL transaction, so what is read does not change.
func (s *Store) settle() (committed bool, err error) {
	deadline := time.Now().Add(s.timeout)
	for wait := time.Millisecond; ; wait = min(2*wait, 200*time.Millisecond) {
		if committed, err = s.lookForMark(); err == nil || time.Now().After(deadline) {
			return committed, err
		}
		select {
		case <-time.After(wait):
		case <-s.ending:
			return false, err
		}
	}
}

func (s *Store) lookForMark() (found bool, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), s.timeout)
	defer cancel()
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return false, err
	}
	defer func() { _ = tx.Rollback() }() // it only reads
	rows := 0
	st := s.dialect.statement("SELECT last_id FROM qiao_ids WHERE worker=").number(s.mark).add(" FOR UPDATE")
	err = query(ctx, tx, st, func(r *sql.Rows) error {
		var last int64
		err := r.Scan(&last)
		found = last == s.commits
		rows++
		return err
	})
	if err == nil && rows != 1 {
		err = fmt.Errorf("the row of worker %d in qiao_ids is gone", s.mark)
	}
	return found, err
}
