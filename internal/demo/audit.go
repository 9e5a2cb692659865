package demo

import (
	"context"
	"fmt"
	"io"
)

// audit is the final account.
type audit struct {
	counts   [answers]int64
	orders   int // rows in the order database
	timedOut int64
	// begun and ended amounts over all accounts, orders and shelves.
	moneyBefore, moneyAfter, paid     int64
	piecesBefore, piecesAfter, bought int64
	points                            int64 // given; one for each unit of money paid
	leftovers
	// differences say what does not fit; none means consistent.
	differences []string
}

func (a *audit) differ(format string, args ...any) {
	a.differences = append(a.differences, fmt.Sprintf(format, args...))
}

// newAudit compares what the customers were told with what the databases say,
// order by order, account by account and shelf by shelf.
func newAudit(ctx context.Context, b *books, c *customers, left leftovers, timedOut int64) (*audit, error) {
	a := &audit{leftovers: left, timedOut: timedOut}
	for i := range c.counts {
		a.counts[i] = c.counts[i].Load()
	}
	orders, err := b.orders(ctx)
	if err != nil {
		return nil, err
	}
	a.orders = len(orders)
	stock, err := amounts(ctx, b.stock, "SELECT item, quantity FROM stock")
	if err != nil {
		return nil, err
	}
	balances, err := amounts(ctx, b.account, "SELECT customer, balance FROM account")
	if err != nil {
		return nil, err
	}
	points, err := amounts(ctx, b.points, "SELECT customer, points FROM points")
	if err != nil {
		return nil, err
	}
	for _, n := range points {
		a.points += n
	}
	for n, told := range c.answers {
		order, stands := orders[int64(n)]
		switch {
		case told == placed && !stands:
			a.differ("order %d was confirmed to its customer and does not stand", n)
		case stands && told != placed && told != unknown:
			a.differ("order %d was refused to its customer and stands", n)
		case stands && order != c.world.order(int64(n)):
			a.differ("order %d stands with other contents: %+v", n, order)
		}
		if stands {
			a.paid += order.Price
			a.bought += order.Quantity
			balances[order.Customer] += order.Price // what it would be without the order
			stock[order.Item] += order.Quantity
			points[order.Customer] -= order.Price
		}
	}
	a.moneyBefore, a.moneyAfter = a.compare("account of", customerCount, customerName, c.world.balance, balances)
	a.piecesBefore, a.piecesAfter = a.compare("stock of", items, itemName, c.world.stock, stock)
	a.compare("points of", customerCount, customerName, noPoints, points)
	a.moneyAfter -= a.paid
	a.piecesAfter -= a.bought
	a.checkLeftovers()
	return a, nil
}

// compare wants every amount, with its orders taken back, to be what it was.
func (a *audit) compare(what string, n int, name func(int) string, before func(int) int64, after map[string]int64) (sumBefore, sumAfter int64) {
	for i := range n {
		was, is := before(i), after[name(i)]
		sumBefore += was
		sumAfter += is
		if was != is {
			a.differ("%s %s: %+d against its orders", what, name(i), is-was)
		}
	}
	return sumBefore, sumAfter
}

func (a *audit) checkLeftovers() {
	for _, left := range []struct {
		n    int64
		what string
	}{
		{a.transactions, "global transactions have not ended"},
		{a.locks, "row locks are left"},
		{a.undo, "undo rows are left"},
	} {
		if left.n != 0 {
			a.differ("%d %s", left.n, left.what)
		}
	}
}

// print writes the account and the verdict.
func (a *audit) print(w io.Writer) {
	total := int64(0)
	for _, n := range a.counts {
		total += n
	}
	unknownPlaced := int64(a.orders) - a.counts[placed]
	conserved := func(same bool) string {
		if same {
			return "conserved"
		}
		return "NOT conserved"
	}
	line := func(name string, n int64, note string) { fmt.Fprintf(w, "  %-28s %10d  %s\n", name, n, note) }
	fmt.Fprintln(w)
	line("orders", total, "")
	line("committed", int64(a.orders), fmt.Sprintf("%d of them with their answer lost in a crash", max(0, unknownPlaced)))
	line("rolled back", total-int64(a.orders), "of these:")
	line("  no stock", a.counts[noStock], "")
	line("  no money", a.counts[noMoney], "")
	line("  a failure on the way", a.counts[rolledBack], "")
	line("  answer lost in a crash", a.counts[unknown]-max(0, unknownPlaced), "")
	line("timed out", a.timedOut, "by the coordinator, after their service had died or waited too long")
	line("money", a.moneyBefore, fmt.Sprintf("= %d on accounts + %d paid: %s", a.moneyAfter, a.paid, conserved(a.moneyBefore == a.moneyAfter+a.paid)))
	line("pieces", a.piecesBefore, fmt.Sprintf("= %d in stock + %d sold: %s", a.piecesAfter, a.bought, conserved(a.piecesBefore == a.piecesAfter+a.bought)))
	line("points", a.points, fmt.Sprintf("for %d paid: %s", a.paid, conserved(a.points == a.paid)))
	line("open transactions", a.transactions, "")
	line("locks left", a.locks, "")
	line("undo rows left", a.undo, "")
	fmt.Fprintln(w)
	if len(a.differences) == 0 {
		fmt.Fprintln(w, "consistent: yes")
		return
	}
	const most = 20
	for i, d := range a.differences {
		if i == most {
			fmt.Fprintf(w, "  and %d more\n", len(a.differences)-most)
			break
		}
		fmt.Fprintln(w, "  "+d)
	}
	fmt.Fprintln(w, "consistent: no")
}
