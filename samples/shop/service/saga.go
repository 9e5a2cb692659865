package service

import (
	"context"
	_ "embed" // the state machine
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/qiao-tx/qiao/client"
	"github.com/qiao-tx/qiao/saga"
	"github.com/qiao-tx/qiao/saga/machine"
	"github.com/qiao-tx/qiao/saga/sagalog"
)

// SagaMachine is the order as a saga, in Seata's language of state machines: what
// `qiao saga validate` checks and `qiao saga graph` draws.
//
//go:embed saga.json
var SagaMachine []byte

const (
	sagaName = "place-order"
	// sagaTimeout is after how long a saga that is not heard of, perhaps because this
	// service has died, is ordered back by the coordinator. One that runs has time to
	// wait for services that are away.
	sagaTimeout = time.Minute
	// The names that the state machine has for refusals.
	noStock, noMoney = "NoStock", "NoMoney"
)

// errOpen: the saga has begun and its end is not known here.
var errOpen = errors.New("the order's saga has not ended yet")

// orderSaga takes orders in mode saga.
type orderSaga struct {
	engine *saga.Engine
	store  *sagalog.SQL
}

// openSaga opens the engine, with its log beside the orders, and goes on with what
// this service left when it stopped.
func openSaga(ctx context.Context, c *client.Client, own database, write, drop func(context.Context, Order) error, calls Calls) (*orderSaga, error) {
	store, err := sagalog.OpenSQL(ctx, sagalog.Config{DB: own.db, Node: "order"})
	if err != nil {
		return nil, err
	}
	engine, err := saga.Open(ctx, saga.Config{
		Store: store, Coordinator: c.Saga(), Timeout: sagaTimeout,
		ReportSuccess: true, // the coordinator's console, and play, see each step's end
		ErrorNames:    map[string]error{noStock: ErrNoStock, noMoney: ErrNoMoney},
	})
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	s := &orderSaga{engine, store}
	if err := s.start(ctx, write, drop, calls); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// start gives the engine what the state machine calls, and the machine.
func (s *orderSaga) start(ctx context.Context, write, drop func(context.Context, Order) error, calls Calls) error {
	err := errors.Join(
		s.engine.Func("order", "write", write), s.engine.Func("order", "drop", drop),
		s.engine.Func("stock", "take", calls.Take), s.engine.Func("stock", "putBack", calls.PutBack),
		s.engine.Func("account", "debit", calls.Debit), s.engine.Func("account", "refund", calls.Refund),
		s.engine.Func("points", "award", calls.Award), s.engine.Func("points", "revoke", calls.Revoke),
	)
	if err != nil {
		return err
	}
	if _, err := s.engine.Define(ctx, SagaMachine); err != nil {
		return err
	}
	_, err = s.engine.Recover(ctx)
	return err
}

func (s *orderSaga) close() {
	closing(s.engine.Close)
	_ = s.store.Close() // what it does not know, the log's next reader finds out
}

// place runs the saga. The order's number is its business key: the same order placed
// twice is refused.
func (s *orderSaga) place(ctx context.Context, o Order) error {
	ended, err := s.engine.Start(ctx, sagaName, map[string]any{
		"number": o.Number, "customer": o.Customer, "item": o.Item, "quantity": o.Quantity, "price": o.Price,
	}, saga.StartOptions{BusinessKey: strconv.FormatInt(o.Number, 10)})
	switch {
	case errors.Is(err, sagalog.ErrExists):
		return fmt.Errorf("order %d was placed before: %w", o.Number, err)
	case err != nil:
		return fmt.Errorf("%w: %w", errOpen, err)
	}
	return outcome(ended)
}

// outcome is what the customer is told of a saga that has ended.
func outcome(s *saga.Saga) error {
	if s.Status == machine.Succeeded && s.Compensation == "" {
		return nil
	}
	reason := errors.New("the saga has failed")
	for _, run := range s.States {
		if run.Failure == nil || run.IsCompensation() {
			continue
		}
		switch run.Failure.Class {
		case noStock:
			reason = ErrNoStock
		case noMoney:
			reason = ErrNoMoney
		default:
			reason = fmt.Errorf("%s: %s", run.Name, run.Failure.Message)
		}
	}
	switch {
	case s.Compensation == machine.Succeeded, s.Compensation == "" && s.Status == machine.Failed:
		return reason
	case s.Compensation != "": // the coordinator sees to it
		return fmt.Errorf("the order is being undone: %w", reason)
	}
	return fmt.Errorf("%w: %w", errOpen, reason)
}
