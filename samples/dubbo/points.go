package main

import (
	"context"
	"database/sql"

	qiaodubbo "github.com/qiao-tx/qiao/client/dubbo"
	"github.com/qiao-tx/qiao/rm"
	"github.com/qiao-tx/qiao/rm/tcc"
	"github.com/qiao-tx/qiao/rm/tcc/fence"
)

const pointsInterface = "sample.Points"

// grant is the argument of the TCC action.
type grant struct {
	Customer string `json:"customer"`
	Points   int32  `json:"points"`
}

// Points is a TCC action published as a Dubbo service: calling Prepare is its try;
// the coordinator has this process confirm or cancel.
type Points struct{ action *tcc.Handle[grant] }

// newPoints registers the action. The fence makes each phase happen at most once.
func newPoints(ctx context.Context, c rm.Coordinator, db *sql.DB) (*Points, error) {
	f, err := fence.New(db, "")
	if err != nil {
		return nil, err
	}
	change := func(pending, total int32) func(context.Context, *sql.Tx, grant) error {
		return func(ctx context.Context, tx *sql.Tx, g grant) error {
			_, err := tx.ExecContext(ctx, "UPDATE points SET pending = pending + ?, total = total + ? WHERE customer = ?",
				pending*g.Points, total*g.Points, g.Customer)
			return err
		}
	}
	action, err := tcc.Register(ctx, c, fence.Guard(f, fence.Action[grant]{
		Name:    "grant-points",
		Try:     change(1, 0),
		Confirm: change(-1, 1),
		Cancel:  change(-1, 0),
	}))
	return &Points{action}, err
}

// Prepare has the parameters of a Java TCC interface, so that Java consumers can
// call it too.
func (p *Points) Prepare(ctx context.Context, c *qiaodubbo.BusinessActionContext, customer string, points int32) (bool, error) {
	err := qiaodubbo.Try(ctx, p.action, c, grant{customer, points})
	return err == nil, err
}
