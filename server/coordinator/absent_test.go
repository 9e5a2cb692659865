package coordinator

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/protocol"
)

// A resource manager that was slow once, and never went away, leaves nothing
// behind when the transaction has ended.
func TestWhatEndedWaitsForNoResource(t *testing.T) {
	inBubble(t, shortTimes, func(t *testing.T, b *bench) {
		x := b.begin(time.Minute)
		b.register(x, protocol.TypeAT, "db", "t:1")
		b.rms.answerWith(func(o *ordered) { o.answer(nil, errors.New("busy")) })
		b.ask(java, commitOf(x))
		assert.Contains(t, b.c.due.absent, "db")
		b.rms.answerWith((*ordered).done)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		require.Equal(t, protocol.StatusCommitted, b.status(x))
		assert.Empty(t, b.c.due.absent)
	})
}
