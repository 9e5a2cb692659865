package client

import (
	"context"
	"time"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/rm"
	"github.com/qiao-tx/qiao/tm"
)

// Sagas is what an engine of sagas asks of the coordinator: the requests of a
// resource manager, and two of a transaction manager. It is a saga.Coordinator.
type Sagas struct {
	rm.Coordinator
	transactions transactions
}

// Saga returns what a saga.Engine registers and reports with.
func (c *Client) Saga() Sagas { return Sagas{c.RM(), transactions{c}} }

// Identity returns the application and the group under which the coordinator finds
// the engine.
func (s Sagas) Identity() (application, group string) {
	cfg := s.transactions.c.cfg
	return cfg.ApplicationID, cfg.Group
}

// Begin starts the global transaction of a saga and returns its XID. It may be
// repeated: what nobody knows of ends by its time-out.
func (s Sagas) Begin(ctx context.Context, name string, timeout time.Duration) (string, error) {
	return s.transactions.Begin(ctx, name, timeout)
}

// Report tells the coordinator how a saga stands, which its application drives,
// and returns the status that this led to. Idempotent.
func (s Sagas) Report(ctx context.Context, x string, status protocol.GlobalStatus) (protocol.GlobalStatus, error) {
	answer, err := s.transactions.ask(ctx, "report", request{
		message: &protocol.GlobalReport{Global: protocol.Global{XID: x}, Status: status}, xid: x, repetition: always,
	})
	if err != nil {
		return protocol.StatusUnKnown, err
	}
	result, err := expect[*protocol.GlobalReportResult](answer.Message, "report", tm.ErrRefused)
	if err != nil {
		return protocol.StatusUnKnown, err
	}
	return result.Status, nil
}
