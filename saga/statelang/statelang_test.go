package statelang_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/saga/statelang"
)

// TestTranscripts parses each machine of testdata and shows what comes of it: the
// problems, or the states as they were understood.
func TestTranscripts(t *testing.T) {
	datadriven.Walk(t, "testdata/parse", func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			m, err := statelang.Parse([]byte(d.Input))
			var out strings.Builder
			var mistakes *statelang.Error
			if errors.As(err, &mistakes) {
				for _, p := range mistakes.Problems {
					fmt.Fprintln(&out, p)
				}
				return out.String()
			}
			require.NoError(t, err)
			for _, w := range m.Warnings {
				fmt.Fprintf(&out, "warning: %s\n", w)
			}
			m.Content, m.Warnings = "", nil
			if d.HasArg("full") {
				text, err := json.Marshal(m)
				require.NoError(t, err)
				var fields any
				require.NoError(t, json.Unmarshal(text, &fields))
				text, err = json.MarshalIndent(withoutZero(fields), "", " ")
				require.NoError(t, err)
				fmt.Fprintf(&out, "%s\n", text)
				return out.String()
			}
			fmt.Fprintf(&out, "%s: %d states\n", m.Name, len(m.States))
			return out.String()
		})
	})
}

// withoutZero drops what says nothing.
func withoutZero(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for key, item := range v {
			if v[key] = withoutZero(item); v[key] == nil {
				delete(v, key)
			}
		}
	case []any:
		for i := range v {
			v[i] = withoutZero(v[i])
		}
	case string:
		if v == "" {
			return nil
		}
	case float64:
		if v == 0 {
			return nil
		}
	}
	return v
}

// FuzzParse: no text crashes the parser, and what it accepts it accepts again.
func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/parse/*")
	require.NoError(f, err)
	for _, name := range files {
		text, err := os.ReadFile(name)
		require.NoError(f, err)
		for _, part := range strings.Split(string(text), "\nparse\n") {
			body, _, _ := strings.Cut(part, "\n----")
			f.Add([]byte(body))
		}
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := statelang.Parse(text)
		if err != nil {
			return
		}
		assert.NotEmpty(t, m.Name)
		assert.NotNil(t, m.States[m.StartState])
		for _, s := range m.States {
			for _, r := range s.Successors() {
				assert.NotNil(t, m.States[r.State], r.Path)
			}
		}
	})
}

// TestLimits: what is too big or too deep is refused before it costs much.
func TestLimits(t *testing.T) {
	_, err := statelang.Parse([]byte(strings.Repeat(" ", 1<<20+1)))
	assert.ErrorContains(t, err, "at most")
	_, err = statelang.Parse([]byte(strings.Repeat("[", 1000)))
	assert.ErrorContains(t, err, "deep")
}
