package raft

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// Errors of Open about the directory.
var (
	// ErrInUse: another process has the directory open. Stop it, or choose
	// another directory.
	ErrInUse = errors.New("the data directory is in use")
	// ErrForeign: the directory is not empty, and no data directory of ours.
	ErrForeign = errors.New("not a data directory")
)

const (
	formatFile = "format"
	formatText = "qiao data directory 1\n"
	lockFile   = "lock"
	logDir     = "log"
)

// directory is the data directory, locked for this process:
//
//	format          says whose directory this is, and of which form
//	identity.json   node id, worker id, epoch; in a cluster its name and the node's
//	lock            held by the process that has it open, which writes its pid
//	log/            raft-wal: segments and their metadata
//	snapshots/      the newest two
type directory struct {
	path     string
	lock     *os.File
	identity Identity
}

// Exists tells whether dir is the data directory of a store.
func Exists(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, formatFile))
	return err == nil
}

func openDirectory(path string, cluster *Cluster) (*directory, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("make the data directory: %w; choose another, or give this user the right to make it", err)
	}
	if err := checkPermissions(path); err != nil {
		return nil, err
	}
	lock, err := lockDirectory(path)
	if err != nil {
		return nil, err
	}
	d := &directory{path: path, lock: lock}
	if err := d.prepare(cluster); err != nil {
		return nil, errors.Join(err, d.close())
	}
	return d, nil
}

func (d *directory) logPath() string { return filepath.Join(d.path, logDir) }

// close releases the lock.
// close gives the lock back by itself, before the file: a child that another
// goroutine is just starting has a copy of the file until it runs its program.
func (d *directory) close() error {
	unlock := syscall.Flock(int(d.lock.Fd()), syscall.LOCK_UN)
	return wrap("release the data directory", errors.Join(unlock, d.lock.Close()))
}

func checkPermissions(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return wrap("look at the data directory", err)
	}
	if mode := info.Mode().Perm(); mode&0o002 != 0 {
		return fmt.Errorf("the data directory %s is writable by everyone (mode %04o); run chmod o-w on it", path, mode)
	}
	return nil
}

// lockDirectory takes the lock file, which the kernel releases when the process
// ends in whatever way. A directory of somebody else gets no lock file.
func lockDirectory(path string) (*os.File, error) {
	if err := checkForeign(path); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(filepath.Join(path, lockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the data directory: %w; give this user the right to read and write it, or choose another", err)
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		defer file.Close()
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock the data directory %s: %w; its file system must support flock", path, err)
		}
		owner, _ := io.ReadAll(io.LimitReader(file, 20))
		return nil, fmt.Errorf("%w: %s is open in process %s; stop that one, or choose another directory", ErrInUse, path, strings.TrimSpace(string(owner)))
	}
	err = file.Truncate(0)
	if err == nil {
		_, err = fmt.Fprintln(file, os.Getpid())
	}
	if err != nil {
		return nil, errors.Join(wrap("write the pid into the lock file", err), file.Close())
	}
	return file, nil
}

// checkForeign refuses a directory that has something in it but not our format.
func checkForeign(path string) error {
	entries, err := os.ReadDir(path)
	if err != nil {
		return fmt.Errorf("read the data directory: %w; give this user the right to read and write it, or choose another", err)
	}
	var other string
	for _, entry := range entries {
		switch entry.Name() {
		case formatFile:
			return nil
		case lockFile, formatFile + ".new", "lost+found":
		default:
			other = entry.Name()
		}
	}
	if other != "" {
		return fmt.Errorf("%w: %s has %q in it but no file %q; choose an empty directory or one made by qiao", ErrForeign, path, other, formatFile)
	}
	return nil
}

// prepare makes a new directory ready, or checks the form of an old one, and
// starts the next epoch. A crash on the way leaves what prepare can go on from.
func (d *directory) prepare(cluster *Cluster) error {
	path := filepath.Join(d.path, formatFile)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		text, err = []byte(formatText), writeDurably(path, []byte(formatText))
	}
	if err != nil {
		return wrap("read the form of the data directory", err)
	}
	if string(text) != formatText {
		return fmt.Errorf("%w: the file %q of %s says %.40q, this program knows %q; use the version of the program that wrote it", ErrForeign, formatFile, d.path, text, formatText)
	}
	_, err = os.Stat(d.logPath())
	isNew := errors.Is(err, fs.ErrNotExist)
	if err != nil && !isNew {
		return wrap("look at the log", err)
	}
	if d.identity, err = nextIdentity(d.path, isNew, cluster); err != nil {
		return err
	}
	if !isNew {
		return nil
	}
	if err := os.Mkdir(d.logPath(), 0o700); err != nil {
		return wrap("make the log's directory", err)
	}
	return wrap("make the log's directory durable", syncDir(d.path))
}
