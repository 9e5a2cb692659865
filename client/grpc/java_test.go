//go:build linux

package grpc_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/datasource"
	"github.com/qiao-tx/qiao/internal/javapeer"
	"github.com/qiao-tx/qiao/internal/testenv"
	"github.com/qiao-tx/qiao/protocol/xid"
	"github.com/qiao-tx/qiao/server/servertest"
	"github.com/qiao-tx/qiao/tm"
)

// together is a service in Go on SQLite and one in Java on MySQL, of which each
// calls the other over gRPC, with Seata's interceptors on Java's side.
type together struct {
	*goService
	java     *javapeer.Peer
	javaAt   string // the target of Java's service
	javaRows *sql.DB
}

func startTogether(t *testing.T) *together {
	t.Helper()
	testenv.NeedJava(t)
	coordinator := servertest.Start(t)
	w := &together{goService: startGo(t, coordinator)}
	dsn := testenv.MySQLServers()[0].Database(t)
	var err error
	w.javaRows, err = sql.Open("mysql", dsn)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, w.javaRows.Close()) })
	require.NoError(t, datasource.CreateUndoTable(t.Context(), w.javaRows, datasource.MySQL))
	fill(t, w.javaRows)
	w.java = javapeer.Launch(t, javapeer.Program{
		Classpath: compileJava(t), Main: "qiao.Rpc", Args: []string{"java-service"},
		Options: []string{"-Dservice.default.grouplist=" + coordinator},
	})
	cfg, err := mysql.ParseDSN(dsn)
	require.NoError(t, err)
	url := fmt.Sprintf("jdbc:mysql://%s/%s?user=%s&password=%s&allowPublicKeyRetrieval=true&useSSL=false", cfg.Addr, cfg.DBName, cfg.User, cfg.Passwd)
	w.javaAt = fmt.Sprintf("127.0.0.1:%d", w.java.Must(javapeer.Command{"op": "serve", "url": url}).Port)
	return w
}

// compileJava returns the class path of testdata/java.
func compileJava(t *testing.T) string {
	t.Helper()
	pom, err := os.ReadFile("testdata/java/pom.xml")
	require.NoError(t, err)
	libraries, err := testenv.MavenClasspath(pom)
	require.NoError(t, err)
	classes := t.TempDir()
	out, err := exec.Command("javac", "-nowarn", "-cp", libraries, "-d", classes, "testdata/java/qiao/Rpc.java").CombinedOutput()
	require.NoError(t, err, "%s", out)
	resources, err := filepath.Abs("testdata/java")
	require.NoError(t, err)
	return strings.Join([]string{classes, resources, libraries}, ":")
}

func TestGoAndJavaOverGRPC(t *testing.T) {
	w := startTogether(t)
	for _, stream := range []bool{false, true} {
		kind := map[bool]string{false: "unary", true: "stream"}[stream]
		t.Run("Java begins, Go takes part, "+kind, func(t *testing.T) { w.testJavaBegins(t, stream) })
		t.Run("Go begins, Java takes part, "+kind, func(t *testing.T) { w.testGoBegins(t, stream) })
	}
	t.Run("the branch type", w.testBranchType)
	t.Run("no XID", func(t *testing.T) {
		a := w.java.Do(javapeer.Command{"op": "call", "target": w.target, "xid": "nonsense", "words": []string{add}})
		assert.Contains(t, a.Error, "INVALID_ARGUMENT")
		assert.Contains(t, a.Error, "malformed XID")
	})
}

func (w *together) testJavaBegins(t *testing.T, stream bool) {
	for _, decision := range []string{"commit", "rollback"} {
		before := w.balance(t)
		x := w.java.Must(javapeer.Command{"op": "begin"}).XID
		a := w.java.Must(javapeer.Command{"op": "call", "target": w.target, "xid": x, "stream": stream, "words": []string{add, add}})
		assert.Equal(t, []string{x + " AT", x + " AT"}, a.Events)
		assert.Equal(t, before+2, w.balance(t))
		status := w.java.Must(javapeer.Command{"op": decision, "xid": x}).Status
		if decision == "commit" {
			assert.Equal(t, "Committed", status)
			assert.Equal(t, before+2, w.balance(t))
		} else {
			assert.Equal(t, "Rollbacked", status)
			assert.Equal(t, before, w.balance(t))
		}
	}
}

func (w *together) testGoBegins(t *testing.T, stream bool) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	conn := dial(t, w.javaAt)
	call := func(ctx context.Context, statement string) (string, error) {
		if !stream {
			return ask(ctx, conn, statement)
		}
		s, err := talk(ctx, conn)
		if err != nil {
			return "", err
		}
		if err := errors.Join(s.SendMsg(message(statement)), s.CloseSend()); err != nil {
			return "", err
		}
		answer, err := s.hear()
		if err != nil {
			return "", err
		}
		_, end := s.hear()
		assert.ErrorIs(t, end, io.EOF)
		return answer, nil
	}
	for statement, fails := range map[string]bool{add: false, ruin: true} {
		before, here := read(t, w.javaRows), w.balance(t)
		err := w.app.TM().Run(ctx, tm.Options{Name: "from Go"}, func(ctx context.Context) error {
			if _, err := w.db.ExecContext(ctx, add); err != nil {
				return err
			}
			got, err := call(ctx, add)
			assert.Equal(t, xid.FromContext(ctx)+" AT", got)
			if err != nil {
				return err
			}
			assert.Equal(t, before+1, read(t, w.javaRows))
			_, err = call(ctx, statement)
			return err
		})
		if fails {
			assert.ErrorContains(t, err, "nothing")
			assert.Equal(t, []int{before, here}, []int{read(t, w.javaRows), w.balance(t)}, "all is undone")
			continue
		}
		require.NoError(t, err)
		assert.Equal(t, []int{before + 2, here + 1}, []int{read(t, w.javaRows), w.balance(t)})
	}
}

// In a try neither side has AT protect what the other is asked to do.
func (w *together) testBranchType(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	conn := dial(t, w.javaAt)
	errStop := errors.New("stop")
	before := read(t, w.javaRows)
	err := w.app.TM().Run(ctx, tm.Options{Name: "TCC from Go"}, func(ctx context.Context) error {
		got, err := ask(xid.WithBranchType(ctx, xid.TypeTCC), conn, add)
		assert.Equal(t, xid.FromContext(ctx)+" TCC", got)
		return errors.Join(err, errStop)
	})
	require.ErrorIs(t, err, errStop)
	assert.Equal(t, before+1, read(t, w.javaRows), "for the try's cancel to give back")

	here := w.balance(t)
	x := w.java.Must(javapeer.Command{"op": "begin"}).XID
	a := w.java.Must(javapeer.Command{"op": "call", "target": w.target, "xid": x, "tcc": true, "words": []string{add}})
	assert.Equal(t, []string{x + " TCC"}, a.Events)
	assert.Equal(t, "Rollbacked", w.java.Must(javapeer.Command{"op": "rollback", "xid": x}).Status)
	assert.Equal(t, here+1, w.balance(t))
}
