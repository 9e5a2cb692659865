package cluster

import (
	"errors"
	"fmt"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/rpc"
	"github.com/qiao-tx/qiao/server/coordinator"
)

// Forward has another node carry out a request of a client that is connected here,
// as if the client were connected there. done is called once, from any goroutine,
// with the answer and its head map; it must not block, nor does Forward. The answer
// is in the words of the newest version: putting it into the client's is for
// whoever holds the client. After an error, Unsent tells what may be done.
func (m *Mesh) Forward(node string, from coordinator.Caller, request protocol.Message, head map[string]string,
	done func(answer protocol.Message, head map[string]string, err error),
) {
	m.mu.RLock()
	l := m.links[node]
	m.mu.RUnlock()
	if l == nil {
		done(nil, nil, fmt.Errorf("%w: %s is not listed", ErrNotLinked, node))
		return
	}
	conn := l.conn.Load()
	if conn == nil {
		done(nil, nil, fmt.Errorf("%w: %s", ErrNotLinked, node))
		return
	}
	m.stats.forwarded.Add(1)
	conn.Ask(request, forwarded(&from, head), m.cfg.ForwardTimeout, func(r rpc.Response, err error) {
		if err != nil {
			err = fmt.Errorf("node %s: %w", node, err)
		}
		done(r.Message, r.Head, err)
	})
}

// Unsent tells of an error of Forward that the request certainly did not leave, so
// that any request may be given to another node. Otherwise the node may have carried
// it out.
func Unsent(err error) bool {
	return errors.Is(err, ErrNotLinked) || rpc.SafeToRetry(err)
}
