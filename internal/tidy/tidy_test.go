package tidy

import (
	"flag"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/cockroachdb/datadriven"
	"github.com/stretchr/testify/require"
)

const (
	module = "github.com/qiao-tx/qiao"
	root   = "../.."
)

// -rewrite is datadriven's flag too; make docs sets it.
func rewriting() bool {
	f := flag.Lookup("rewrite")
	return f != nil && f.Value.String() == "true"
}

func TestTheTreeIsTidy(t *testing.T) {
	findings, err := Check(os.DirFS(root), module, Rooms())
	require.NoError(t, err)
	for _, f := range findings {
		t.Error(f)
	}
}

func TestDocumentShowsTheTableOfRooms(t *testing.T) {
	const path = root + "/ARCHITECTURE.md"
	have, err := os.ReadFile(path)
	require.NoError(t, err)
	want, err := withTable(string(have), Table(Rooms()))
	require.NoError(t, err)
	if rewriting() {
		require.NoError(t, os.WriteFile(path, []byte(want), 0o644))
		return
	}
	require.Equal(t, want, string(have), "the table of rooms is stale: run make docs")
}

// Each rule turns red on a tree that breaks it, and stays silent on one that
// does not.
func TestRules(t *testing.T) {
	datadriven.Walk(t, "testdata/rules", func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			var rooms []Room
			for _, arg := range d.CmdArgs {
				room := Room{Path: arg.Key, Above: arg.Vals}
				room.Path, room.Pure = strings.CutSuffix(arg.Key, "!")
				rooms = append(rooms, room)
			}
			findings, err := Check(files(d.Input), "example.org/m", rooms)
			require.NoError(t, err)
			var b strings.Builder
			for _, f := range findings {
				fmt.Fprintln(&b, f)
			}
			if b.Len() == 0 {
				return "tidy\n"
			}
			return b.String()
		})
	})
}

// files makes a tree of "-- name --" sections. "@80" on a line of its own
// stands for 80 empty lines.
func files(input string) fs.FS {
	tree := fstest.MapFS{}
	var name string
	for line := range strings.Lines(input) {
		switch {
		case strings.HasPrefix(line, "-- "):
			name = strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(line), "-- "), " --")
			tree[name] = &fstest.MapFile{}
		case strings.HasPrefix(line, "@"):
			var n int
			fmt.Sscanf(line, "@%d", &n)
			tree[name].Data = append(tree[name].Data, strings.Repeat("\n", n)...)
		default:
			tree[name].Data = append(tree[name].Data, line...)
		}
	}
	return tree
}
