package load

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/frame"
	"github.com/qiao-tx/qiao/protocol/native"
)

const (
	// recordBytes is about what a coordinator writes for one step.
	recordBytes = 150
	// logBytes is the size of the responder's file, made in advance and written
	// round and round, as a log writes into segments made in advance.
	logBytes = 64 << 20
	// bareXID has the length of a real one.
	bareXID = "127.0.0.1:8091:2612341069705662466"
)

// Responder answers the load's requests in the right form and with nothing
// behind it: no state, no locks, no decoding. Like a durable coordinator it
// answers begin, register and commit only when a record of the step is on the
// disk, and one write and one fsync carry all records that wait. What it
// reaches is what this machine can do at best for the same round trips.
type Responder struct {
	file     *os.File
	branches int
	replies  map[protocol.TypeCode][]byte
	order    []byte // a BranchCommit, to be sent once for each branch

	records atomic.Uint64

	mu      sync.Mutex
	waiting []step
	wake    chan struct{} // capacity 1
}

// step is a request that waits for its record.
type step struct {
	from *bareConn
	kind protocol.TypeCode
	id   int32
}

// bareConn is one connection of a Responder. Only the log writer writes to it.
type bareConn struct {
	net.Conn
	out     []byte
	orders  int32 // ids of orders
	answers int   // of orders, since the last record of an end
}

// NewResponder makes a responder that keeps its records in the file and orders
// phase two for so many branches of each transaction.
func NewResponder(file *os.File, branches int) (*Responder, error) {
	if _, err := file.WriteAt(make([]byte, logBytes), 0); err != nil {
		return nil, fmt.Errorf("make the file: %w", err)
	}
	r := &Responder{file: file, branches: branches, wake: make(chan struct{}, 1), replies: map[protocol.TypeCode][]byte{}}
	ok := protocol.OK()
	registered := protocol.RegisterTMResult{Result: ok.Result, Identified: true, Version: protocol.SeataVersion}
	for request, reply := range map[protocol.TypeCode]protocol.Message{
		protocol.TypeRegisterTM:     &registered,
		protocol.TypeRegisterRM:     (*protocol.RegisterRMResult)(&registered),
		protocol.TypeGlobalBegin:    &protocol.GlobalBeginResult{TxResult: ok, XID: bareXID},
		protocol.TypeBranchRegister: &protocol.BranchRegisterResult{TxResult: ok, BranchID: 2612341069705662467},
		protocol.TypeGlobalCommit:   &protocol.GlobalCommitResult{TxResult: ok, Status: protocol.StatusCommitted},
	} {
		b, err := encode(frame.Response, reply)
		if err != nil {
			return nil, err
		}
		r.replies[request] = b
	}
	var err error
	r.order, err = encode(frame.Request, &protocol.BranchCommit{BranchOrder: protocol.BranchOrder{
		XID: bareXID, BranchID: 2612341069705662467, Type: protocol.TypeAT, ResourceID: Options{Mode: AT}.resourceID(),
	}})
	return r, err
}

func encode(messageType byte, m protocol.Message) ([]byte, error) {
	body, err := native.Append(nil, m)
	if err != nil {
		return nil, err
	}
	return frame.Append(nil, &frame.Frame{MessageType: messageType, Codec: 1, Body: body})
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
			closeAtEnd := context.AfterFunc(ctx, func() { nc.Close() })
			defer closeAtEnd()
			defer nc.Close()
			r.read(&bareConn{Conn: nc})
		})
	}
}

// read queues the connection's requests until it ends, for whatever reason:
// the load at the other end knows it.
func (r *Responder) read(c *bareConn) {
	in := bufio.NewReaderSize(c, 64<<10)
	for {
		header, err := in.Peek(frame.HeaderLen)
		if err != nil {
			return
		}
		n, err := frame.Length(header, in.Size())
		if err != nil {
			return
		}
		b, err := in.Peek(n)
		if err != nil {
			return
		}
		r.receive(c, b)
		if _, err := in.Discard(n); err != nil {
			return
		}
	}
}

// receive looks at nothing but the type and the id of a frame.
func (r *Responder) receive(c *bareConn, b []byte) {
	body := int(binary.BigEndian.Uint16(b[7:]))
	s := step{from: c, id: int32(binary.BigEndian.Uint32(b[12:]))}
	if messageType := b[9]; (messageType != frame.Request && messageType != frame.Response) || len(b) < body+2 {
		return // a heartbeat: the load does not mind a server that is silent
	}
	s.kind = protocol.TypeCode(binary.BigEndian.Uint16(b[body:]))
	if s.kind == protocol.TypeBranchCommitResult {
		// The answers of one transaction share a record, as in the coordinator.
		if c.answers++; c.answers < r.branches {
			return
		}
		c.answers = 0
	}
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
		r.answer(steps)
	}
}

// answer sends what the steps bring, one write for each connection.
func (r *Responder) answer(steps []step) {
	for _, s := range steps {
		c := s.from
		c.out = appendFrame(c.out, r.replies[s.kind], s.id)
		if s.kind == protocol.TypeGlobalCommit {
			for range r.branches {
				c.orders++
				c.out = appendFrame(c.out, r.order, c.orders)
			}
		}
	}
	for _, s := range steps {
		if c := s.from; len(c.out) > 0 {
			if _, err := c.Write(c.out); err != nil {
				c.Close()
			}
			c.out = c.out[:0]
		}
	}
}

// appendFrame appends a prepared frame with the id; none for a step that needs
// no answer.
func appendFrame(dst, prepared []byte, id int32) []byte {
	if prepared == nil {
		return dst
	}
	start := len(dst)
	dst = append(dst, prepared...)
	binary.BigEndian.PutUint32(dst[start+12:], uint32(id))
	return dst
}
