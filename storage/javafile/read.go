package javafile

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/qiao-tx/qiao/storage"
	"github.com/qiao-tx/qiao/storage/memory"
)

// The files of a store: what is current, and what was before it was last cut.
const (
	currentName = "root.data"
	historyName = "root.data.1"
)

// Options say how to read.
type Options struct {
	// Now is the time in milliseconds since 1970, from when decided transactions are
	// due.
	Now int64
	// SkipDamaged goes on after a damaged record whose end is known. What it said is
	// lost.
	SkipDamaged bool
	// ParkDoubtful parks the transactions that Report.Doubtful counts, with their row
	// locks, for an operator. Otherwise they are open.
	ParkDoubtful bool
}

// Report says what was found besides what is live.
type Report struct {
	Files []File `json:"files"`
	// Ended counts transactions that had ended by the last record.
	Ended int64 `json:"ended"`
	// Ignored counts records of branches that nobody began or that were gone.
	Ignored int64 `json:"ignored"`
	// PassedLocks counts branches whose rows another transaction had been given.
	PassedLocks int64 `json:"passedLocks"`
	// InferredCommits counts transactions whose commit was decided, as other records
	// show, without a record of that; Parked those of which the records show that they
	// were decided, and not how: they wait for an operator.
	InferredCommits int64 `json:"inferredCommits"`
	Parked          int64 `json:"parked"`
	// Doubtful counts open transactions with AT branches in a store of Seata before
	// 2.0, or of one that cannot be told from that: that an AT transaction was committed
	// stands there only when it is done.
	Doubtful int64 `json:"doubtful"`
	// Growing: the files changed while they were read.
	Growing bool `json:"growing"`
}

// ErrNoStore reports a directory without the files of a store.
var ErrNoStore = errors.New("no file store of a Java coordinator")

// Read reads the store in dir, or in dir's only folder that has one, as it is at
// this moment, and returns what is live. It changes nothing. The error wraps
// ErrNoStore or ErrDamaged, or is the system's.
func Read(ctx context.Context, dir string, o Options) (*memory.Store, Report, error) {
	var report Report
	dir, err := find(dir)
	if err != nil {
		return nil, report, err
	}
	before, err := stamps(dir)
	if err != nil {
		return nil, report, err
	}
	p := newReplay()
	for _, name := range []string{historyName, currentName} {
		f, err := readFile(filepath.Join(dir, name), o.SkipDamaged, p.record)
		if errors.Is(err, fs.ErrNotExist) && name == historyName {
			continue
		}
		report.Files = append(report.Files, f)
		if err != nil {
			return nil, report, err
		}
	}
	p.finish()
	if report.PassedLocks, err = p.lock(); err != nil {
		return nil, report, err
	}
	lastWrite := before[len(before)-1].modified
	p.settle(lastWrite.UnixMilli(), o.ParkDoubtful, &report)
	report.Ended, report.Ignored = int64(len(p.ended)), p.ignored
	after, err := stamps(dir)
	if err != nil {
		return nil, report, err
	}
	report.Growing = !slices.Equal(before, after)
	store, err := p.store(ctx, o.Now)
	return store, report, err
}

// find is dir, or the folder in it that has the files: Java makes one for its port.
func find(dir string) (string, error) {
	if _, err := os.Stat(filepath.Join(dir, currentName)); err == nil {
		return dir, nil
	}
	found, err := filepath.Glob(filepath.Join(dir, "*", currentName))
	switch {
	case err != nil:
		return "", err
	case len(found) == 0:
		return "", fmt.Errorf("%w in %s: it has no %s; name the directory of store.file.dir", ErrNoStore, dir, currentName)
	case len(found) > 1:
		return "", fmt.Errorf("%w in %s alone: there are several, such as %s; name one", ErrNoStore, dir, filepath.Dir(found[0]))
	}
	return filepath.Dir(found[0]), nil
}

// stamp is by what a file that changes is known.
type stamp struct {
	bytes    int64
	modified time.Time
}

func stamps(dir string) ([]stamp, error) {
	var all []stamp
	for _, name := range []string{historyName, currentName} {
		info, err := os.Stat(filepath.Join(dir, name))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			all = append(all, stamp{})
		case err != nil:
			return nil, err
		default:
			all = append(all, stamp{info.Size(), info.ModTime()})
		}
	}
	return all, nil
}

func readFile(path string, skipDamaged bool, each func(*record)) (File, error) {
	f := File{Name: path}
	in, err := os.Open(path)
	if err != nil {
		return f, err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return f, err
	}
	return f, f.frames(in, info.Size(), skipDamaged, each)
}

// store holds what is live.
func (p *replay) store(ctx context.Context, now int64) (*memory.Store, error) {
	store := memory.New()
	for _, s := range p.live {
		state, err := s.state(now)
		if err != nil {
			return nil, err
		}
		if err := store.Apply(ctx, storage.Whole(state)); err != nil {
			return nil, fmt.Errorf("transaction %s: %w", s.xid, err)
		}
	}
	last, err := store.LastID(ctx)
	if err != nil || p.lastID == 0 || storage.LaterID(last, p.lastID) == last {
		return store, err
	}
	return store, store.Apply(ctx, storage.Used(p.lastID))
}
