package gateway

import (
	"sync/atomic"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/rpc"
	"github.com/qiao-tx/qiao/server/peers"
)

// Versions from which Seata's clients take other answers to a merged request.
var (
	versionBatch  = peers.NewVersion(1, 5, 0)
	versionSingle = peers.NewVersion(2, 3, 0)
)

// merged carries out the requests of one frame, all at once. Each client gets
// the answers in the form it can read: one for each request, since 2.3.0; all in
// a BatchResult, if the server is told to and the client knows it; else all in
// a MergedResult, in the order of the requests.
func (s *session) merged(id *peers.Identity, r rpc.Request, m *protocol.Merged) {
	withIDs := len(m.IDs) == len(m.Messages)
	if withIDs && id.Version >= versionSingle {
		for i, part := range m.Messages {
			to := r
			to.ID = m.IDs[i]
			s.part(id, part, func(answer protocol.Message, head map[string]string) { s.reply(to, answer, head) })
		}
		return
	}
	whole := func(answers []protocol.Message) protocol.Message { return &protocol.MergedResult{Messages: answers} }
	if withIDs && id.Version >= versionBatch && s.server.cfg.BatchResponses {
		whole = func(answers []protocol.Message) protocol.Message {
			return &protocol.BatchResult{Messages: answers, IDs: m.IDs}
		}
	}
	if len(m.Messages) == 0 {
		s.reply(r, whole(nil), nil)
		return
	}
	answers := make([]protocol.Message, len(m.Messages))
	var missing atomic.Int64
	missing.Store(int64(len(answers)))
	for i, part := range m.Messages {
		s.part(id, part, func(answer protocol.Message, _ map[string]string) {
			answers[i] = answer
			if missing.Add(-1) == 0 {
				s.reply(r, whole(answers), nil)
			}
		})
	}
}

// part has one request of a merged one carried out. It gets nothing of the
// frame's head map, which is about the frame.
func (s *session) part(id *peers.Identity, m protocol.Message, reply func(protocol.Message, map[string]string)) {
	if !s.request(id, m, nil, reply) {
		s.refuse(errNoRequest, m)
	}
}
