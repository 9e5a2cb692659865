package load

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/rpc"
)

const (
	// recordBytes is about what a coordinator writes for one step.
	recordBytes = 150
	// logBytes is the size of the responder's file, made in advance and written
	// round and round, as a log writes into segments made in advance.
	logBytes = 64 << 20
	// firstID gives XIDs and branch ids the length of real ones.
	firstID = 2612341069705662466
	// orderTimeout is a resource manager's time to answer.
	orderTimeout = 15 * time.Second
)

// Responder answers the load's requests, over the same protocol code as the
// server, with nothing behind it: no state, no locks, no decisions. Like a
// durable coordinator it answers begin, register and commit only when a record
// of the step is on the disk, and one write and one fsync carry all records that
// wait. What it reaches is what this machine can do at best for the same round
// trips.
type Responder struct {
	file     *os.File
	branches int
	lastID   atomic.Int64
	records  atomic.Uint64

	mu      sync.Mutex
	waiting []step
	wake    chan struct{} // capacity 1
}

// step waits for its record. A step without a request is the end of a
// transaction: nobody waits for its record.
type step struct {
	conn    *rpc.Conn
	request rpc.Request
	answer  protocol.Message
}

// NewResponder makes a responder that keeps its records in the file and orders
// phase two for so many branches of each transaction.
func NewResponder(file *os.File, branches int) (*Responder, error) {
	if _, err := file.WriteAt(make([]byte, logBytes), 0); err != nil {
		return nil, fmt.Errorf("make the file: %w", err)
	}
	r := &Responder{file: file, branches: branches, wake: make(chan struct{}, 1)}
	r.lastID.Store(firstID)
	return r, nil
}

// Records counts the records written.
func (r *Responder) Records() uint64 { return r.records.Load() }

// Serve answers until ctx ends, and then closes the listener and its connections.
func (r *Responder) Serve(ctx context.Context, listener net.Listener) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var running sync.WaitGroup
	running.Go(func() { cancel(r.write(ctx)) })
	stop := context.AfterFunc(ctx, func() { listener.Close() })
	defer stop()
	for {
		nc, err := listener.Accept()
		if err != nil {
			cancel(err)
			running.Wait()
			if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
				return cause
			}
			return nil
		}
		running.Go(func() {
			conn := rpc.New(nc, rpc.Options{Handler: r.handle})
			closeAtEnd := context.AfterFunc(ctx, func() { conn.Close(nil) })
			defer closeAtEnd()
			conn.Wait()
		})
	}
}

// handle queues the answer behind the record.
func (r *Responder) handle(conn *rpc.Conn, request rpc.Request) {
	ok := protocol.OK()
	s := step{conn: conn, request: request}
	switch request.Message.(type) {
	case *protocol.RegisterTM:
		s.answer = &protocol.RegisterTMResult{Result: ok.Result, Identified: true, Version: protocol.SeataVersion}
	case *protocol.RegisterRM:
		s.answer = &protocol.RegisterRMResult{Result: ok.Result, Identified: true, Version: protocol.SeataVersion}
	case *protocol.GlobalBegin:
		s.answer = &protocol.GlobalBeginResult{TxResult: ok, XID: "127.0.0.1:8091:" + strconv.FormatInt(r.lastID.Add(1), 10)}
	case *protocol.BranchRegister:
		s.answer = &protocol.BranchRegisterResult{TxResult: ok, BranchID: r.lastID.Add(1)}
	case *protocol.GlobalCommit:
		s.answer = &protocol.GlobalCommitResult{TxResult: ok, Status: protocol.StatusCommitted}
	default:
		return // not a part of the load
	}
	r.enqueue(s)
}

func (r *Responder) enqueue(s step) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waiting = append(r.waiting, s)
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// write is the log writer: it makes one record of each waiting step durable,
// then answers them all.
func (r *Responder) write(ctx context.Context) error {
	var steps []step
	var records []byte
	var offset int64
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-r.wake:
		}
		r.mu.Lock()
		steps, r.waiting = r.waiting, steps[:0]
		r.mu.Unlock()
		if need := len(steps) * recordBytes; need > len(records) {
			records = make([]byte, need)
		}
		batch := records[:min(len(steps)*recordBytes, logBytes)]
		if offset+int64(len(batch)) > logBytes {
			offset = 0
		}
		if _, err := r.file.WriteAt(batch, offset); err != nil {
			return fmt.Errorf("write records: %w", err)
		}
		if err := syncData(r.file); err != nil {
			return fmt.Errorf("sync records: %w", err)
		}
		offset += int64(len(batch))
		r.records.Add(uint64(len(steps)))
		for _, s := range steps {
			r.carryOut(s)
		}
		clear(steps)
	}
}

// carryOut answers a step and, after a commit, orders phase two. A connection
// that cannot be written to is closed, and the load at its other end knows.
func (r *Responder) carryOut(s step) {
	if s.answer == nil {
		return
	}
	_ = s.conn.Reply(s.request, s.answer, nil)
	if commit, ok := s.request.Message.(*protocol.GlobalCommit); ok {
		r.order(s.conn, commit.XID)
	}
}

// order orders phase two of a transaction. The answers share one record, as in
// the coordinator.
func (r *Responder) order(conn *rpc.Conn, xid string) {
	open := new(atomic.Int64)
	open.Store(int64(r.branches))
	for range r.branches {
		conn.Go(&protocol.BranchCommit{BranchOrder: protocol.BranchOrder{
			XID: xid, BranchID: firstID, Type: protocol.TypeAT, ResourceID: Options{Mode: AT}.resourceID(),
		}}, orderTimeout, func(protocol.Message, error) {
			if open.Add(-1) == 0 {
				r.enqueue(step{})
			}
		})
	}
}
