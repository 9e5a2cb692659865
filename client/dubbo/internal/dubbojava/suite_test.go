//go:build linux

package dubbojava

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	dubboclient "dubbo.apache.org/dubbo-go/v3/client"
	"dubbo.apache.org/dubbo-go/v3/common/constant"
	"github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/client"
	"github.com/qiao-tx/qiao/client/dubbo"
	"github.com/qiao-tx/qiao/datasource"
	"github.com/qiao-tx/qiao/internal/javapeer"
	"github.com/qiao-tx/qiao/internal/testenv"
	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/xid"
	"github.com/qiao-tx/qiao/tm"
)

const (
	// classpathVariable hands the Java program over to the namespace.
	classpathVariable = "QIAO_TEST_DUBBO_CLASSPATH"
	// patience bounds every wait for something that must happen.
	patience = 60 * time.Second
	// balance is what every owner has at first, in each database.
	balance = 1000
	owners  = 100
)

// Ports of both sides, in a network that is theirs alone.
var (
	javaPorts = map[string]int{constant.DubboProtocol: 20880, constant.TriProtocol: 50051}
	goPorts   = map[string]int{constant.DubboProtocol: 20881, constant.TriProtocol: 50052}
)

// modes of the branch on the other side.
const (
	modeAT  = "AT"
	modeTCC = "TCC"
)

// world is a service in Java and one in Go, each a provider with a database of its
// own, on one coordinator. Java's is also a consumer; Go's consumer is this
// process, which has a third database.
type world struct {
	t        *testing.T
	tc       *testenv.Coordinator
	java     *javapeer.Peer
	program  javapeer.Program
	provider *provider
	app      *client.Client
	home     *sql.DB
	// books reach the databases outside of transactions, by the sides' names.
	books map[string]*sql.DB
	// services of Java's, by protocol and interface.
	services map[string]*dubboclient.Connection
	// transfers are all that were opened.
	transfers []*transfer
}

// Every story is told in one world: a JVM takes seconds to start.
func TestDubboJava(t *testing.T) {
	if !testenv.InNamespace() {
		testenv.NeedJava(t)
		classpath, err := javapeer.Compile("java", "java/src/main/java")
		require.NoError(t, err)
		program, err := testenv.BuildQiao(t.TempDir())
		require.NoError(t, err)
		testenv.RunInNamespace(t, classpathVariable+"="+classpath, testenv.QiaoVariable+"="+program)
		return
	}
	w := newWorld(t)
	for _, by := range []string{"java", "go"} {
		t.Run("begun by "+by, func(t *testing.T) { w.testPlain(t, by) })
	}
	t.Run("odd attachments", w.testOdd)
	// Before the kills: dubbo-go's calls fail as long as its pool has dead sessions.
	t.Run("outside of a transaction", w.testOutside)
	t.Run("the Go provider is killed between the phases", w.testGoKilled)
	t.Run("the coordinator is restarted between the phases", w.testRestarted)
	t.Run("the Java provider is killed between the phases", w.testJavaKilled)
	w.settle(t)
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, tc: testenv.Qiao(t, "--retry-after", "100ms", "--retry-max", "1s"), books: map[string]*sql.DB{}}
	dsns := map[string]string{}
	for _, side := range []string{"java", "go", "home"} {
		dsns[side] = w.makeBooks(side)
	}
	w.provider = startProvider(t, providerConfig{Coordinator: w.tc.Address(), DSN: dsns["go"], Ports: goPorts})
	w.program = javapeer.Program{
		Classpath: os.Getenv(classpathVariable), Main: "qiao.dubbo.Service",
		Options: []string{
			"-Dspring.datasource.url=" + jdbc(t, dsns["java"]), "-Dseata.service.grouplist.default=" + w.tc.Address(),
			"-Ddubbo.protocols.dubbo.host=" + testenv.NamespaceAddress, "-Ddubbo.protocols.tri.host=" + testenv.NamespaceAddress,
		},
	}
	w.java = javapeer.Launch(t, w.program)
	t.Cleanup(func() { w.java.Kill() }) // Dubbo takes ten seconds to end by itself
	var err error
	w.app, err = client.Open(t.Context(), client.Config{Addresses: []string{w.tc.Address()}, ApplicationID: "dubbo-go-consumer"})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, w.app.Close(context.Background())) })
	w.home, err = open(t.Context(), w.app, dsns["home"])
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, w.home.Close()) })
	w.services = map[string]*dubboclient.Connection{}
	for over := range javaPorts {
		for _, service := range []string{bankInterface, walletInterface} {
			w.services[over+service] = dial(t, over, service)
		}
	}
	return w
}

// makeBooks makes a side's database.
func (w *world) makeBooks(side string) (dsn string) {
	dsn = testenv.MariaDB(w.t)
	db, err := sql.Open("mysql", dsn)
	require.NoError(w.t, err)
	w.t.Cleanup(func() { assert.NoError(w.t, db.Close()) })
	w.books[side] = db
	require.NoError(w.t, datasource.CreateUndoTable(w.t.Context(), db, datasource.MySQL))
	ddl, err := os.ReadFile("../../../../script/client/tcc/db/mysql.sql")
	require.NoError(w.t, err)
	var rows []string
	for i := range owners {
		rows = append(rows, fmt.Sprintf("('owner%d', %d, 0)", i, balance))
	}
	statements := append(strings.Split(string(ddl), ";"),
		"CREATE TABLE account (owner VARCHAR(20) PRIMARY KEY, money BIGINT NOT NULL, held BIGINT NOT NULL)",
		"INSERT INTO account (owner, money, held) VALUES "+strings.Join(rows, ", "))
	for _, statement := range statements {
		if strings.TrimSpace(statement) != "" {
			_, err := db.ExecContext(w.t.Context(), statement)
			require.NoError(w.t, err, statement)
		}
	}
	return dsn
}

func jdbc(t *testing.T, dsn string) string {
	cfg, err := mysql.ParseDSN(dsn)
	require.NoError(t, err)
	return fmt.Sprintf("jdbc:mysql://%s/%s?user=%s&password=%s&useSSL=false&allowPublicKeyRetrieval=true",
		cfg.Addr, cfg.DBName, cfg.User, cfg.Passwd)
}

func address(over string, ports map[string]int) string {
	return fmt.Sprintf("%s://%s:%d", over, testenv.NamespaceAddress, ports[over])
}

// transfer moves money from the side that begins it to the other, whose account
// is of the same owner.
type transfer struct {
	by, over, mode string
	commit         bool
	owner          string
	xid            string
	// tx is that of a transfer which Go began.
	tx *tm.Tx
}

const amount = 10

func (f *transfer) String() string {
	end := map[bool]string{true: "committed", false: "rolled back"}[f.commit]
	return fmt.Sprintf("%s over %s, begun by %s, %s (%s)", f.mode, f.over, f.by, end, f.xid)
}

// open opens a transfer: both branches have done their first phase.
func (w *world) open(t *testing.T, by, over, mode string, commit bool) *transfer {
	t.Helper()
	f := &transfer{by: by, over: over, mode: mode, commit: commit, owner: fmt.Sprintf("owner%d", len(w.transfers))}
	require.Less(t, len(w.transfers), owners)
	w.transfers = append(w.transfers, f)
	var there string
	if by == "java" {
		a := w.java.Do(javapeer.Command{
			"op": "open", "bank": address(over, goPorts), "mode": mode, "owner": f.owner, "money": amount,
		})
		require.Empty(t, a.Error, "%s", f)
		f.xid, there, _ = strings.Cut(a.XID, " ")
	} else {
		there = w.beginInGo(t, f)
	}
	require.Equal(t, f.xid, there, "%s: the other side takes part in it", f)
	return f
}

func (w *world) beginInGo(t *testing.T, f *transfer) (there string) {
	t.Helper()
	var err error
	f.tx, err = w.app.TM().Begin(t.Context(), tm.Options{Name: "go-transfer", Timeout: 2 * time.Minute})
	require.NoError(t, err)
	f.xid = f.tx.XID()
	ctx := xid.NewContext(t.Context(), f.xid)
	require.NoError(t, one(w.home.ExecContext(ctx, "UPDATE account SET money = money - ? WHERE owner = ?", amount, f.owner)))
	if f.mode == modeTCC {
		there, err = w.call(ctx, f.over, walletInterface, "reserve", &dubbo.BusinessActionContext{}, f.owner, int64(amount))
	} else {
		there, err = w.call(ctx, f.over, bankInterface, "add", f.owner, int64(amount))
	}
	require.NoError(t, err, "%s", f)
	return there
}

// dial connects to a service of Java's. Each has a client of its own: dubbo-go's
// dials on one client write to the same options.
func dial(t *testing.T, over, service string) *dubboclient.Connection {
	t.Helper()
	options := []dubboclient.ReferenceOption{
		dubboclient.WithInterface(service), dubboclient.WithURL(address(over, javaPorts)), dubboclient.WithFilter(dubbo.ConsumerFilter),
		dubboclient.WithSerialization(constant.Hessian2Serialization),
	}
	if over == constant.TriProtocol {
		options = append(options, dubboclient.WithProtocolTriple())
	} else {
		options = append(options, dubboclient.WithProtocolDubbo())
	}
	c, err := dubboclient.NewClient(dubboclient.SetClientApplication(application()))
	require.NoError(t, err)
	conn, err := c.NewService(&withoutIDL{}, options...)
	require.NoError(t, err)
	return conn
}

// withoutIDL tells dubbo-go that a service's methods come from no IDL.
type withoutIDL struct{}

// call calls a service of Java's.
func (w *world) call(ctx context.Context, over, service, method string, args ...any) (reply string, err error) {
	err = w.services[over+service].CallUnary(ctx, args, &reply, method, dubboclient.WithCallRequestTimeout(20*time.Second))
	return reply, err
}

// end ends a transfer. The decision stands when it returns; not every branch need
// have heard of it.
func (w *world) end(t *testing.T, f *transfer) {
	t.Helper()
	switch {
	case f.by == "java":
		a := w.java.Do(javapeer.Command{"op": "close", "xid": f.xid, "fail": !f.commit})
		if f.commit {
			assert.Empty(t, a.Error, "%s", f)
		} else {
			assert.Contains(t, a.Error, "the business failed", "%s", f)
		}
	case f.commit:
		assert.NoError(t, f.tx.Commit(t.Context()), "%s", f)
	default:
		assert.NoError(t, f.tx.Rollback(t.Context()), "%s", f)
	}
}

// check waits until a transfer has its end everywhere.
func (w *world) check(t *testing.T, f *transfer) {
	t.Helper()
	payer, payee, want := "home", "java", balance
	if f.by == "java" {
		payer, payee = "java", "go"
	}
	status := protocol.StatusRollbacked
	if f.commit {
		status, want = protocol.StatusCommitted, balance-amount
	}
	var got protocol.GlobalStatus
	require.Eventually(t, func() bool {
		var err error
		got, err = w.app.TM().Status(t.Context(), f.xid)
		return err == nil && got == status
	}, patience, 10*time.Millisecond, "%s ends as %s; it is %v", f, status, &got)
	assert.Equal(t, fmt.Sprint(want, " ", 0), w.account(t, payer, f.owner), "%s: the account at %s", f, payer)
	assert.Equal(t, fmt.Sprint(2*balance-want, " ", 0), w.account(t, payee, f.owner), "%s: the account at %s", f, payee)
}

// account is the money and what is held of an owner.
func (w *world) account(t *testing.T, side, owner string) string {
	t.Helper()
	var money, held int64
	require.NoError(t, w.books[side].QueryRow("SELECT money, held FROM account WHERE owner = ?", owner).Scan(&money, &held))
	return fmt.Sprint(money, " ", held)
}

// openAll opens a transfer of every kind.
func (w *world) openAll(t *testing.T, by string) (all []*transfer) {
	t.Helper()
	for _, over := range []string{constant.DubboProtocol, constant.TriProtocol} {
		for _, mode := range []string{modeAT, modeTCC} {
			for _, commit := range []bool{true, false} {
				all = append(all, w.open(t, by, over, mode, commit))
			}
		}
	}
	return all
}

// noUndo waits until no undo record is left on a side.
func (w *world) noUndo(t *testing.T, side string) {
	t.Helper()
	assert.Eventually(t, func() bool {
		var n int
		return w.books[side].QueryRow("SELECT COUNT(*) FROM undo_log").Scan(&n) == nil && n == 0
	}, patience, 20*time.Millisecond, "no undo record is left at %s", side)
}

// settle looks through the books at the end.
func (w *world) settle(t *testing.T) {
	for side := range w.books {
		w.noUndo(t, side)
	}
	var total, held int64
	for side, db := range w.books {
		var money, holding int64
		require.NoError(t, db.QueryRow("SELECT SUM(money), SUM(held) FROM account").Scan(&money, &holding), side)
		total, held = total+money, held+holding
	}
	assert.EqualValues(t, 3*owners*balance, total, "money is neither made nor lost")
	assert.Zero(t, held, "nothing is held any more")
	for _, f := range w.transfers {
		w.check(t, f)
	}
}
