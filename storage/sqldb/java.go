package sqldb

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/qiao-tx/qiao/protocol"
)

// Java coordinators divide the work that is due by rows of distributed_lock: who
// has put its address and an end into the row of a kind of work does all of that
// kind, about once a second, and then frees the row. This program takes those rows
// while a Java coordinator is there.
//
// It knows that from the rows themselves. What it leaves in a free one is a mark of
// its own; anything else there is Java's. The mark tells since when, so that all
// nodes of this program know what one of them found.

// work is a kind of work, by its key in distributed_lock
// (org.apache.seata.common.Constants).
type work string

const (
	timeOuts    work = "TxTimeoutCheck"
	committing  work = "RetryCommitting"
	rollingBack work = "RetryRollbacking"
	committed   work = "AsyncCommitting"
)

var works = []work{timeOuts, committing, rollingBack, committed}

const (
	// markPrefix begins what a free row holds: when Java was last seen follows, in
	// seconds since 1970. holdPrefix begins what a taken one holds: the worker id.
	markPrefix, holdPrefix = "qiao@", "qiao-"
	// javaMemory is how long after its last trace a Java coordinator counts as there.
	javaMemory = 15 * time.Second
	// holdTime is how long a row is taken for, as Java's
	// (server.distributedLockExpireTime).
	holdTime = 10 * time.Second
	// A row is given back when it was not used for idleTime, and at the latest after
	// longest; then Java has it for restTime if it wants.
	idleTime = 3 * time.Second
	longest  = 8 * time.Second
	restTime = 2500 * time.Millisecond
	// How often to look for what other programs left: beside a Java coordinator; for
	// some minutes after its end, or after the start; otherwise.
	straysOften  = 500 * time.Millisecond
	straysNow    = 5 * time.Second
	straysSeldom = time.Minute
	straysAfter  = 3 * time.Minute
)

// java is what a node knows of Java coordinators on its tables.
type java struct {
	n *node

	mu sync.Mutex
	// seen is when there was a trace of one, by this process's clock; stamp is the
	// same by the database's, in seconds since 1970.
	seen  time.Time
	stamp int64
	taken map[work]*takenWork
	rests map[work]time.Time // until
	// strays is when strays were last looked for.
	started, strays time.Time
	// told are branches of nobody that the log has told of.
	told map[int64]struct{}
}

type takenWork struct{ since, until, used time.Time }

func newJava(n *node) *java {
	return &java{n: n, started: time.Now(), taken: make(map[work]*takenWork), rests: make(map[work]time.Time), told: make(map[int64]struct{})}
}

// reported tells whether to tell of the branch: once.
func (j *java) reported(branch int64) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	if _, told := j.told[branch]; told || len(j.told) == maxReaped {
		return false
	}
	j.told[branch] = struct{}{}
	return true
}

// present tells whether there is a Java coordinator on the tables.
func (j *java) present() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return time.Since(j.seen) < javaMemory
}

// timeForStrays tells whether what other programs left should be looked for now.
func (j *java) timeForStrays(java bool) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	wait := straysSeldom
	switch {
	case java:
		wait = straysOften
	case time.Since(j.started) < straysAfter || time.Since(j.seen) < straysAfter:
		wait = straysNow
	}
	if time.Since(j.strays) < wait {
		return false
	}
	j.strays = time.Now()
	return true
}

// workOf are the kinds of work that a transaction with the status is.
func workOf(s protocol.GlobalStatus) []work {
	switch {
	case s == protocol.StatusBegin:
		return []work{timeOuts, rollingBack} // its rollback follows at once
	case s == protocol.StatusAsyncCommitting:
		return []work{committed}
	case commits(s):
		return []work{committing}
	default:
		return []work{rollingBack}
	}
}

// mayDo takes the work of the transactions, and returns those whose work it got.
func (j *java) mayDo(ctx context.Context, due []dueOne) ([]dueOne, error) {
	got := make(map[work]bool)
	var mine []dueOne
	for _, d := range due {
		all := true
		for _, w := range workOf(d.status) {
			may, asked := got[w]
			if !asked {
				var err error
				if may, err = j.use(ctx, w); err != nil {
					return nil, err
				}
				got[w] = may
			}
			all = all && may
		}
		if all {
			mine = append(mine, d)
		}
	}
	return mine, nil
}

// use tells whether this node may do the work now, and takes it if need be.
func (j *java) use(ctx context.Context, w work) (bool, error) {
	now := time.Now()
	j.mu.Lock()
	t := j.taken[w]
	resting := now.Before(j.rests[w])
	if t != nil && now.Add(holdTime/2).Before(t.until) {
		t.used = now
		j.mu.Unlock()
		return true, nil
	}
	j.mu.Unlock()
	if resting {
		return false, nil
	}
	return j.take(ctx, w)
}

// take takes a kind of work, or keeps it for longer. Nodes of this program have it
// together, as each does its own share.
func (j *java) take(ctx context.Context, w work) (bool, error) {
	d, asked := j.n.s.dialect, time.Now()
	st := d.statement("UPDATE distributed_lock SET lock_value=").param(j.holds())
	st.add(", expire=" + d.clock + "+").param(holdTime.Milliseconds()).add(" WHERE lock_key=").param(string(w))
	st.add(" AND (expire<" + d.clock + " OR lock_value LIKE '" + holdPrefix + "%')")
	taken, err := j.n.s.exec(ctx, st)
	if err != nil {
		return false, fmt.Errorf("take %s in distributed_lock: %w", w, err)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	switch t := j.taken[w]; {
	case taken == 0:
		delete(j.taken, w)
	case t == nil:
		j.taken[w] = &takenWork{since: asked, until: asked.Add(holdTime), used: asked}
	default:
		t.until, t.used = asked.Add(holdTime), asked
	}
	return taken > 0, nil
}

func (j *java) holds() string { return holdPrefix + strconv.Itoa(j.n.workerID()) }

// look finds traces of Java coordinators, and leaves marks where there are none.
// After the first look it may not know; then the next one tells.
func (j *java) look(ctx context.Context, first bool) (unsure bool, err error) {
	d := j.n.s.dialect
	type found struct {
		value   string
		expires int64
	}
	rows, clock := make(map[work]found), int64(0)
	st := in(d.statement("SELECT lock_key, lock_value, COALESCE(expire,0), "+d.clock+" FROM distributed_lock WHERE lock_key IN "), works)
	err = query(ctx, j.n.s.db, st, func(r *sql.Rows) error {
		var key string
		var f found
		err := r.Scan(&key, &f.value, &f.expires, &clock)
		rows[work(strings.TrimSpace(key))] = f
		return err
	})
	if err != nil {
		return false, fmt.Errorf("look for Java coordinators in distributed_lock: %w", err)
	}
	for _, w := range works {
		f, there := rows[w]
		value := strings.TrimSpace(f.value)
		switch mark, marked := strings.CutPrefix(value, markPrefix); {
		case !there:
			err = j.firstMark(ctx, w)
		case marked:
			stamp, _ := strconv.ParseInt(mark, 10, 64) // 0 if it is none
			j.saw(stamp, clock)
		case strings.HasPrefix(value, holdPrefix):
			if f.expires < clock {
				err = j.mark(ctx, w, f.value, f.expires)
			}
		case value == "" && first:
			unsure = true // the row may be as Seata's script made it
			err = j.mark(ctx, w, f.value, f.expires)
		default:
			j.saw(clock/1000, clock)
			if f.expires < clock {
				err = j.mark(ctx, w, f.value, f.expires)
			}
		}
		if err != nil {
			return unsure, fmt.Errorf("mark %s in distributed_lock: %w", w, err)
		}
	}
	return unsure, nil
}

// saw notes a trace from a moment of the database's clock, now in milliseconds.
func (j *java) saw(stamp, clock int64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if stamp > j.stamp {
		j.stamp = stamp
		j.seen = time.Now().Add(-time.Duration(max(0, clock-stamp*1000)) * time.Millisecond)
	}
}

func (j *java) marking() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return markPrefix + strconv.FormatInt(j.stamp, 10)
}

func (j *java) firstMark(ctx context.Context, w work) error {
	st := j.n.s.dialect.statement("INSERT INTO distributed_lock (lock_key,lock_value,expire) VALUES ")
	_, err := j.n.s.exec(ctx, st.tuple(string(w), j.marking(), 0))
	if err != nil && j.n.s.dialect.failure(err) == raced {
		return nil // another node was faster
	}
	return err
}

// mark leaves a mark in a free row that is still as it was found.
func (j *java) mark(ctx context.Context, w work, value string, expires int64) error {
	st := j.n.s.dialect.statement("UPDATE distributed_lock SET lock_value=").param(j.marking()).add(", expire=0 WHERE lock_key=").param(string(w))
	st.add(" AND lock_value=").param(value).add(" AND COALESCE(expire,0)=").param(expires)
	_, err := j.n.s.exec(ctx, st)
	return err
}

// keep keeps time-outs while a Java coordinator is there: it would time out a
// transaction that this program is committing. It gives back other work that is not
// used, or that Java has to have a turn at: it may reach clients that this node
// does not.
func (j *java) keep(ctx context.Context) error {
	present, now := j.present(), time.Now()
	if present {
		if _, err := j.take(ctx, timeOuts); err != nil {
			return err
		}
	}
	var back []work
	j.mu.Lock()
	for w, t := range j.taken {
		if present && w == timeOuts || now.Sub(t.used) < idleTime && now.Sub(t.since) < longest {
			continue
		}
		back = append(back, w)
		j.rests[w] = now.Add(restTime)
	}
	j.mu.Unlock()
	return j.give(ctx, back)
}

// give gives work back.
func (j *java) give(ctx context.Context, back []work) error {
	for _, w := range back {
		j.mu.Lock()
		delete(j.taken, w)
		j.mu.Unlock()
		st := j.n.s.dialect.statement("UPDATE distributed_lock SET lock_value=").param(j.marking())
		st.add(", expire=0 WHERE lock_key=").param(string(w)).add(" AND lock_value=").param(j.holds())
		if _, err := j.n.s.exec(ctx, st); err != nil {
			return fmt.Errorf("give %s back in distributed_lock: %w", w, err)
		}
	}
	return nil
}

// giveAll gives all work back.
func (j *java) giveAll(ctx context.Context) error {
	var back []work
	j.mu.Lock()
	for w := range j.taken {
		back = append(back, w)
	}
	j.mu.Unlock()
	return j.give(ctx, back)
}
