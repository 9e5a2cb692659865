package naming_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/client/naming"
)

var errAway = errors.New("registry is away")

// registry is a Resolver, and a Watcher that calls changed once.
type registry struct {
	addresses []string
	err       error
}

func (r *registry) Resolve(context.Context) ([]string, error) { return r.addresses, r.err }

func (r *registry) Watch(ctx context.Context, changed func()) {
	changed()
	<-ctx.Done()
}

func TestRememberedAddressesOutliveTheProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "nodes")
	r := &registry{err: errAway}
	m := naming.Remember(r, path)
	got, err := m.Resolve(t.Context())
	assert.Empty(t, got, "nothing was ever found")
	assert.ErrorIs(t, err, errAway)
	assert.NotErrorIs(t, err, naming.ErrRemembered)

	r.addresses, r.err = []string{"tc1:8091", "[::1]:8091"}, nil
	got, err = m.Resolve(t.Context())
	require.NoError(t, err)
	assert.Equal(t, r.addresses, got)
	r.addresses = []string{"tc2:8091"}
	_, err = m.Resolve(t.Context())
	require.NoError(t, err)

	for name, broken := range map[string]*registry{"away": {err: errAway}, "empty": {}} {
		got, err = naming.Remember(broken, path).Resolve(t.Context())
		assert.Equal(t, []string{"tc2:8091"}, got, name)
		assert.ErrorIs(t, err, naming.ErrRemembered, name)
		assert.Equal(t, broken.err != nil, errors.Is(err, errAway), name)
		assert.ErrorContains(t, err, path)
	}
	left, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	assert.Len(t, left, 1, "no temporary file is left")
}

func TestARememberedFileMayBeDamaged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "nodes")
	for text, want := range map[string]string{
		"":                             "none is given",
		"tc1:8091\nnonsense\n":         "delete the file",
		strings.Repeat("a:1\n", 1<<19): "no list of addresses",
		"\x00\x01\x02":                 "delete the file",
	} {
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		got, err := naming.Remember(&registry{err: errAway}, path).Resolve(t.Context())
		assert.Empty(t, got)
		assert.ErrorIs(t, err, errAway)
		assert.ErrorContains(t, err, want)
	}
}

// A file that cannot be written costs only the memory, and is tried again.
func TestARememberedFileThatCannotBeWritten(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "later")
	m := naming.Remember(&registry{addresses: []string{"tc1:8091"}}, filepath.Join(dir, "nodes"))
	got, err := m.Resolve(t.Context())
	require.NoError(t, err)
	assert.Equal(t, []string{"tc1:8091"}, got)
	require.NoError(t, os.Mkdir(dir, 0o700))
	_, err = m.Resolve(t.Context())
	require.NoError(t, err)
	text, err := os.ReadFile(filepath.Join(dir, "nodes"))
	require.NoError(t, err)
	assert.Equal(t, "tc1:8091\n", string(text))
}

func TestARememberedWatcherIsWatched(t *testing.T) {
	for _, r := range []naming.Resolver{&registry{}, &naming.Static{}} {
		ctx, cancel := context.WithCancel(t.Context())
		done, changes := make(chan struct{}), make(chan struct{}, 1)
		go func() {
			defer close(done)
			naming.Remember(r, "").Watch(ctx, func() { changes <- struct{}{} })
		}()
		if _, ok := r.(naming.Watcher); ok {
			<-changes
		}
		cancel()
		<-done
	}
}
