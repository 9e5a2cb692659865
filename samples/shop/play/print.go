package play

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// printOrder shows an order and the path of its transaction.
func printOrder(w io.Writer, o Order) {
	fmt.Fprintf(w, "\norder %d  %s\n", o.Number, o.Tale)
	fmt.Fprintf(w, "  transaction %s, begun by %s\n", o.Path.XID, o.Path.Began)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "  service\tin\tbranch\tmode\tphase one\tphase two\n")
	for _, b := range o.Path.Branches {
		id, two := fmt.Sprint(b.ID), fmt.Sprintf("%s +%d ms", b.PhaseTwo, b.TwoMillis)
		if b.ID == 0 {
			id, two = "-", "-"
		}
		if b.PhaseTwo == "" { // a saga's step that was registered when the service died
			two = "-"
		}
		if b.Orders > 1 {
			two += fmt.Sprintf(", ordered %d times", b.Orders)
		}
		fmt.Fprintf(t, "  %s\t%s\t%s\t%s\t%s +%d ms\t%s\n", b.Service, b.Language, id, b.Mode, b.PhaseOne, b.OneMillis, two)
	}
	_ = t.Flush() // a write that fails shows in the next one
	answer := o.Answer
	if o.Reason != "" {
		answer += ": " + o.Reason
	}
	decision := "asks for " + o.Path.Asked
	if len(o.Path.Reported) > 0 {
		decision = "reports " + strings.Join(o.Path.Reported, ", then ")
	}
	fmt.Fprintf(w, "  %s %s: %s; the customer reads: %s\n", o.Path.Began, decision, o.Outcome, answer)
}

// printBooks shows the final account and the verdict.
func printBooks(w io.Writer, b Books) {
	fmt.Fprintf(w, "\nbooks\n")
	fmt.Fprintf(w, "  lamps   %6d = %d left + %d sold\n", b.LampsBefore, b.LampsLeft, b.LampsSold)
	fmt.Fprintf(w, "  money   %6d = %d left + %d paid\n", b.MoneyBefore, b.MoneyLeft, b.MoneyPaid)
	fmt.Fprintf(w, "  points  %6d for %d paid\n", b.Points, b.MoneyPaid)
	for _, d := range b.Differences {
		fmt.Fprintf(w, "  %s\n", d)
	}
	verdict := "yes"
	if len(b.Differences) > 0 {
		verdict = "no"
	}
	fmt.Fprintf(w, "\nconsistent: %s\n", verdict)
}
