package config

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the table of settings into the documentation")

// The documentation lists every setting as it is.
func TestDocumentationListsAllSettings(t *testing.T) {
	const (
		path  = "../../docs/configuration.md"
		begin = "<!-- settings: written by go test ./server/config -update -->\n"
		end   = "<!-- end of settings -->"
	)
	var table strings.Builder
	table.WriteString("| Key | Default | Meaning | Seata's name |\n|---|---|---|---|\n")
	defaults := Default()
	for _, s := range Settings(&defaults) {
		var seata []string
		for _, alias := range s.seata {
			seata = append(seata, "`"+alias.name+"`")
		}
		value := s.String()
		if value != "" {
			value = "`" + value + "`"
		}
		fmt.Fprintf(&table, "| `%s` | %s | %s | %s |\n", s.Key, value, s.Usage, strings.Join(seata, ", "))
	}
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	before, rest, ok := strings.Cut(string(b), begin)
	require.True(t, ok)
	written, after, ok := strings.Cut(rest, end)
	require.True(t, ok)
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(before+begin+table.String()+end+after), 0o644))
		return
	}
	require.Equal(t, table.String(), written, "go test ./server/config -update")
}
