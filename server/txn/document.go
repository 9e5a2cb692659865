package txn

import (
	"fmt"
	"slices"
	"strings"

	"github.com/qiao-tx/qiao/protocol"
)

// Document prints the table of transitions as Markdown, with a picture.
func Document() string {
	var b strings.Builder
	b.WriteString(documentHead)
	writePicture(&b)
	for _, p := range []phase{absent, undecided, committing, rollingBack, parked, finished} {
		writePhase(&b, p)
	}
	return b.String()
}

const documentHead = `# The states of a global transaction

Printed from the table in ` + "`server/txn/table.go`" + ` by ` + "`make docs`" + `; a test keeps the two equal.

A transaction is in one of six phases. On an event the first row of its phase
whose event and condition match is taken. Everything under *batch* becomes
durable in one Batch before anything under *effects* leaves. The events are:
*begin*, *commit*, *rollback* and *saga report* from a transaction manager,
*register* and *report* from a resource manager, *answers* to the orders of one
round of phase two, and *tick*, the time.

`

// edge is one arrow of the picture.
type edge struct {
	from, to string
	label    string
}

func writePicture(b *strings.Builder) {
	b.WriteString("```mermaid\nstateDiagram-v2\n")
	var order []edge
	labels := make(map[edge][]string)
	for _, e := range edges() {
		arrow := edge{from: e.from, to: e.to}
		if labels[arrow] == nil {
			order = append(order, arrow)
		}
		if !slices.Contains(labels[arrow], e.label) {
			labels[arrow] = append(labels[arrow], e.label)
		}
	}
	for _, arrow := range order {
		fmt.Fprintf(b, "    %s --> %s: %s\n", arrow.from, arrow.to, strings.Join(labels[arrow], ", "))
	}
	for _, s := range []protocol.GlobalStatus{protocol.StatusCommitted, protocol.StatusRollbacked, protocol.StatusTimeoutRollbacked} {
		fmt.Fprintf(b, "    %s --> [*]\n", s)
	}
	b.WriteString("```\n\nA saga's reports move it from any state to the one reported; the picture leaves them out.\n")
}

// edges lists the moves of all rows but a saga's own.
func edges() []edge {
	var all []edge
	for _, p := range []phase{absent, undecided, committing, rollingBack} {
		from := phases[p]
		if p == absent {
			from = []protocol.GlobalStatus{protocol.StatusNone}
		}
		for _, row := range table[p] {
			if row.on == onSagaReport || row.when != nil && strings.Contains(row.when.name, "saga") {
				continue
			}
			for _, s := range from {
				if to, moves := row.target(s); moves && to != s {
					all = append(all, edge{stateName(s), stateName(to), row.on.String()})
				}
			}
		}
	}
	return all
}

func stateName(s protocol.GlobalStatus) string {
	if s == protocol.StatusNone {
		return "[*]"
	}
	return s.String()
}

// target is where the row moves a transaction, if it does.
func (t transition) target(from protocol.GlobalStatus) (to protocol.GlobalStatus, moves bool) {
	for _, a := range t.do {
		if a.to != nil {
			to, moves = a.to(from), true
		}
	}
	return to, moves
}

func writePhase(b *strings.Builder, p phase) {
	fmt.Fprintf(b, "\n## %s\n\n", p)
	var names []string
	for _, s := range phases[p] {
		names = append(names, s.String())
	}
	if len(names) > 0 {
		fmt.Fprintf(b, "Statuses: %s.\n\n", strings.Join(names, ", "))
	}
	b.WriteString("| event | when | batch | effects |\n|---|---|---|---|\n")
	seen := make(map[kind]bool)
	for _, row := range table[p] {
		when := "always"
		switch {
		case row.when != nil:
			when = row.when.name
		case seen[row.on]:
			when = "otherwise"
		}
		seen[row.on] = true
		fmt.Fprintf(b, "| %s | %s | %s | %s |\n", row.on, when, row.names(false), row.names(true))
	}
}

func (t transition) names(effects bool) string {
	var names []string
	for _, a := range t.do {
		if a.effect == effects {
			names = append(names, a.name)
		}
	}
	if len(names) == 0 {
		return "–"
	}
	return strings.Join(names, "; ")
}
