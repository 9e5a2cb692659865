package tidy

import (
	"fmt"
	"strings"
)

// The table stands in ARCHITECTURE.md between these lines.
const (
	tableBegin = "<!-- rooms: checked by internal/tidy -->\n"
	tableEnd   = "<!-- end of rooms -->\n"
)

// Table prints the rooms as Markdown.
func Table(rooms []Room) string {
	var b strings.Builder
	b.WriteString("| Room | One job | May import |\n|---|---|---|\n")
	for _, room := range rooms {
		name := "`" + room.Path + "`"
		if room.Pure {
			name += " (pure)"
		}
		above := "–"
		if len(room.Above) > 0 {
			above = strings.Join(room.Above, ", ")
		}
		if above == "*" {
			above = "all"
		}
		fmt.Fprintf(&b, "| %s | %s | %s |\n", name, room.Job, above)
	}
	return b.String()
}

// withTable replaces the table in a document. A document that has only the
// opening line gets the closing one as well.
func withTable(document, table string) (string, error) {
	head, rest, ok := strings.Cut(document, tableBegin)
	if !ok {
		return "", fmt.Errorf("the line %q is missing", strings.TrimSpace(tableBegin))
	}
	if _, after, ok := strings.Cut(rest, tableEnd); ok {
		rest = after
	}
	return head + tableBegin + table + tableEnd + rest, nil
}
