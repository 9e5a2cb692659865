package dubbo_test

import (
	"context"
	"database/sql"
	"errors"
	"io"
	"path/filepath"
	"testing"
	"time"

	"dubbo.apache.org/dubbo-go/v3/protocol/triple/triple_protocol"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/wrapperspb"
	_ "modernc.org/sqlite"

	qiao "github.com/qiao-tx/qiao/client"
	"github.com/qiao-tx/qiao/datasource"
	"github.com/qiao-tx/qiao/datasource/schema"
	"github.com/qiao-tx/qiao/server/servertest"
	"github.com/qiao-tx/qiao/tm"
)

// service is one application with a database of its own.
type service struct {
	t *testing.T
	*qiao.Client
	// db takes part in global transactions, plain does not.
	db, plain *sql.DB
}

func newService(t *testing.T, coordinator, name string, ddl ...string) *service {
	t.Helper()
	c, err := qiao.Open(t.Context(), qiao.Config{Addresses: []string{coordinator}, ApplicationID: name})
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
		defer cancel()
		require.NoError(t, c.Close(ctx))
	})
	dsn := "file:" + filepath.Join(t.TempDir(), name+".db") + "?_pragma=journal_mode(wal)&_pragma=busy_timeout(10000)"
	plain, err := sql.Open("sqlite", dsn)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, plain.Close()) })
	require.NoError(t, datasource.CreateUndoTable(t.Context(), plain, schema.SQLite))
	for _, statement := range ddl {
		_, err := plain.ExecContext(t.Context(), statement)
		require.NoError(t, err, statement)
	}
	db, err := datasource.Open(t.Context(), c.RM(), datasource.Config{Driver: "sqlite", DSN: dsn})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return &service{t, c, db, plain}
}

func (s *service) number(query string, args ...any) (n int) {
	s.t.Helper()
	require.NoError(s.t, s.plain.QueryRowContext(s.t.Context(), query, args...).Scan(&n), query)
	return n
}

func (s *service) run(fn func(ctx context.Context) error) error {
	return s.TM().Run(s.t.Context(), tm.Options{Name: s.t.Name(), Timeout: 30 * time.Second}, fn)
}

const ordersDDL = "CREATE TABLE orders (id INTEGER PRIMARY KEY, item TEXT NOT NULL, n INTEGER NOT NULL)"

func stockDDL() []string {
	return []string{"CREATE TABLE stock (item TEXT PRIMARY KEY, n INTEGER NOT NULL)", "INSERT INTO stock VALUES ('hat', 10)"}
}

// Stock is a service under AT.
type Stock struct{ db *sql.DB }

func (s *Stock) Take(ctx context.Context, item string, n int32) (int64, error) {
	result, err := s.db.ExecContext(ctx, "UPDATE stock SET n = n - ? WHERE item = ?", n, item)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

var errStop = errors.New("stop")

// The consumer begins and writes, the provider writes: both or neither.
func TestAT(t *testing.T) {
	onEachTransport(t, func(t *testing.T, p transport) {
		coordinator := servertest.Start(t)
		orders := newService(t, coordinator, "orders", ordersDDL)
		stock := newService(t, coordinator, "stock", stockDDL()...)
		remote := p.dial(t, p.serve(t, &Stock{stock.db}, nil))
		order := func(id int, outcome error) error {
			return orders.run(func(ctx context.Context) error {
				if _, err := orders.db.ExecContext(ctx, "INSERT INTO orders VALUES (?, 'hat', 3)", id); err != nil {
					return err
				}
				var changed int64
				if err := remote.call(ctx, &changed, "Take", "hat", int32(3)); err != nil {
					return err
				}
				assert.EqualValues(t, 1, changed)
				assert.Equal(t, 1, stock.number("SELECT COUNT(*) FROM undo_log"), "the provider takes part")
				return outcome
			})
		}
		require.NoError(t, order(1, nil))
		assert.Equal(t, 7, stock.number("SELECT n FROM stock"))
		require.Eventually(t, func() bool { return stock.number("SELECT COUNT(*) FROM undo_log") == 0 }, 10*time.Second, 5*time.Millisecond,
			"phase two has not come")

		require.ErrorIs(t, order(2, errStop), errStop)
		assert.Equal(t, 7, stock.number("SELECT n FROM stock"))
		assert.Equal(t, 1, orders.number("SELECT COUNT(*) FROM orders"))
		assert.Equal(t, 0, stock.number("SELECT COUNT(*) FROM undo_log"))
	})
}

// A stream that breaks, at either end, rolls back what its handler had done for
// earlier messages.
func TestAStreamThatIsCut(t *testing.T) {
	coordinator := servertest.Start(t)
	orders := newService(t, coordinator, "orders")
	stock := newService(t, coordinator, "stock", stockDDL()...)
	waiting, ended := make(chan struct{}), make(chan struct{})
	conn := talker(t, &Talker{func(ctx context.Context, w string) (string, error) {
		switch w {
		case "fail":
			return "", errStop
		case "wait": // for the caller to go away
			waiting <- struct{}{}
			<-ctx.Done()
			close(ended)
			return "", ctx.Err()
		}
		_, err := (&Stock{stock.db}).Take(ctx, "hat", 1)
		return "taken", err
	}})
	twice := func(ctx context.Context) *triple_protocol.BidiStreamForClient {
		talk := open(ctx, t, conn)
		for range 2 {
			answer, err := say(talk, "take")
			require.NoError(t, err)
			require.Equal(t, "taken", answer)
		}
		return talk
	}
	left := func() int { return stock.number("SELECT n FROM stock") }

	t.Run("whole", func(t *testing.T) {
		require.NoError(t, orders.run(func(ctx context.Context) error {
			s := twice(ctx)
			require.NoError(t, s.CloseRequest())
			require.ErrorIs(t, s.Receive(new(word)), io.EOF)
			return s.CloseResponse()
		}))
		assert.Equal(t, 8, left())
	})
	t.Run("by the provider", func(t *testing.T) {
		err := orders.run(func(ctx context.Context) error {
			s := twice(ctx)
			assert.Equal(t, 6, left())
			require.NoError(t, s.Send(wrapperspb.String("fail")))
			err := s.Receive(new(word))
			_ = s.CloseRequest()
			_ = s.CloseResponse()
			return err
		})
		require.ErrorContains(t, err, "stop")
		assert.Equal(t, 8, left())
	})
	t.Run("by the consumer", func(t *testing.T) {
		err := orders.run(func(ctx context.Context) error {
			ctx, cancel := context.WithCancel(ctx)
			s := twice(ctx)
			require.NoError(t, s.Send(wrapperspb.String("wait")))
			<-waiting
			cancel()
			// dubbo-go tells the provider when the stream is used again, not before.
			err := s.Receive(new(word))
			<-ended // the handler's context has ended too
			return err
		})
		require.Error(t, err)
		assert.Equal(t, 8, left())
	})
}
