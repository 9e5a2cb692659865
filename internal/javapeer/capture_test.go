//go:build linux

package javapeer

import (
	"encoding/json"
	"flag"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/datasource/image"
	"github.com/qiao-tx/qiao/datasource/undo"
	"github.com/qiao-tx/qiao/rm"
)

var capture = flag.Bool("capture", false, "write what Java writes into datasource/undo/testdata")

// capturedFile holds a record of Java's for each type of column.
const capturedFile = "../../datasource/undo/testdata/undo-columns.jsonl"

// captured is a line of it.
type captured struct {
	Column   string   `json:"column"`
	Declared string   `json:"declared"`
	Values   []string `json:"values"`
	Zone     string   `json:"zone"`
	Context  string   `json:"context"`
	Record   string   `json:"rollback_info"`
}

// captures compares the records that Java writes with those that were captured
// from it, so that what is tested without Java is what Java writes.
type captures struct {
	known map[string]captured
	lines []string
}

// newCaptures returns nil for other servers than the one of the file.
func newCaptures(t *testing.T, server string) *captures {
	if server != "MySQL" {
		return nil
	}
	c := &captures{known: map[string]captured{}}
	if *capture {
		return c
	}
	data, err := os.ReadFile(capturedFile)
	require.NoError(t, err)
	for line := range strings.Lines(string(data)) {
		var known captured
		require.NoError(t, json.Unmarshal([]byte(line), &known))
		c.known[known.Column] = known
	}
	return c
}

func (c *captures) add(t *testing.T, m *mixed, col column, b rm.Branch) {
	if c == nil {
		return
	}
	now := captured{Column: col.name, Declared: col.declared, Values: col.values, Zone: javaZone}
	require.NoError(t, m.plain.QueryRow("SELECT context, rollback_info FROM undo_log WHERE xid = ? AND branch_id = ?", b.XID, b.ID).Scan(&now.Context, &now.Record))
	if !*capture {
		require.Equal(t, entries(t, c.known[col.name].Record), entries(t, now.Record), "Java writes another record; capture it with -capture")
		return
	}
	line, err := json.Marshal(now)
	require.NoError(t, err)
	c.lines = append(c.lines, string(line)+"\n")
}

// entries is what a record changed; Java's order of columns varies.
func entries(t *testing.T, record string) []undo.Entry {
	t.Helper()
	zone, err := time.LoadLocation(javaZone)
	require.NoError(t, err)
	r, err := undo.Codec{Zone: zone}.Decode([]byte(record))
	require.NoError(t, err)
	for _, e := range r.Entries {
		for _, row := range append(slices.Clone(e.Before.Rows), e.After.Rows...) {
			slices.SortFunc(row, func(a, b image.Field) int { return strings.Compare(a.Name, b.Name) })
		}
	}
	return r.Entries
}

func (c *captures) close(t *testing.T) {
	if c != nil && *capture {
		require.NoError(t, os.WriteFile(capturedFile, []byte(strings.Join(c.lines, "")), 0o644))
	}
}
