package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/internal/starter"
)

func newService(args ...string) (string, error) {
	root := newRootCommand()
	var out bytes.Buffer
	root.SetOut(&out)
	root.SetErr(&bytes.Buffer{})
	root.SetArgs(append([]string{"new", "service"}, args...))
	err := root.Execute()
	return out.String(), err
}

// source is the root of this tree, from here.
const source = "../.."

// whatGoesWrong is a test in a starter's package: what cannot be opened or served
// is an error of the starter's own, and no panic.
const whatGoesWrong = `package main

import (
	"net"
	"strings"
	"testing"

	"github.com/qiao-tx/qiao/client"
	"github.com/qiao-tx/qiao/server/servertest"
)

func TestWhatGoesWrong(t *testing.T) {
	cfg := Config{Name: "one", Coordinator: servertest.Start(t), DB: t.TempDir() + "/one.db"}
	c, err := client.Open(t.Context(), client.Config{Addresses: []string{cfg.Coordinator}, ApplicationID: cfg.Name})
	if err != nil {
		t.Fatal(err)
	}
	s := &Service{client: c}
	if err := c.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s.accounts, err = openAccounts(t.Context(), c.RM(), cfg); err == nil {
		t.Error("opened without a coordinator")
	}
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	if _, err := startServer(taken.Addr().String(), &Service{}); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("serve: %v", err)
	}
}
`

// Every starter compiles, has nothing that go vet finds, and its own test runs a
// transaction that commits and others that roll back.
func TestEveryStarterWorks(t *testing.T) {
	for _, rpc := range starter.RPCs() {
		for _, mode := range starter.Modes() {
			t.Run(rpc+" "+mode, func(t *testing.T) {
				dir := filepath.Join(t.TempDir(), "order")
				out, err := newService("order", "--rpc", rpc, "--mode", mode, "--dir", dir, "--replace", source, "--json")
				require.NoError(t, err)
				var answer struct {
					Dir, RPC, Mode string
					Files          []string
					Tidy           bool
				}
				require.NoError(t, json.Unmarshal([]byte(out), &answer))
				assert.Equal(t, []any{dir, rpc, mode, true}, []any{answer.Dir, answer.RPC, answer.Mode, answer.Tidy})
				assert.Contains(t, answer.Files, "service_test.go")
				require.NoError(t, os.WriteFile(filepath.Join(dir, "wrong_test.go"), []byte(whatGoesWrong), 0o600))
				// No flag that would have Go compile the dependencies anew.
				cmd := exec.CommandContext(t.Context(), "go", "test", "-vet=all", "-ldflags=-s -w", "-v", "./...")
				cmd.Dir = dir
				text, err := cmd.CombinedOutput()
				require.NoError(t, err, "%s", text)
				assert.Contains(t, string(text), "--- PASS: TestTransfer/not_enough_here")
			})
		}
	}
}

func TestNewServiceTellsWhatIsNext(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "order")
	out, err := newService("order", "--dir", dir, "--replace", source, "--no-tidy")
	require.NoError(t, err)
	assert.Equal(t, "order is ready. Next:\n  cd "+dir+"\n  go mod tidy\n  go test ./...\nIts README.md says what to change.\n", out)
}

func TestNewServiceQuotesTheDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "it's mine")
	out, err := newService("order", "--dir", dir, "--replace", source, "--no-tidy")
	require.NoError(t, err)
	assert.Contains(t, out, "\n  cd '"+filepath.Dir(dir)+"/it'\\''s mine'\n")
}

// The files stay when Go refuses the module, and Go's reason is told.
func TestNewServiceTellsWhyGoRefuses(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "order")
	_, err := newService("order", "--module", "con", "--dir", dir, "--replace", source)
	require.ErrorContains(t, err, "put right what is said below, and run it again\ngo: malformed module path \"con\"")
	assert.FileExists(t, filepath.Join(dir, "go.mod"))
}

func TestNewServiceRefusesWhatItCannotUse(t *testing.T) {
	full := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(full, "main.go"), nil, 0o600))
	for _, c := range []struct {
		args  []string
		usage bool
		says  string
	}{
		{nil, true, "wants one NAME, got 0"},
		{[]string{"a", "b"}, true, "wants one NAME, got 2"},
		{[]string{"order"}, true, "no released version"}, // a test's build is none
		{[]string{"order", "--replace", "/nowhere"}, true, "there is no source of Qiao"},
		{[]string{"Order", "--replace", source}, true, `invalid name "Order"`},
		{[]string{"order", "--rpc", "soap", "--replace", source}, true, `invalid rpc "soap": want one of`},
		{[]string{"order", "--mode", "2pc", "--replace", source}, true, `invalid mode "2pc": want one of`},
		{[]string{"order", "--dir", full, "--replace", source}, false, "is there already and not empty"},
	} {
		_, err := newService(c.args...)
		require.ErrorContains(t, err, c.says)
		assert.Equal(t, c.usage, errors.As(err, new(usageError)), "%v", c.args)
	}
	assert.Equal(t, exitUsage, run([]string{"new", "servce"}))
}

func TestWhichVersionsAModuleCanRequire(t *testing.T) {
	for version, want := range map[string]bool{
		"v0.1.0": true, "v1.2.3-rc.1": true, "(devel)": false, "unknown": false, "v0.1.0+dirty": false,
		"v0.0.0-20260101000000-abcdefabcdef": false,
	} {
		var f newServiceFlags
		err := f.chooseVersion(version)
		assert.Equal(t, want, err == nil, version)
		if want {
			assert.Equal(t, version, f.options.Version)
		}
	}
}
