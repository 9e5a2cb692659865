package coordinator

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/qiao-tx/qiao/protocol"
)

// A request that comes while Close waits for decisions under way is refused,
// and the decisions still reach those who asked for them, once each.
func TestRequestsDuringClose(t *testing.T) {
	inBubble(t, shortTimes, func(t *testing.T, b *bench) {
		x := b.begin(time.Minute)
		b.register(x, protocol.TypeTCC, "pay", "")
		b.store.close()
		rollback := b.ask(java, rollbackOf(x))
		status := b.ask(java, commitOf(x)) // waits behind it
		closed := make(chan struct{})
		go func() { b.c.Close(); close(closed) }()
		synctest.Wait()
		var late []*answer
		for i := range 20 * laneShards { // every shard gets some
			late = append(late, b.ask(java, commitOf(fmt.Sprintf("10.0.0.1:8091:%d", 1000+i))))
		}
		b.store.open()
		<-closed
		synctest.Wait()
		for _, a := range append(late, rollback, status) {
			assert.Equal(t, 1, a.times())
		}
		for _, a := range late {
			assert.Equal(t, protocol.ResultFailed, a.message().(*protocol.GlobalCommitResult).Code)
		}
	})
}
