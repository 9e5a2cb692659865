//go:build linux

package faults

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	qiaohttp "github.com/qiao-tx/qiao/client/http"
	"github.com/qiao-tx/qiao/protocol/xid"
	"github.com/qiao-tx/qiao/tm"
)

// Steps of the transaction manager.
const (
	afterBegin        = "after begin"
	afterFirstBranch  = "after the first branch"
	afterSecondBranch = "after the second branch"
	beforeDecision    = "before the decision is asked for"
	afterDecision     = "after the decision is answered"
)

// order asks the transaction manager for a transfer.
type order struct {
	Number  int64
	Mode    string
	Commit  bool // otherwise the work is done and then rolled back
	Timeout time.Duration
	Legs    []leg
}

// leg is what a transfer does in one bank.
type leg struct {
	URL  string
	Move move
}

// What a transaction manager is told of its transaction.
const (
	committed  = "committed"
	rolledBack = "rolled back"
	unknown    = "unknown"
)

// told is how the transfer ended for who ordered it.
type told struct {
	XID     string
	Outcome string
	Error   string
	Took    time.Duration
}

var errWantRollback = errors.New("rollback was ordered")

// initiator is the transaction manager's process.
type initiator struct {
	tm    *tm.Manager
	web   *http.Client
	steps *failpoints
}

func newInitiator(m *tm.Manager, steps *failpoints) http.Handler {
	i := &initiator{tm: m, web: &http.Client{Transport: &qiaohttp.Transport{Base: oneShot()}}, steps: steps}
	mux := http.NewServeMux()
	mux.Handle("POST /transfer", answering(i.transfer))
	mux.Handle("POST /status", answering(i.status))
	return mux
}

func (i *initiator) transfer(ctx context.Context, o order) (told, error) {
	var t told
	began := time.Now()
	err := i.tm.Run(ctx, tm.Options{Name: "transfer", Timeout: o.Timeout}, func(ctx context.Context) error {
		t.XID = xid.FromContext(ctx)
		i.steps.reach(afterBegin)
		for n, l := range o.Legs {
			if _, err := ask[struct{}](ctx, i.web, l.URL+"/move", l.Move); err != nil {
				return err
			}
			i.steps.reach([]string{afterFirstBranch, afterSecondBranch}[n])
		}
		i.steps.reach(beforeDecision)
		if !o.Commit {
			return errWantRollback
		}
		return nil
	})
	t.Took = time.Since(began)
	t.Outcome = outcomeOf(err)
	if err != nil {
		t.Error = err.Error()
	}
	i.steps.reach(afterDecision)
	return t, nil
}

// outcomeOf says what an application may conclude from the error of Run.
func outcomeOf(err error) string {
	switch {
	case err == nil:
		return committed
	case errors.Is(err, tm.ErrOutcomeUnknown):
		return unknown
	case errors.Is(err, tm.ErrHeuristic):
		return "contradicted"
	}
	return rolledBack
}

// status asks the coordinator how a transaction ended.
func (i *initiator) status(ctx context.Context, x string) (string, error) {
	status, err := i.tm.Status(ctx, x)
	if err != nil {
		return "", err
	}
	return fmt.Sprint(status), nil
}
