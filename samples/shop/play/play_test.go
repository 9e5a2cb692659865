//go:build linux

package play_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/qiao-tx/qiao/internal/child"
	"github.com/qiao-tx/qiao/internal/testenv"
	"github.com/qiao-tx/qiao/samples/shop/play"
	"github.com/qiao-tx/qiao/samples/shop/service"
)

var binaries string // the directory of what is built

func TestMain(m *testing.M) {
	var err error
	if binaries, err = os.MkdirTemp("", "qiao-shop-test-"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if err := os.RemoveAll(binaries); err != nil {
			panic(err)
		}
		os.Exit(code)
	}))
}

// The programs are built once for all tests; Java's only where there is a JDK.
var (
	goPrograms = sync.OnceValues(func() (play.Programs, error) {
		return play.Build(context.Background(), binaries, play.Config{RPC: "dubbo"})
	})
	allPrograms = sync.OnceValues(func() (play.Programs, error) {
		return play.Build(context.Background(), binaries, play.Config{RPC: "dubbo", Java: service.Names})
	})
)

// mix is a shop of the matrix.
type mix struct {
	rpc  string
	mode service.Mode
	java string
	kill bool
}

func (m mix) String() string {
	name := m.rpc + " " + string(m.mode)
	if m.java != "" {
		name += " java " + m.java
	}
	return name
}

// A Java service is called by Go, and calls Go, over everything and in every mode.
func TestGoAndJavaInOneTransaction(t *testing.T) {
	testenv.NeedJava(t)
	programs, err := allPrograms()
	require.NoError(t, err)
	for _, m := range []mix{
		{"http", service.AT, "stock", true}, {"http", service.AT, "order", false},
		{"http", service.TCC, "stock,points", false}, {"http", service.TCC, "order", true},
		{"grpc", service.AT, "stock,account", false}, {"grpc", service.AT, "order", false},
		{"grpc", service.TCC, "stock", false}, {"grpc", service.TCC, "order", false},
		{"http", service.XA, "stock", true}, {"grpc", service.XA, "order", false},
		{"http", service.Saga, "stock,account,points", true},
	} {
		t.Run(m.String(), func(t *testing.T) {
			m.run(t, programs, testenv.MariaDB(t))
		})
	}
}

// programsVariable hands what was built over to the namespace.
const programsVariable = "QIAO_TEST_SHOP_PROGRAMS"

// Dubbo in Java does not listen on loopback addresses: the test runs a second time
// in a network of its own.
func TestGoAndJavaOverDubbo(t *testing.T) {
	var programs play.Programs
	if built := os.Getenv(programsVariable); built != "" {
		require.NoError(t, json.Unmarshal([]byte(built), &programs))
		for _, m := range []mix{
			{"dubbo", service.AT, "stock", false}, {"dubbo", service.TCC, "order", true},
			{"triple", service.AT, "order", false}, {"triple", service.TCC, "stock", true},
			{"dubbo", service.XA, "order", false}, {"triple", service.XA, "stock", false},
		} {
			t.Run(m.String(), func(t *testing.T) { m.run(t, programs, testenv.MariaDB(t)) })
		}
		return
	}
	testenv.NeedJava(t)
	programs, err := allPrograms()
	require.NoError(t, err)
	built, err := json.Marshal(programs)
	require.NoError(t, err)
	var out bytes.Buffer
	again := exec.CommandContext(t.Context(), os.Args[0], "-test.v", "-test.count=1", "-test.run=^"+t.Name()+"$")
	again.Env = append(os.Environ(), programsVariable+"="+string(built))
	again.Stdout, again.Stderr = &out, &out
	err = child.Isolated(again)
	if errors.Is(err, child.ErrNotIsolated) {
		testenv.Missing(t, "a network namespace", err.Error())
	}
	require.NoError(t, err, "%s", &out)
	require.Contains(t, out.String(), "--- PASS: "+t.Name(), "%s", &out)
}

// XA needs a server, also without Java.
func TestGoAloneUnderXA(t *testing.T) {
	programs, err := goPrograms()
	require.NoError(t, err)
	m := mix{"http", service.XA, "", true}
	m.run(t, programs, testenv.MariaDB(t))
}

// Go alone needs no server.
func TestGoAlone(t *testing.T) {
	programs, err := goPrograms()
	require.NoError(t, err)
	for _, m := range []mix{
		{"http", service.AT, "", true}, {"http", service.TCC, "", true},
		{"grpc", service.AT, "", false}, {"grpc", service.TCC, "", true},
		{"dubbo", service.AT, "", true}, {"dubbo", service.TCC, "", false},
		{"triple", service.AT, "", false}, {"triple", service.TCC, "", true},
		{"http", service.Saga, "", true}, {"grpc", service.Saga, "", false}, {"triple", service.Saga, "", false},
	} {
		t.Run(m.String(), func(t *testing.T) { m.run(t, programs, "") })
	}
}

func (m mix) run(t *testing.T, programs play.Programs, dsn string) {
	t.Helper()
	var out bytes.Buffer
	cfg := play.Config{RPC: m.rpc, Mode: m.mode, MySQL: dsn, NoKill: !m.kill, Programs: programs, Out: &out}
	if m.java != "" {
		cfg.Java = strings.Split(m.java, ",")
	}
	if cfg.NeedsIsolation() {
		cfg.Host = child.IsolatedAddress
	}
	report, err := play.Run(t.Context(), cfg)
	require.NoError(t, err, "%s", &out)
	require.True(t, report.Consistent)
	require.True(t, strings.HasSuffix(out.String(), "\nconsistent: yes\n"), "%s", &out)
	answers := map[string]int{}
	for _, o := range report.Orders {
		answers[o.Answer]++
		m.check(t, o)
	}
	want := map[string]int{"placed": 2, "refused: no stock": 1, "refused: no money": 1}
	if m.kill && m.mode == service.Saga {
		want["refused: no money"]++
		want["unknown"]++
	} else if m.kill {
		want["placed"]++
	}
	if m.kill {
		assert.NotZero(t, answers["failed"], "the service that was down fails its order")
	}
	delete(answers, "failed") // a service that comes back may be met too early
	assert.Equal(t, want, answers)
	if t.Failed() {
		t.Logf("%s", &out)
	}
}

// checkEnd wants a branch to have had its second phase: by order of the coordinator,
// or of the saga.
func (m mix) checkEnd(t *testing.T, o play.Order, b play.Branch) {
	t.Helper()
	if m.mode != service.Saga {
		assert.Positive(t, b.Orders, "%s: %s has no second phase", o.Tale, b.Service)
		return
	}
	ends := []string{"undone", "failed"}
	if o.Outcome == play.Committed {
		ends = []string{"done"}
	}
	if o.Answer == "unknown" {
		ends = append(ends, "") // a step that was registered when its service died, and then once more
	}
	assert.Contains(t, ends, b.PhaseTwo, "%s: %s", o.Tale, b.Service)
}

// check wants the path that was seen to be one of the mode and the languages,
// with a part of each service that the answer implies.
func (m mix) check(t *testing.T, o play.Order) {
	t.Helper()
	assert.Equal(t, "order", o.Path.Began, o.Tale)
	services := map[string]bool{}
	for _, b := range o.Path.Branches {
		services[b.Service] = true
		language := "go"
		if strings.Contains(m.java, b.Service) {
			language = "java"
		}
		assert.Equal(t, language, b.Language, "%s: %s", o.Tale, b.Service)
		assert.Equal(t, strings.ToUpper(string(m.mode)), b.Mode, "%s: %s", o.Tale, b.Service)
		m.checkEnd(t, o, b)
	}
	if o.Answer == "placed" || o.Answer == "unknown" { // the saga of an order service that died goes on
		assert.Equal(t, play.Committed, o.Outcome, o.Tale)
		assert.Len(t, services, len(service.Names), o.Tale)
		return
	}
	assert.Equal(t, play.RolledBack, o.Outcome, o.Tale)
	assert.True(t, services["order"], o.Tale)
	switch o.Answer {
	case "refused: no money":
		assert.True(t, services["stock"], o.Tale)
	case "refused: no stock": // under AT an UPDATE that finds no row makes no branch
		assert.Equal(t, m.mode != service.AT, services["stock"], o.Tale)
	}
}

func TestWrongSettings(t *testing.T) {
	whole := play.Config{RPC: "http", Mode: service.AT}
	for want, spoil := range map[string]func(*play.Config){
		`--rpc "pigeon": want one of http`:          func(c *play.Config) { c.RPC = "pigeon" },
		`--mode: no mode "2pc": want one of [at xa`: func(c *play.Config) { c.Mode = "2pc" },
		`--java "bakery": want some of order,stock`: func(c *play.Config) { c.Java = []string{"bakery"} },
		`--java: stock is there twice`:              func(c *play.Config) { c.Java = []string{"stock", "stock"} },
		`order cannot be in Java in mode saga`:      func(c *play.Config) { c.Mode, c.Java = service.Saga, []string{"stock", "order"} },
		`--mysql: invalid DSN`:                      func(c *play.Config) { c.MySQL = "nonsense" },
		`create database qiao_shop_`:                func(c *play.Config) { c.MySQL = "nobody@tcp(127.0.0.1:1)/" },
	} {
		cfg := whole
		spoil(&cfg)
		_, err := play.Run(t.Context(), cfg)
		assert.ErrorContains(t, err, want)
	}
}
