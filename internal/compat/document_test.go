//go:build linux

package compat

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/internal/testenv"
)

const documentPath = "../../docs/compatibility.md"

// The document that people read is what the clients saw, every difference has
// an explanation, and every explanation a difference.
func TestDocumentIsWhatTheClientsSaw(t *testing.T) {
	text, err := document()
	require.NoError(t, err)
	if *rewrite {
		require.NoError(t, os.WriteFile(documentPath, []byte(text), 0o644))
	}
	written, err := os.ReadFile(documentPath)
	require.NoError(t, err)
	require.Equal(t, text, string(written), "docs/compatibility.md is stale: run make compat")
}

// pair is what one version saw on both coordinators; java is nil where the
// version was not run on Java's.
type pair struct {
	version    string
	ours, java []observed
}

func document() (string, error) {
	var pairs []pair
	for _, version := range versions {
		ours, err := readObserved(version, kindQiao)
		if err != nil {
			return "", err
		}
		java, err := readObserved(version, kindJava)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
		if java != nil && len(ours) != len(java) || len(pairs) > 0 && len(ours) != len(pairs[0].ours) {
			return "", fmt.Errorf("what version %s saw is of another scenario: run make compat", version)
		}
		pairs = append(pairs, pair{version, ours, java})
	}
	var b strings.Builder
	b.WriteString(preface)
	if err := writeTable(&b, pairs); err != nil {
		return "", err
	}
	b.WriteString("\n## What each client sees\n\nWhat is seen on the Java coordinator instead stands in brackets. B1, B2 are branches in the order of their registration.\n")
	for i := range pairs[0].ours {
		writeStep(&b, pairs, i)
	}
	return b.String(), nil
}

const preface = `# Java clients on this coordinator and on Seata's own

Printed by ` + "`make compat`" + `; do not edit. Unmodified Java clients (` + "`io.seata:seata-all`" + ` up to 2.0.0,
` + "`org.apache.seata:seata-all`" + ` after it, from Maven) went through one scenario on ` + "`qiao server`" + ` and on the
Java coordinator ` + testenv.JavaTCVersion + `, the newest server on Maven Central. What each saw is kept in
` + "`internal/compat/testdata`" + `: results, exception codes, statuses, the classes of exceptions, the order of
calls and the rows of a MariaDB database. Texts of messages are each coordinator's own and are not
compared. Frames captured from the Java coordinator 2.5.0 with the clients 2.2.0 and 2.5.0 are held
against ours frame by frame by the tests of ` + "`server/gateway`" + `.

Some defects are the old clients' own, and no coordinator can make up for them: the template of 1.4 and 1.5
reports success whatever a commit is answered, and up to 1.6 it reports a rollback as done whatever that is
answered but ` + "`RollbackRetrying`" + `; 1.4.2 has a rollback over foreign changes tried again for
ever; when a coordinator is gone, the reader of an old client can stall for 30 s, the time-out of its own
registration, before it connects again.

A client sees the **same** on both, or something else for the reasons with these numbers:

`

func writeTable(b *strings.Builder, pairs []pair) error {
	used := map[int]bool{}
	b.WriteString("| |")
	for _, p := range pairs {
		fmt.Fprintf(b, " %s |", p.version)
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(pairs)) + "\n")
	for i := range pairs[0].ours {
		fmt.Fprintf(b, "| %s |", pairs[0].ours[i].step)
		for _, p := range pairs {
			if p.java == nil {
				b.WriteString(" not compared |")
				continue
			}
			all, err := differences(p.version, p.ours[i], p.java[i])
			if err != nil {
				return err
			}
			var numbers []string
			for _, d := range all {
				n, err := d.explained()
				if err != nil {
					return err
				}
				used[n] = true
				if s := fmt.Sprint(n); !slices.Contains(numbers, s) {
					numbers = append(numbers, s)
				}
			}
			cell := "same"
			if len(numbers) > 0 {
				slices.Sort(numbers)
				cell = strings.Join(numbers, ", ")
			}
			fmt.Fprintf(b, " %s |", cell)
		}
		b.WriteString("\n")
	}
	b.WriteString("\n")
	for i, e := range explanations {
		if !used[i+1] {
			return fmt.Errorf("explanation %d has no difference any more: %s", i+1, e.text)
		}
		fmt.Fprintf(b, "%d. %s\n", i+1, e.text)
	}
	return nil
}

// writeStep writes a step once for all versions that saw the same in it.
func writeStep(b *strings.Builder, pairs []pair, i int) {
	fmt.Fprintf(b, "\n### %s\n", pairs[0].ours[i].step)
	var seen []string // in the order of versions
	by := map[string][]string{}
	for _, p := range pairs {
		text := both(p.ours[i].lines, p.ours[i].lines)
		if p.java != nil {
			text = both(p.ours[i].lines, p.java[i].lines)
		}
		if by[text] == nil {
			seen = append(seen, text)
		}
		by[text] = append(by[text], p.version)
	}
	for _, text := range seen {
		if len(seen) > 1 {
			fmt.Fprintf(b, "\n%s:\n", strings.Join(by[text], ", "))
		}
		b.WriteString("\n" + text)
	}
}

func both(ours, java []string) string {
	var b strings.Builder
	for i, line := range ours {
		indent := strings.Repeat(" ", len(line)-len(strings.TrimLeft(line, " ")))
		b.WriteString(indent + "- " + strings.TrimSpace(line))
		if line != java[i] {
			_, value := split(java[i])
			b.WriteString(" (" + value + ")")
		}
		b.WriteString("\n")
	}
	return b.String()
}
