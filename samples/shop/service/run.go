package service

import (
	"context"
	"fmt"
	"time"

	"github.com/qiao-tx/qiao/client"
)

// Names are the services.
var Names = []string{"order", "stock", "account", "points"}

// Config describes one service.
type Config struct {
	// Name is one of Names.
	Name string
	// Mode is AT unless set.
	Mode Mode
	// Coordinator is the transaction coordinator's host:port.
	Coordinator string
	// Listen is the service's own host:port.
	Listen string
	// DSN is the service's own database: a MySQL DSN, or "file:" and the path of
	// a SQLite file.
	DSN string
	// Peers are where the order service finds the others.
	Peers Addresses
}

// shutdownTimeout bounds the wait for requests and orders under way.
const shutdownTimeout = 10 * time.Second

// Run is one service's whole life: connect, open the database, serve until ctx
// ends. Only the order service calls others; customers reach it over HTTP.
func Run(ctx context.Context, cfg Config, transport Transport) error {
	if _, ok := Tables()[cfg.Name]; !ok {
		return fmt.Errorf("%w: there is no service %q: want one of %v", ErrUsage, cfg.Name, Names)
	}
	c, err := client.Open(ctx, client.Config{
		Addresses:     []string{cfg.Coordinator},
		ApplicationID: "shop-" + cfg.Name,
	})
	if err != nil {
		return err
	}
	defer closing(c.Close)

	own, err := openDatabase(ctx, c, cfg.Mode, cfg.DSN)
	if err != nil {
		return err
	}
	defer own.db.Close()

	switch cfg.Name {
	case "order":
		return runOrder(ctx, cfg, c, own, transport)
	case "stock":
		take, putBack, err := change(ctx, own, stockStep(), stockAction())
		if err != nil {
			return err
		}
		return transport.Serve(ctx, cfg.Listen, Calls{Take: take, PutBack: putBack})
	case "account":
		debit, refund, err := change(ctx, own, accountStep(), accountAction())
		if err != nil {
			return err
		}
		return transport.Serve(ctx, cfg.Listen, Calls{Debit: debit, Refund: refund})
	default:
		award, revoke, err := change(ctx, own, pointsStep(), pointsAction())
		if err != nil {
			return err
		}
		return transport.Serve(ctx, cfg.Listen, Calls{Award: award, Revoke: revoke})
	}
}

// runOrder is the life of the service that begins the transactions.
func runOrder(ctx context.Context, cfg Config, c *client.Client, own database, transport Transport) error {
	calls, hangUp, err := transport.Dial(ctx, cfg.Peers)
	if err != nil {
		return err
	}
	defer hangUp()
	write, drop, err := change(ctx, own, orderStep(), orderAction())
	if err != nil {
		return err
	}
	if cfg.Mode == Saga {
		s, err := openSaga(ctx, c, own, write, drop, calls)
		if err != nil {
			return err
		}
		defer s.close()
		return serveCustomers(ctx, cfg.Listen, s.place)
	}
	s := &orderService{tm: c.TM(), write: write, calls: calls}
	return serveCustomers(ctx, cfg.Listen, s.place)
}

func closing(close func(context.Context) error) {
	ctx, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
	defer cancel()
	_ = close(ctx) // what is still open the coordinator finishes with another process
}
