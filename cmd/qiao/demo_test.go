package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/internal/testenv"
)

// The whole product once: coordinator, SDK, four services and their databases,
// with every process killed on the way.
func TestDemoEndsConsistent(t *testing.T) {
	for _, test := range []struct {
		name string
		args func(*testing.T) []string
	}{
		{"SQLite", func(*testing.T) []string { return nil }},
		{"MariaDB", func(t *testing.T) []string { return []string{"--mysql", testenv.MariaDB(t)} }},
	} {
		t.Run(test.name, func(t *testing.T) {
			root := newRootCommand()
			var out bytes.Buffer
			root.SetOut(&out)
			root.SetArgs(append([]string{"demo", "--orders", "600"}, test.args(t)...))
			require.NoError(t, root.ExecuteContext(t.Context()), "%s", &out)
			require.True(t, strings.HasSuffix(out.String(), "\nconsistent: yes\n"), "%s", &out)
			for _, name := range []string{"coordinator", "order", "stock", "account", "points"} {
				require.Contains(t, out.String(), "kill -9 "+name)
				require.Contains(t, out.String(), name+" runs again")
			}
		})
	}
}

func TestDemoNamesWhatIsWrong(t *testing.T) {
	for args, want := range map[string]string{
		"demo --orders -1":                           "want positive numbers",
		"demo --mysql nonsense":                      "want user:password@tcp(host:port)/",
		"demo --mysql nobody@tcp(127.0.0.1:1)/":      "create database",
		"shop --service bakery --dsn file:x":         "no service",
		"child shop --service order --coordinator x": "coordinator",
	} {
		t.Run(args, func(t *testing.T) {
			root := newRootCommand()
			root.SetOut(new(bytes.Buffer))
			root.SetIn(new(neverEnding))
			root.SetArgs(strings.Fields(args))
			require.ErrorContains(t, root.ExecuteContext(t.Context()), want)
		})
	}
}

// neverEnding is a standard input that a parent holds open.
type neverEnding struct{}

func (*neverEnding) Read([]byte) (int, error) { select {} }
