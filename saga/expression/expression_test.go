package expression_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/saga/expression"
)

// TestTranscripts runs testdata: "vars" sets #root, "eval" and "script" run one
// text a line, or one in all.
func TestTranscripts(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		var root any
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "vars":
				decoder := json.NewDecoder(strings.NewReader(d.Input))
				decoder.UseNumber()
				require.NoError(t, decoder.Decode(&root))
				return ""
			case "eval":
				var out strings.Builder
				for _, line := range strings.Split(d.Input, "\n") {
					e, err := expression.Parse(line)
					var v any
					if err == nil && e.Kind == expression.Evaluated {
						v, err = e.Eval(root)
					} else if err == nil {
						v = fmt.Sprintf("kind %d of %s", e.Kind, e.Argument)
					}
					show(&out, v, err)
				}
				return out.String()
			case "script":
				s, err := expression.ParseScript(d.Input)
				var v any
				if err == nil {
					variables, _ := root.(map[string]any)
					v, err = s.Run(variables)
				}
				var out strings.Builder
				show(&out, v, err)
				return out.String()
			}
			t.Fatalf("unknown command %s", d.Cmd)
			return ""
		})
	})
}

func show(out *strings.Builder, v any, err error) {
	if err != nil {
		fmt.Fprintf(out, "error: %v\n", err)
		return
	}
	text, err := json.Marshal(v)
	if err != nil {
		text = []byte(err.Error())
	}
	fmt.Fprintf(out, "%s\n", text)
}

// FuzzParse: no text may crash the translator or the evaluation.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{"$.[a]", "[a] == 1 || [b].size() > 2", "#root?.x ?: {1,'b'}", "[l].?[#this[x] == null].size()",
		"$Exception{java.lang.Throwable}", "if (a) { throw new X('m') } else { 'h' + b }", "T(java.lang.Math).max(1,2)", "def x = [a:1]\nx.a"} {
		f.Add(seed)
	}
	root := map[string]any{"a": int64(1), "b": "x", "l": []any{map[string]any{"x": nil}}}
	f.Fuzz(func(t *testing.T, text string) {
		if e, err := expression.Parse(text); err == nil && e.Kind == expression.Evaluated {
			_, _ = e.Eval(root)
		}
		if s, err := expression.ParseScript(text); err == nil {
			_, _ = s.Run(root)
		}
	})
}
