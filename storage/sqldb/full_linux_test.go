package sqldb

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/internal/testenv"
	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/xid"
	"github.com/qiao-tx/qiao/storage"
)

// When the database's disk is full, what needs room is refused, what was acknowledged
// is there, and with room the store goes on by itself.
func TestTheDiskOfTheDatabaseIsFull(t *testing.T) {
	disk := testenv.SmallDisk(t, 400)
	t.Setenv("TMPDIR", disk.Dir)
	_, dsn := testenv.OwnMariaDB(t)
	s := open(t, Config{Type: "mariadb", DSN: dsn, CreateTables: true, Lease: time.Minute, Timeout: 5 * time.Second})
	var acknowledged []string
	one := func(id int64) error {
		x := xid.New("10.0.0.1:8091", id)
		err := s.Apply(context.Background(), &storage.Batch{XID: x, At: 1, Global: &storage.Global{ID: id, Status: protocol.StatusBegin},
			Add: []storage.Branch{{ID: id + 1, Type: protocol.TypeTCC, ResourceID: "hold", ApplicationData: strings.Repeat("x", 2000)}}})
		if err == nil {
			acknowledged = append(acknowledged, x)
		}
		return err
	}
	require.NoError(t, one(10))
	disk.Fill()
	id := int64(20)
	full := func() error {
		for ; id < 200_000; id += 10 {
			if err := one(id); err != nil {
				return err
			}
		}
		return errors.New("there was room for everything")
	}
	err := full()
	require.True(t, errors.Is(err, storage.ErrFull) || errors.Is(err, storage.ErrUnavailable) || errors.Is(err, errUnknown), "%v", err)
	t.Logf("after %d transactions: %v", len(acknowledged), err)
	disk.Free()
	require.Eventually(t, func() bool {
		id += 10
		return one(id) == nil
	}, time.Minute, 100*time.Millisecond, "it goes on when there is room")
	for _, x := range acknowledged {
		state, err := s.Load(t.Context(), x)
		require.NoError(t, err)
		require.Len(t, state.Branches, 1, x)
	}
}
