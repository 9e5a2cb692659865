package client_test

import (
	"context"
	"database/sql"
	"log"

	"github.com/qiao-tx/qiao/client"
	"github.com/qiao-tx/qiao/rm/tcc"
	"github.com/qiao-tx/qiao/rm/tcc/fence"
	"github.com/qiao-tx/qiao/tm"
)

// A service freezes money in a try, and takes or returns it in phase two. The
// fence keeps repeated, missing and late calls from doing harm.
func Example() {
	type payment struct {
		User   string `json:"user"`
		Amount int64  `json:"amount"`
	}
	move := func(money, frozen int64) func(context.Context, *sql.Tx, payment) error {
		return func(ctx context.Context, tx *sql.Tx, p payment) error {
			_, err := tx.ExecContext(ctx, "UPDATE account SET money = money + ?, frozen = frozen + ? WHERE user = ?",
				money*p.Amount, frozen*p.Amount, p.User)
			return err
		}
	}
	pay := func(ctx context.Context, db *sql.DB) error {
		c, err := client.Open(ctx, client.Config{
			Addresses:     []string{"127.0.0.1:8091"},
			ApplicationID: "account-service",
		})
		if err != nil {
			return err
		}
		defer func() { _ = c.Close(context.Background()) }()

		f, err := fence.New(db, "")
		if err != nil {
			return err
		}
		debit, err := tcc.Register(ctx, c.RM(), fence.Guard(f, fence.Action[payment]{
			Name:    "debit",
			Try:     move(-1, +1),
			Confirm: move(0, -1),
			Cancel:  move(+1, -1),
		}))
		if err != nil {
			return err
		}
		return c.TM().Run(ctx, tm.Options{Name: "pay"}, func(ctx context.Context) error {
			return debit.Try(ctx, payment{"alice", 30})
		})
	}
	if err := pay(context.Background(), nil); err != nil {
		log.Print(err)
	}
}
