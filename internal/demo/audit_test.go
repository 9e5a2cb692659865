package demo

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

// fulfilled is a shop in which every order was placed and carried out.
func fulfilled(t *testing.T) (*books, *customers) {
	w := world{orders: 30}
	b, err := openBooks(t.Context(), t.TempDir(), "", w)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.close()) })
	c := newCustomers("unused", w, 1)
	for n := range c.answers {
		o := w.order(int64(n))
		c.answers[n] = placed
		c.counts[placed].Add(1)
		_, err := b.order.Exec("INSERT INTO orders (number, customer, item, quantity, price) VALUES (?, ?, ?, ?, ?)",
			o.Number, o.Customer, o.Item, o.Quantity, o.Price)
		require.NoError(t, err)
		_, err = b.stock.Exec("UPDATE stock SET quantity = quantity - ? WHERE item = ?", o.Quantity, o.Item)
		require.NoError(t, err)
		_, err = b.account.Exec("UPDATE account SET balance = balance - ? WHERE customer = ?", o.Price, o.Customer)
		require.NoError(t, err)
		_, err = b.points.Exec("UPDATE points SET points = points + ? WHERE customer = ?", o.Price, o.Customer)
		require.NoError(t, err)
	}
	return b, c
}

func TestAuditFindsWhatDoesNotFit(t *testing.T) {
	for _, test := range []struct {
		name  string
		spoil func(*testing.T, *books, *customers, *leftovers)
		want  []string
	}{
		{"nothing", func(*testing.T, *books, *customers, *leftovers) {}, nil},
		{"a confirmed order is lost", func(t *testing.T, b *books, c *customers, _ *leftovers) {
			_, err := b.order.Exec("DELETE FROM orders WHERE number = 3")
			require.NoError(t, err)
		}, []string{"order 3 was confirmed", "account of", "stock of", "points of"}},
		{"a refused order stands", func(_ *testing.T, _ *books, c *customers, _ *leftovers) {
			c.answers[4] = noMoney
		}, []string{"order 4 was refused to its customer and stands"}},
		{"an order without an answer may stand", func(_ *testing.T, _ *books, c *customers, _ *leftovers) {
			c.answers[4] = unknown
		}, nil},
		{"an order stands with another item", func(t *testing.T, b *books, _ *customers, _ *leftovers) {
			_, err := b.order.Exec("UPDATE orders SET item = 'item-999' WHERE number = 5")
			require.NoError(t, err)
		}, []string{"order 5 stands with other contents", "stock of"}},
		{"money moves between accounts", func(t *testing.T, b *books, _ *customers, _ *leftovers) {
			_, err := b.account.Exec("UPDATE account SET balance = balance + CASE customer WHEN 'customer-001' THEN 1 ELSE -1 END " +
				"WHERE customer IN ('customer-001', 'customer-002')")
			require.NoError(t, err)
		}, []string{"account of customer-001: +1", "account of customer-002: -1"}},
		{"points are given for nothing", func(t *testing.T, b *books, _ *customers, _ *leftovers) {
			_, err := b.points.Exec("UPDATE points SET points = points + 2 WHERE customer = 'customer-007'")
			require.NoError(t, err)
		}, []string{"points of customer-007: +2"}},
		{"something is left", func(_ *testing.T, _ *books, _ *customers, l *leftovers) {
			*l = leftovers{transactions: 1, locks: 2, undo: 3}
		}, []string{"1 global transactions", "2 row locks", "3 undo rows"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			b, c := fulfilled(t)
			var left leftovers
			test.spoil(t, b, c, &left)
			a, err := newAudit(t.Context(), b, c, left, 0)
			require.NoError(t, err)
			require.Len(t, a.differences, len(test.want), a.differences)
			for i, want := range test.want {
				require.Contains(t, a.differences[i], want)
			}
			var out bytes.Buffer
			a.print(&out)
			verdict := "\nconsistent: yes\n"
			if len(test.want) > 0 {
				verdict = "\nconsistent: no\n"
			}
			require.Contains(t, out.String(), verdict)
		})
	}
}
