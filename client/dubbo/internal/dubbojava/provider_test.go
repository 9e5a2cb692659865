//go:build linux

package dubbojava

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	_ "dubbo.apache.org/dubbo-go/v3/cluster/cluster/failover"
	_ "dubbo.apache.org/dubbo-go/v3/cluster/loadbalance/random"
	"dubbo.apache.org/dubbo-go/v3/common/constant"
	_ "dubbo.apache.org/dubbo-go/v3/filter/accesslog"
	_ "dubbo.apache.org/dubbo-go/v3/filter/echo"
	_ "dubbo.apache.org/dubbo-go/v3/filter/exec_limit"
	_ "dubbo.apache.org/dubbo-go/v3/filter/generic"
	_ "dubbo.apache.org/dubbo-go/v3/filter/graceful_shutdown"
	_ "dubbo.apache.org/dubbo-go/v3/filter/token"
	_ "dubbo.apache.org/dubbo-go/v3/filter/tps"
	"dubbo.apache.org/dubbo-go/v3/global"
	"dubbo.apache.org/dubbo-go/v3/protocol"
	_ "dubbo.apache.org/dubbo-go/v3/protocol/dubbo"
	_ "dubbo.apache.org/dubbo-go/v3/protocol/triple"
	_ "dubbo.apache.org/dubbo-go/v3/proxy/proxy_factory"
	"dubbo.apache.org/dubbo-go/v3/server"
	_ "github.com/go-sql-driver/mysql" // the driver of the databases
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/client"
	"github.com/qiao-tx/qiao/client/dubbo"
	"github.com/qiao-tx/qiao/datasource"
	"github.com/qiao-tx/qiao/internal/testenv"
	"github.com/qiao-tx/qiao/protocol/xid"
	"github.com/qiao-tx/qiao/rm/tcc"
	"github.com/qiao-tx/qiao/rm/tcc/fence"
)

// The Java interfaces that both sides provide.
const (
	bankInterface   = "qiao.dubbo.Bank"
	walletInterface = "qiao.dubbo.Wallet"
)

// providerConfig is what a provider's process is told.
type providerConfig struct {
	Coordinator, DSN string
	// Ports of the protocols dubbo and tri.
	Ports map[string]int
}

// provide is the Go provider: a bank and a wallet on a database, over both
// protocols. It says when it serves, and ends with its input.
func provide(config string) int {
	err := func() error {
		var cfg providerConfig
		if err := json.Unmarshal([]byte(config), &cfg); err != nil {
			return err
		}
		ctx := context.Background()
		app, err := client.Open(ctx, client.Config{Addresses: []string{cfg.Coordinator}, ApplicationID: "dubbo-go"})
		if err != nil {
			return err
		}
		accounts, err := open(ctx, app, cfg.DSN)
		if err != nil {
			return err
		}
		wallet, err := newWallet(ctx, app, cfg.DSN)
		if err != nil {
			return err
		}
		ended, err := serve(cfg.Ports, &Bank{accounts}, wallet)
		if err != nil {
			return err
		}
		go func() { // ends with the input, and the process with it
			_, err := io.Copy(io.Discard, os.Stdin)
			ended <- err
		}()
		if err := listening(cfg.Ports, ended); err != nil {
			return err
		}
		fmt.Println("ready")
		return <-ended
	}()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func open(ctx context.Context, app *client.Client, dsn string) (*sql.DB, error) {
	return datasource.Open(ctx, app.RM(), datasource.Config{Driver: "mysql", DSN: dsn})
}

// Bank is AT. (dubbo-go publishes exported types only.)
type Bank struct{ db *sql.DB }

// Add adds money in the caller's transaction and returns its XID.
func (b *Bank) Add(ctx context.Context, owner string, money int64) (string, error) {
	if err := one(b.db.ExecContext(ctx, "UPDATE account SET money = money + ? WHERE owner = ?", money, owner)); err != nil {
		return "", fmt.Errorf("account of %s: %w", owner, err)
	}
	return b.Xid(ctx)
}

// Xid returns the transaction of the call, "null" outside of one, as Java does.
func (b *Bank) Xid(ctx context.Context) (string, error) {
	if x := xid.FromContext(ctx); x != "" {
		return x, nil
	}
	return "null", nil
}

func one(result sql.Result, err error) error {
	if err != nil {
		return err
	}
	if n, err := result.RowsAffected(); err != nil || n != 1 {
		return fmt.Errorf("%d rows are changed: %w", n, err)
	}
	return nil
}

// Wallet is TCC: what is held joins the money when it is confirmed.
type Wallet struct{ action *tcc.Handle[deposit] }

type deposit struct {
	Owner string `json:"owner"`
	Money int64  `json:"money"`
}

func newWallet(ctx context.Context, app *client.Client, dsn string) (*Wallet, error) {
	db, err := sql.Open("mysql", dsn)
	if err != nil {
		return nil, err
	}
	records, err := fence.New(db, "")
	if err != nil {
		return nil, err
	}
	phase := func(statement string) func(context.Context, *sql.Tx, deposit) error {
		return func(ctx context.Context, tx *sql.Tx, d deposit) error {
			return one(tx.ExecContext(ctx, strings.ReplaceAll(statement, "@", fmt.Sprint(d.Money)), d.Owner))
		}
	}
	action, err := tcc.Register(ctx, app.RM(), fence.Guard(records, fence.Action[deposit]{
		Name:    "wallet-of-go",
		Try:     phase("UPDATE account SET held = held + @ WHERE owner = ?"),
		Confirm: phase("UPDATE account SET money = money + @, held = held - @ WHERE owner = ?"),
		Cancel:  phase("UPDATE account SET held = held - @ WHERE owner = ?"),
	}))
	return &Wallet{action}, err
}

// Reserve is the try.
func (w *Wallet) Reserve(ctx context.Context, c *dubbo.BusinessActionContext, owner string, money int64) (string, error) {
	if err := dubbo.Try(ctx, w.action, c, deposit{owner, money}); err != nil {
		return "", err
	}
	return xid.FromContext(ctx), nil
}

// application keeps dubbo-go from looking for a registry.
func application() *global.ApplicationConfig {
	return &global.ApplicationConfig{Name: "dubbo-go", MetadataType: constant.RemoteMetadataStorageType}
}

// serve publishes both services over both protocols; the channel tells the end.
func serve(ports map[string]int, b *Bank, w *Wallet) (ended chan error, err error) {
	at := func(p protocol.Option, name string) server.ServerOption {
		return server.WithServerProtocol(p.(protocol.ServerOption),
			protocol.WithIp(testenv.NamespaceAddress), protocol.WithPort(ports[name]))
	}
	s, err := server.NewServer(server.SetServerApplication(application()),
		at(protocol.WithDubbo(), constant.DubboProtocol), at(protocol.WithTriple(), constant.TriProtocol))
	if err != nil {
		return nil, err
	}
	for name, service := range map[string]any{bankInterface: b, walletInterface: w} {
		if err := s.RegisterService(service, server.WithInterface(name), server.WithFilter(dubbo.ProviderFilters),
			server.WithSerialization(constant.Hessian2Serialization)); err != nil {
			return nil, err
		}
	}
	ended = make(chan error, 2)
	go func() { ended <- s.Serve() }()
	return ended, nil
}

// listening returns when both protocols answer: dubbo-go does not say.
func listening(ports map[string]int, ended chan error) error {
	for name := range ports {
		for {
			conn, err := net.Dial("tcp", net.JoinHostPort(testenv.NamespaceAddress, fmt.Sprint(ports[name])))
			if err == nil {
				if err := conn.Close(); err != nil {
					return err
				}
				break
			}
			select {
			case err := <-ended:
				return fmt.Errorf("the server ended: %w", err)
			case <-time.After(5 * time.Millisecond):
			}
		}
	}
	return nil
}

// provider is a Go provider's process.
type provider struct {
	t      *testing.T
	config providerConfig
	cmd    *exec.Cmd
	log    bytes.Buffer
}

func startProvider(t *testing.T, cfg providerConfig) *provider {
	p := &provider{t: t, config: cfg}
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("log of the Go provider:\n%s", p.log.String())
		}
	})
	p.start()
	return p
}

func (p *provider) start() {
	p.t.Helper()
	text, err := json.Marshal(p.config)
	require.NoError(p.t, err)
	p.cmd = exec.Command(os.Args[0])
	p.cmd.Env = append(os.Environ(), providerVariable+"="+string(text))
	p.cmd.Stderr = &p.log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	_, err = p.cmd.StdinPipe()
	require.NoError(p.t, err)
	stdout, err := p.cmd.StdoutPipe()
	require.NoError(p.t, err)
	require.NoError(p.t, p.cmd.Start())
	for lines := bufio.NewReader(stdout); ; { // dubbo-go writes its log there
		line, err := lines.ReadString('\n')
		require.NoError(p.t, err, "the Go provider does not get ready")
		if line == "ready\n" {
			return
		}
	}
}

// kill is kill -9.
func (p *provider) kill() {
	_ = p.cmd.Process.Kill() // fails only when it has ended
	_ = p.cmd.Wait()
}
