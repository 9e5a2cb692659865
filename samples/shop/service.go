package shop

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	_ "github.com/go-sql-driver/mysql" // the driver "mysql"
	_ "modernc.org/sqlite"             // the driver "sqlite"

	"github.com/qiao-tx/qiao/client"
	qiaohttp "github.com/qiao-tx/qiao/client/http"
	"github.com/qiao-tx/qiao/datasource"
)

// Config describes one service.
type Config struct {
	// Name is "order", "stock" or "account".
	Name string
	// Coordinator is the transaction coordinator's host:port.
	Coordinator string
	// Listen is the service's own host:port.
	Listen string
	// DSN is the service's own database: a MySQL DSN, or "file:" and the path of
	// a SQLite file.
	DSN string
	// StockURL and AccountURL are where the order service finds the others.
	StockURL, AccountURL string
}

// ErrNoService: Config.Name is none of the services.
var ErrNoService = errors.New("there is no service")

// shutdownTimeout bounds the wait for requests and orders under way.
const shutdownTimeout = 10 * time.Second

// Run is one service's whole life: connect, open the database, serve until ctx ends.
func Run(ctx context.Context, cfg Config) error {
	if _, ok := Tables()[cfg.Name]; !ok {
		return fmt.Errorf("%w %q: want order, stock or account", ErrNoService, cfg.Name)
	}
	c, err := client.Open(ctx, client.Config{
		Addresses:     []string{cfg.Coordinator},
		ApplicationID: cfg.Name,
	})
	if err != nil {
		return err
	}
	defer closing(c.Close)

	db, err := openDatabase(ctx, c, cfg.DSN)
	if err != nil {
		return err
	}
	defer db.Close()

	var routes http.Handler
	switch cfg.Name {
	case "order":
		// The Transport takes the transaction along to the services called.
		web := &http.Client{Transport: &qiaohttp.Transport{Base: transport()}}
		s := &orderService{tm: c.TM(), db: db, stock: peer{cfg.StockURL, web}, account: peer{cfg.AccountURL, web}}
		routes = s.routes()
	case "stock":
		routes = (&stockService{db}).routes()
	case "account":
		routes = (&accountService{db}).routes()
	}
	// The Middleware lets handlers take part in the caller's transaction.
	mux := http.NewServeMux()
	mux.Handle("/", qiaohttp.Middleware(routes, qiaohttp.Config{}))
	mux.HandleFunc("GET /health", func(http.ResponseWriter, *http.Request) {})
	return serve(ctx, cfg.Listen, mux)
}

// openDatabase opens a database whose statements take part in global
// transactions. Nothing else in the services knows that they do.
func openDatabase(ctx context.Context, c *client.Client, dsn string) (*sql.DB, error) {
	driver := "mysql"
	if strings.HasPrefix(dsn, "file:") {
		driver = "sqlite"
	}
	return datasource.Open(ctx, c.RM(), datasource.Config{Driver: driver, DSN: dsn})
}

func closing(close func(context.Context) error) {
	ctx, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
	defer cancel()
	_ = close(ctx) // what is still open the coordinator finishes with another process
}

// serve answers on the address until ctx ends and requests under way are done.
func serve(ctx context.Context, address string, handler http.Handler) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second}
	stopped := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
		defer cancel()
		stopped <- server.Shutdown(ctx)
	})
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		stop()
		return err
	}
	return <-stopped
}

// transport keeps enough connections for many orders at once.
func transport() *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.MaxIdleConnsPerHost = 256
	return t
}
