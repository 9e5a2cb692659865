package naming

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// ErrRemembered marks addresses that are not from the registry but from the file
// of a Remembered.
var ErrRemembered = errors.New("the registry does not answer; the coordinator nodes are those it named last")

// maxRemembered caps the size of the file, in bytes.
const maxRemembered = 1 << 20

// Remembered is a Resolver that keeps the last answer of another in a file, so
// that an application can start while the registry is away.
type Remembered struct {
	resolver Resolver
	path     string

	mu   sync.Mutex
	last []string // what the file holds, as far as is known
}

// Remember returns a Resolver that asks r, and keeps what it answers in the file
// path, a name on each line. The file's directory must exist; processes of one
// application may share the file.
func Remember(r Resolver, path string) *Remembered { return &Remembered{resolver: r, path: path} }

// Resolve returns what the other Resolver answers. If that fails, it returns the
// addresses in the file with an error that wraps ErrRemembered and the reason. If
// the file cannot be written the answer comes without an error all the same: it is
// good. The next one then tries to write again.
func (m *Remembered) Resolve(ctx context.Context) ([]string, error) {
	addresses, err := m.resolver.Resolve(ctx)
	m.mu.Lock()
	defer m.mu.Unlock()
	if err == nil && len(addresses) > 0 {
		if !slices.Equal(m.last, addresses) && m.write(addresses) == nil {
			m.last = slices.Clone(addresses)
		}
		return addresses, nil
	}
	if err == nil {
		err = errors.New("the registry names none")
	}
	old, at, readErr := m.read()
	if len(old) == 0 {
		return nil, errors.Join(err, readErr)
	}
	return old, fmt.Errorf("%w (%s of %s): %w", ErrRemembered, m.path, at.Format(time.RFC3339), err)
}

// Watch watches the other Resolver, if that can be watched.
func (m *Remembered) Watch(ctx context.Context, changed func()) {
	if w, ok := m.resolver.(Watcher); ok {
		w.Watch(ctx, changed)
		return
	}
	<-ctx.Done()
}

// write replaces the file at once, so that no reader sees a part of it.
func (m *Remembered) write(addresses []string) error {
	file, err := os.CreateTemp(filepath.Dir(m.path), "."+filepath.Base(m.path)+"-")
	if err != nil {
		return err
	}
	_, err = file.WriteString(strings.Join(addresses, "\n") + "\n")
	if err = errors.Join(err, file.Close()); err == nil {
		err = os.Rename(file.Name(), m.path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(file.Name()))
	}
	return nil
}

func (m *Remembered) read() (addresses []string, at time.Time, err error) {
	info, err := os.Stat(m.path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, at, nil // nothing was ever found: the registry's error says it all
	}
	if err == nil && info.Size() > maxRemembered {
		err = fmt.Errorf("remembered coordinator nodes: %s has %d bytes; it is no list of addresses", m.path, info.Size())
	}
	if err != nil {
		return nil, at, err
	}
	text, err := os.ReadFile(m.path)
	if err != nil {
		return nil, at, fmt.Errorf("remembered coordinator nodes: %w", err)
	}
	s, err := NewStatic(strings.Fields(string(text))...)
	if err != nil {
		return nil, at, fmt.Errorf("remembered coordinator nodes: %s: %w; delete the file", m.path, err)
	}
	return s.addresses, info.ModTime(), nil
}
