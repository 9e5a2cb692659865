package cluster

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync/atomic"
	"time"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/frame"
	"github.com/qiao-tx/qiao/protocol/rpc"
)

const (
	// dialTimeout bounds the opening of a link, with the introduction.
	dialTimeout = 5 * time.Second
	// retryMin is the first pause between attempts; each further one is twice as long.
	retryMin = 50 * time.Millisecond
	// heartbeat is when a silent link is written to, so that the far end, which may
	// close a connection that is silent for some seconds, does not; linkIdle is when
	// its near end gives up a far end that answers none.
	heartbeat = time.Second
	linkIdle  = 10 * time.Second
)

// link is this node's way to another one.
type link struct {
	mesh    *Mesh
	address string
	end     context.CancelFunc
	// retry has a value when the node was heard of: a pause may end.
	retry chan struct{}
	// conn is nil while the node cannot be reached.
	conn atomic.Pointer[rpc.Conn]
}

// run keeps the link until ctx ends.
func (l *link) run(ctx context.Context) {
	logger := l.mesh.cfg.Logger.With("node", l.address)
	told := false // that the node cannot be reached
	for pause := retryMin; ; pause = min(2*pause, l.mesh.cfg.RetryMax) {
		up := false
		err := l.serve(ctx, func() {
			up, told, pause = true, false, retryMin
			logger.Info("linked to another coordinator")
		})
		switch {
		case ctx.Err() != nil:
			return
		case up:
			logger.Warn("the link to another coordinator ended; trying again", "reason", err)
			told = true
		case !told:
			logger.Warn("cannot link to another coordinator, whose clients get no orders of this one until then; trying again", "reason", err)
			told = true
		}
		timer := time.NewTimer(pause/2 + rand.N(pause/2+1))
		select {
		case <-ctx.Done():
		case <-l.retry:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// heard ends a pause: the node is there again.
func (l *link) heard() {
	select {
	case l.retry <- struct{}{}:
	default:
	}
}

// serve opens the link, calls up, and returns why it ended.
func (l *link) serve(ctx context.Context, up func()) error {
	dialing, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	nc, err := new(net.Dialer).DialContext(dialing, "tcp", l.address)
	if err != nil {
		return err
	}
	a := &announcer{mesh: l.mesh, announced: make(map[uint64]*announced)}
	// In frames of version 2 a refusal has room for its reason.
	conn := rpc.New(nc, rpc.Options{Handler: a.order, WriteIdle: heartbeat, ReadIdle: linkIdle, Version: frame.V2})
	defer conn.Wait()
	defer conn.Close(nil)
	if err := l.introduce(dialing, conn); err != nil {
		return err
	}
	l.conn.Store(conn)
	defer l.conn.Store(nil)
	up()
	err = a.announce(ctx, conn)
	if errors.Is(err, rpc.ErrClosed) {
		return conn.Err()
	}
	return err
}

// introduce tells the far end whose link it is, and makes sure of who it is.
func (l *link) introduce(ctx context.Context, conn *rpc.Conn) error {
	hello := &protocol.RegisterTM{Identity: protocol.Identity{
		Version: protocol.SeataVersion, ApplicationID: "qiao", Group: "qiao",
	}}
	r, err := conn.Call(ctx, hello, map[string]string{
		HeadNode: l.mesh.cfg.Address, HeadMeant: l.address, headLevel: level,
	})
	if err != nil {
		return err
	}
	result, ok := r.Message.(*protocol.RegisterTMResult)
	switch {
	case !ok:
		return fmt.Errorf("a link was answered with %T: is the port another program's?", r.Message)
	case !result.Identified || result.Code != protocol.ResultSuccess:
		return fmt.Errorf("it refuses the link: %s", result.Message)
	case r.Head[HeadNode] != l.address:
		return errors.New("it takes this node for a client: a coordinator of another kind or version has the address")
	}
	return nil
}
