package play

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/qiao-tx/qiao/internal/promtext"
)

// Books is the final account.
type Books struct {
	Placed      int64 `json:"orders_placed"`
	LampsBefore int64 `json:"lamps_before"`
	LampsLeft   int64 `json:"lamps_left"`
	LampsSold   int64 `json:"lamps_sold"`
	MoneyBefore int64 `json:"money_before"`
	MoneyLeft   int64 `json:"money_left"`
	MoneyPaid   int64 `json:"money_paid"`
	Points      int64 `json:"points_given"`
	// Differences say what does not fit; none means consistent.
	Differences []string `json:"differences"`
}

func (b *Books) differ(format string, args ...any) {
	b.Differences = append(b.Differences, fmt.Sprintf(format, args...))
}

// seed fills the shelves and the accounts.
func (d *databases) seed(ctx context.Context) error {
	insert := func(service, statement string, amounts map[string]int64) error {
		for name, amount := range amounts {
			if _, err := d.of[service].ExecContext(ctx, statement, name, amount); err != nil {
				return fmt.Errorf("the database of the %s service: %w", service, err)
			}
		}
		return nil
	}
	if err := insert("stock", "INSERT INTO stock (item, quantity) VALUES (?, ?)", stockAtFirst); err != nil {
		return err
	}
	if err := insert("account", "INSERT INTO account (customer, balance) VALUES (?, ?)", balanceAtFirst); err != nil {
		return err
	}
	none := maps.Clone(balanceAtFirst)
	for customer := range none {
		none[customer] = 0
	}
	return insert("points", "INSERT INTO points (customer, points) VALUES (?, ?)", none)
}

// audit compares what the customers were told with what the databases say.
func (s *show) audit(ctx context.Context, orders []Order) (Books, error) {
	b := Books{}
	for _, n := range stockAtFirst {
		b.LampsBefore += n
	}
	for _, n := range balanceAtFirst {
		b.MoneyBefore += n
	}
	stand, err := amounts(ctx, s.databases.of["order"], "SELECT number, pending FROM orders")
	if err != nil {
		return b, err
	}
	spent, taken := map[string]int64{}, map[string]int64{}
	for _, o := range orders {
		pending, stands := stand[fmt.Sprint(o.Number)]
		switch {
		case stands && pending != 0:
			b.differ("order %d is neither confirmed nor cancelled", o.Number)
		case stands != (o.Answer == placed) && o.Answer != unknown:
			b.differ("order %d: the customer was told %q; it stands: %t", o.Number, o.Answer, stands)
		case stands != (o.Outcome == Committed):
			b.differ("order %d: its transaction is %s; it stands: %t", o.Number, o.Outcome, stands)
		}
		if stands {
			b.Placed++
			b.LampsSold += o.order.Quantity
			b.MoneyPaid += o.order.Price
			taken[o.order.Item] += o.order.Quantity
			spent[o.order.Customer] += o.order.Price
		}
	}
	if len(stand) != int(b.Placed) {
		b.differ("%d orders stand, and the customers placed %d of them", len(stand), b.Placed)
	}
	if b.LampsLeft, err = s.compare(ctx, &b, "stock", "SELECT item, quantity FROM stock", func(item string) int64 { return stockAtFirst[item] - taken[item] }); err != nil {
		return b, err
	}
	if b.MoneyLeft, err = s.compare(ctx, &b, "account", "SELECT customer, balance FROM account", func(c string) int64 { return balanceAtFirst[c] - spent[c] }); err != nil {
		return b, err
	}
	if b.Points, err = s.compare(ctx, &b, "points", "SELECT customer, points FROM points", func(c string) int64 { return spent[c] }); err != nil {
		return b, err
	}
	return b, s.checkLeftovers(ctx, &b)
}

// compare wants a service's amounts to be what they should be, and adds them up.
func (s *show) compare(ctx context.Context, b *Books, service, query string, want func(string) int64) (sum int64, err error) {
	found, err := amounts(ctx, s.databases.of[service], query)
	if err != nil {
		return 0, err
	}
	for _, name := range slices.Sorted(maps.Keys(found)) {
		sum += found[name]
		if found[name] != want(name) {
			b.differ("%s of %s: %d, want %d", service, name, found[name], want(name))
		}
	}
	return sum, nil
}

// leftovers are what a transaction that has ended does not leave, by the queries
// that count them.
var leftovers = map[string]string{
	"undo records": "SELECT COUNT(*) FROM undo_log WHERE log_status = 0",
	"open tries":   "SELECT COUNT(*) FROM tcc_fence_log WHERE status = 1",
}

// checkLeftovers waits a little: undo records are deleted in batches.
func (s *show) checkLeftovers(ctx context.Context, b *Books) error {
	deadline := time.Now().Add(settleTimeout)
	for {
		left, err := s.left(ctx)
		if err != nil {
			return err
		}
		if len(left) == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			b.Differences = append(b.Differences, left...)
			return nil
		}
		if err := sleep(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
}

// left says what is left over at this moment.
func (s *show) left(ctx context.Context) (left []string, err error) {
	for _, name := range slices.Sorted(maps.Keys(s.databases.of)) {
		for what, query := range leftovers {
			var n int64
			if err := s.databases.of[name].QueryRowContext(ctx, query).Scan(&n); err != nil {
				return nil, fmt.Errorf("count %s of the %s service: %w", what, name, err)
			}
			if n != 0 {
				left = append(left, fmt.Sprintf("%s: %d %s", name, n, what))
			}
		}
		if name == "order" {
			continue
		}
		var n sql.NullInt64
		if err := s.databases.of[name].QueryRowContext(ctx, "SELECT SUM(reserved) FROM "+name).Scan(&n); err != nil {
			return nil, fmt.Errorf("count what the %s service reserves: %w", name, err)
		}
		if n.Int64 != 0 {
			left = append(left, fmt.Sprintf("%s: %d are reserved", name, n.Int64))
		}
	}
	var n int64
	if err := s.databases.of["order"].QueryRowContext(ctx, "SELECT COUNT(*) FROM seata_state_machine_inst WHERE is_running = 1").Scan(&n); err != nil {
		return nil, fmt.Errorf("count the sagas that run: %w", err)
	}
	if n != 0 {
		left = append(left, fmt.Sprintf("order: %d sagas run", n))
	}
	values, err := promtext.Fetch(ctx, "http://"+s.fleet.coordinator.Address+"/metrics")
	if err != nil {
		return nil, err
	}
	for _, what := range []string{"transactions", "locks"} {
		if n := values["qiao_store_"+what]; n != 0 {
			left = append(left, fmt.Sprintf("coordinator: %g %s", n, what))
		}
	}
	return left, nil
}

// amounts reads a table of names and numbers.
func amounts(ctx context.Context, db *sql.DB, query string) (map[string]int64, error) {
	rows, err := db.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	found := map[string]int64{}
	for rows.Next() {
		var name string
		var n int64
		if err := rows.Scan(&name, &n); err != nil {
			return nil, err
		}
		found[name] = n
	}
	return found, rows.Err()
}
