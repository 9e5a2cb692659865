package starter

import (
	"go/format"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func valid(dir string) Options {
	return Options{Name: "order-service", RPC: "grpc", Mode: "at", Dir: dir, Version: "v1.2.3"}
}

// Every combination, as it is written; cmd/qiao's test compiles and runs them.
func TestWhatIsWritten(t *testing.T) {
	for _, rpc := range RPCs() {
		for _, mode := range Modes() {
			o := valid(filepath.Join(t.TempDir(), "deep", "down"))
			o.RPC, o.Mode = rpc, mode
			dir, files, err := Write(o)
			require.NoError(t, err)
			require.Equal(t, o.Dir, dir)
			require.True(t, slices.IsSorted(files))
			require.Contains(t, files, "service_test.go")
			for _, name := range files {
				text, err := os.ReadFile(filepath.Join(dir, name))
				require.NoError(t, err)
				assert.NotContains(t, string(text), "<no value>", name)
				if filepath.Ext(name) == ".go" {
					formatted, err := format.Source(text)
					require.NoError(t, err, name)
					assert.Equal(t, string(formatted), string(text), "%s/%s: %s is not gofmt's", rpc, mode, name)
				}
			}
			mod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
			require.NoError(t, err)
			assert.True(t, strings.HasPrefix(string(mod), "module example.com/order-service\n"))
			assert.Contains(t, string(mod), "github.com/qiao-tx/qiao v1.2.3\n")
			assert.NotContains(t, string(mod), "replace")
			assert.Equal(t, rpc == "dubbo" || rpc == "triple", strings.Contains(string(mod), "client/dubbo v1.2.3\n"))
			readme, err := os.ReadFile(filepath.Join(dir, "README.md"))
			require.NoError(t, err)
			assert.Equal(t, rpc == "grpc", strings.Contains(string(readme), "bankpb"))
			info, err := os.Stat(dir)
			require.NoError(t, err)
			assert.Equal(t, os.FileMode(0o755), info.Mode().Perm())
			left, err := os.ReadDir(filepath.Dir(dir))
			require.NoError(t, err)
			assert.Len(t, left, 1, "no draft is left")
		}
	}
}

func TestWhatIsRefused(t *testing.T) {
	for _, c := range []struct {
		says   string
		change func(*Options)
	}{
		{`name ""`, func(o *Options) { o.Name = "" }},
		{`name "Order"`, func(o *Options) { o.Name = "Order" }},
		{`name "../order"`, func(o *Options) { o.Name = "../order" }},
		{`name "order-"`, func(o *Options) { o.Name = "order-" }},
		{`name "order--x"`, func(o *Options) { o.Name = "order--x" }},
		{`name "or der"`, func(o *Options) { o.Name = "or der" }},
		{`name "7up"`, func(o *Options) { o.Name = "7up" }},
		{"at most 40", func(o *Options) { o.Name = strings.Repeat("x", 41) }},
		{`rpc "thrift": want one of dubbo, triple, grpc, http`, func(o *Options) { o.RPC = "thrift" }},
		{`mode "xa": want one of at, tcc`, func(o *Options) { o.Mode = "xa" }},
		{`module "/x"`, func(o *Options) { o.Module = "/x" }},
		{`module "a//b"`, func(o *Options) { o.Module = "a//b" }},
		{`module "a/../b"`, func(o *Options) { o.Module = "a/../b" }},
		{`module "a b"`, func(o *Options) { o.Module = "a b" }},
		{"Qiao's own", func(o *Options) { o.Module = "github.com/qiao-tx/qiao" }},
		{"Qiao's own", func(o *Options) { o.Module = "github.com/qiao-tx/qiao/client" }},
		{"version", func(o *Options) { o.Version = "" }},
		{"replace", func(o *Options) { o.Replace = "/a dir" }},
	} {
		o := valid(filepath.Join(t.TempDir(), "x"))
		c.change(&o)
		_, _, err := Write(o)
		require.ErrorIs(t, err, ErrInvalid, c.says)
		assert.ErrorContains(t, err, c.says)
		assert.NoDirExists(t, o.Dir)
	}
}

func TestWhatIsThereStays(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "precious")
	require.NoError(t, os.WriteFile(file, []byte("work"), 0o600))
	_, _, err := Write(valid(dir))
	require.ErrorIs(t, err, ErrNotEmpty)
	assert.ErrorContains(t, err, "precious")
	_, _, err = Write(valid(file))
	require.Error(t, err, "a file is no directory")
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.Equal(t, "work", string(text))

	empty := t.TempDir()
	_, _, err = Write(valid(empty))
	require.NoError(t, err)
	assert.FileExists(t, filepath.Join(empty, "go.mod"))
}

// Somebody who stands in the new directory writes there, and keeps it as it is.
func TestADirectoryThatIsThereIsFilled(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "mine")
	require.NoError(t, os.Mkdir(dir, 0o700))
	link := filepath.Join(filepath.Dir(dir), "link")
	require.NoError(t, os.Symlink(dir, link))
	t.Chdir(dir)
	_, files, err := Write(valid("."))
	require.NoError(t, err)
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Len(t, entries, len(files)-2, "three of the files are in bankpb, and no draft is left")
	info, err := os.Stat(dir)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o700), info.Mode().Perm())

	for _, entry := range entries {
		require.NoError(t, os.RemoveAll(entry.Name()))
	}
	_, _, err = Write(valid(link))
	require.NoError(t, err)
	assert.FileExists(t, filepath.Join(dir, "bankpb", "bank.proto"))
	target, err := os.Readlink(link)
	require.NoError(t, err)
	assert.Equal(t, dir, target)
}

func TestTheProgramIsIgnoredByGit(t *testing.T) {
	for module, want := range map[string]string{
		"": "/order-service\n", "github.com/acme/shop": "/shop\n", "github.com/acme/shop/v2": "/shop\n", "shop": "/shop\n",
		"github.com/acme/shop/v1x": "/v1x\n",
	} {
		o := valid(filepath.Join(t.TempDir(), "x"))
		o.Module = module
		_, _, err := Write(o)
		require.NoError(t, err)
		text, err := os.ReadFile(filepath.Join(o.Dir, ".gitignore"))
		require.NoError(t, err)
		assert.True(t, strings.HasPrefix(string(text), want), "%s: %s", module, text)
	}
}
