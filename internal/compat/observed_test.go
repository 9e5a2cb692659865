//go:build linux

package compat

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// What every client saw is kept in one file for each version and coordinator:
// a line "# step", then what was seen in it, a line each.

func observedFile(version, kind string) string {
	return filepath.Join("testdata", "observed", version+"-"+kind+".txt")
}

func format(steps []observed) []byte {
	var b bytes.Buffer
	for _, s := range steps {
		fmt.Fprintf(&b, "# %s\n", s.step)
		for _, line := range s.lines {
			fmt.Fprintln(&b, line)
		}
	}
	return b.Bytes()
}

func readObserved(version, kind string) (steps []observed, err error) {
	text, err := os.ReadFile(observedFile(version, kind))
	if err != nil {
		return nil, fmt.Errorf("what version %s saw on %s: %w; make compat writes it", version, kind, err)
	}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(line, "\n")
		if step, ok := strings.CutPrefix(line, "# "); ok {
			steps = append(steps, observed{step: step})
		} else if len(steps) == 0 {
			return nil, fmt.Errorf("%s begins with no step: %q", observedFile(version, kind), line)
		} else {
			last := &steps[len(steps)-1]
			last.lines = append(last.lines, line)
		}
	}
	return steps, nil
}
