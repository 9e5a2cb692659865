package raft

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"
)

const (
	// removeStep is how much of a file is given back at once. A file system may
	// keep everyone's sync waiting until the space that it frees is discarded:
	// 64 MiB took ext4 with that option 60 to 100 ms, and 1 MiB about one.
	removeStep = 1 << 20
	// removePause leaves the disk to the log between two steps.
	removePause = 5 * time.Millisecond
)

// remover removes files and directories that nothing refers to any more, in a
// goroutine of its own and piece by piece. What a crash leaves of them the next
// start removes.
type remover struct {
	latch   *latch
	mu      sync.Mutex
	waiting []string
	wake    chan struct{} // of capacity 1
	closing chan struct{}
	running sync.WaitGroup
	sync    func(*os.File) error
}

func newRemover(l *latch) *remover {
	return &remover{latch: l, wake: make(chan struct{}, 1), closing: make(chan struct{}), sync: (*os.File).Sync}
}

// start starts the goroutine that close ends.
func (r *remover) start() {
	r.running.Go(func() {
		for {
			r.removeAll()
			select {
			case <-r.wake:
			case <-r.closing:
				r.removeAll()
				return
			}
		}
	})
}

// add takes a path to be removed, and returns at once.
func (r *remover) add(path string) {
	r.mu.Lock()
	r.waiting = append(r.waiting, path)
	r.mu.Unlock()
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// close removes what is left without pausing, and ends.
func (r *remover) close() {
	close(r.closing)
	r.running.Wait()
}

func (r *remover) next() (path string, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.waiting) == 0 {
		return "", false
	}
	path = r.waiting[0]
	r.waiting = r.waiting[1:]
	return path, true
}

func (r *remover) removeAll() {
	for path, ok := r.next(); ok; path, ok = r.next() {
		// The latch keeps the error, and after one nothing is touched.
		_ = r.latch.write(func() error { return wrap("remove "+path, r.remove(path)) })
	}
}

// remove removes a file, or a directory of files. One that is gone is no error.
func (r *remover) remove(path string) error {
	files := []string{path}
	info, err := os.Stat(path)
	if err == nil && info.IsDir() {
		files, err = filepath.Glob(filepath.Join(path, "*"))
	}
	for _, file := range files {
		err = errors.Join(err, r.shrink(file))
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, os.RemoveAll(path), syncDir(filepath.Dir(path)))
}

// shrink gives back all of a file but its first step.
func (r *remover) shrink(path string) (err error) {
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	for size := info.Size() - removeStep; size > 0 && r.pause(); size -= removeStep {
		if err := file.Truncate(size); err != nil {
			return err
		}
		if err := r.sync(file); err != nil {
			return err
		}
	}
	return nil
}

// pause pauses, and tells whether the store goes on.
func (r *remover) pause() bool {
	select {
	case <-r.closing:
		return false
	case <-time.After(removePause):
		return true
	}
}
