package main

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/internal/testenv"
	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/xid"
	"github.com/qiao-tx/qiao/server/config"
	"github.com/qiao-tx/qiao/storage"
	"github.com/qiao-tx/qiao/storage/javafile"
	"github.com/qiao-tx/qiao/storage/move"
	"github.com/qiao-tx/qiao/storage/raft"
)

// storeCommand runs qiao store and returns what it prints.
func storeCommand(t *testing.T, args ...string) (string, error) {
	t.Helper()
	root := newRootCommand()
	var out, log bytes.Buffer
	root.SetArgs(append([]string{"store"}, args...))
	root.SetOut(&out)
	root.SetErr(&log)
	err := root.ExecuteContext(t.Context())
	if log.Len() > 0 {
		t.Logf("%s", log.Bytes())
	}
	return out.String(), err
}

// onPostgreSQL names an empty database of PostgreSQL: as a URL, its user, and a file
// with the password.
func onPostgreSQL(t *testing.T) (address, user, passwordFile string) {
	t.Helper()
	u, err := url.Parse(testenv.PostgreSQL(t))
	require.NoError(t, err)
	user = u.User.Username()
	password, _ := u.User.Password()
	passwordFile = filepath.Join(t.TempDir(), "password")
	require.NoError(t, os.WriteFile(passwordFile, []byte(password), 0o600))
	u.User, u.Scheme = nil, "postgresql"
	return "jdbc:" + u.String(), user, passwordFile
}

// fillRaft makes a store with n live transactions, and as many that have ended
// divided by ten.
func fillRaft(t *testing.T, dir string, n int) {
	t.Helper()
	store, err := raft.Open(raft.Config{Dir: dir, ReserveBytes: -1})
	require.NoError(t, err)
	now := time.Now().UnixMilli()
	statuses := []protocol.GlobalStatus{protocol.StatusBegin, protocol.StatusRollbackRetrying, protocol.StatusRollbackFailed}
	places := make(chan struct{}, 256)
	var busy sync.WaitGroup
	for i := range n + n/10 {
		places <- struct{}{}
		busy.Go(func() {
			defer func() { <-places }()
			id := int64(i)*4 + 1<<40
			b := &storage.Batch{XID: xid.New("10.0.0.1:8091", id), At: now, Resume: uint64(i%7 + 1), Global: &storage.Global{
				ID: id, Status: statuses[i%len(statuses)], ApplicationID: "orders", Group: "default_tx_group", Name: "place order",
				BeganAt: now - int64(i), TimeoutMillis: 60_000, DueAt: now + 3_600_000 + int64(i), Attempts: int32(i % 5), Evidence: fmt.Sprint("why ", i%3),
			}}
			for j := range int64(2) {
				b.Add = append(b.Add, storage.Branch{
					ID: id + 1 + j, Type: protocol.TypeAT, Status: protocol.BranchRegistered, ResourceID: testDatabase, ClientID: "orders:10.0.0.2:50123",
					LockKey: fmt.Sprintf("stock:%d", id+j), Locked: true, ApplicationData: `{"autoCommit":false}`, RegisteredAt: now - int64(i),
				})
			}
			if i >= n {
				b.Add, b.Finish = nil, &storage.Tombstone{Outcome: protocol.StatusCommitted, ExpiresAt: now + 3_600_000}
			}
			if err := store.Apply(context.Background(), b); err != nil {
				panic(err)
			}
		})
	}
	busy.Wait()
	require.NoError(t, store.Close())
}

// transactionsVariable says how many transactions the copies of the test have.
const transactionsVariable = "QIAO_TEST_MOVED_TRANSACTIONS"

// From the embedded log through two databases and back: what arrives is what was
// there, in each of them.
func TestStoreCopyThroughAllStores(t *testing.T) {
	n := 1000
	if text := os.Getenv(transactionsVariable); text != "" {
		var err error
		n, err = strconv.Atoi(text)
		require.NoError(t, err)
	}
	first, last := "dir:"+filepath.Join(t.TempDir(), "first"), "dir:"+filepath.Join(t.TempDir(), "last")
	fillRaft(t, first[len("dir:"):], n)
	flags := onDatabase(t)
	mariadb, mariadbUser, mariadbPassword := flags[5], flags[7], flags[9]
	postgresql, postgresqlUser, postgresqlPassword := onPostgreSQL(t)

	text, err := storeCommand(t, "copy", "--from", first, "--dry-run", "--json")
	require.NoError(t, err)
	var held movedReport
	require.NoError(t, json.Unmarshal([]byte(text), &held))
	require.False(t, held.Copied)
	require.EqualValues(t, n, held.Transactions)
	require.EqualValues(t, n/10, held.Outcomes)
	for _, step := range [][]string{
		{"--from", first, "--to", mariadb, "--to-user", mariadbUser, "--to-password-file", mariadbPassword},
		{"--from", mariadb, "--from-user", mariadbUser, "--from-password-file", mariadbPassword, "--to", postgresql, "--to-user", postgresqlUser, "--to-password-file", postgresqlPassword},
		{"--from", postgresql, "--from-user", postgresqlUser, "--from-password-file", postgresqlPassword, "--to", last},
	} {
		text, err := storeCommand(t, append([]string{"copy", "--json"}, step...)...)
		require.NoError(t, err)
		var got movedReport
		require.NoError(t, json.Unmarshal([]byte(text), &got))
		require.True(t, got.Copied)
		t.Logf("%s to %s: %d transactions in %.1f s, %.0f/s", step[1], got.To, got.Transactions, got.Seconds, float64(got.Transactions)/got.Seconds)
		require.Equal(t, held.Content, got.Content)
	}
	_, err = storeCommand(t, "copy", "--from", first, "--to", last)
	require.ErrorIs(t, err, move.ErrNotEmpty)
	require.Equal(t, states(t, first[len("dir:"):]), states(t, last[len("dir:"):]))
}

// copyPlace is where the tests copy to: the flags of its server, its name on the command
// line, and how many live transactions are in it now.
type copyPlace struct {
	flags []string
	named func(flag string) []string
	count func() int
}

// copiedTo are empty places of each kind that several servers can share.
var copiedTo = map[string]func(t *testing.T) copyPlace{
	"database": func(t *testing.T) copyPlace {
		flags := onDatabase(t)
		dsn, err := mysql.ParseDSN(testenv.MariaDB(t)) // another database of the same server
		require.NoError(t, err)
		_, dsn.DBName, _ = strings.Cut(strings.TrimPrefix(flags[5], "jdbc:mariadb://"), "/")
		db, err := sql.Open("mysql", dsn.FormatDSN())
		require.NoError(t, err)
		t.Cleanup(func() { _ = db.Close() })
		return copyPlace{
			flags: flags,
			named: func(flag string) []string {
				return []string{flag, flags[5], flag + "-user", flags[7], flag + "-password-file", flags[9]}
			},
			count: func() (n int) {
				_ = db.QueryRow("SELECT COUNT(*) FROM global_table").Scan(&n) // there is no table yet
				return n
			},
		}
	},
	"redis": func(t *testing.T) copyPlace {
		flags, server := onRedis(t)
		return copyPlace{
			flags: flags,
			named: func(flag string) []string { return []string{flag, "redis://" + server.Addr() + "/0"} },
			count: func() int {
				n, err := strconv.Atoi(strings.Trim(server.Do(t, "ZCARD QIAO_LIVE"), ":\r\n"))
				require.NoError(t, err)
				return n
			},
		}
	},
}

// states encodes all transactions of an embedded log.
func states(t *testing.T, dir string) (all []string) {
	t.Helper()
	store, err := raft.Open(raft.Config{Dir: dir, ReserveBytes: -1})
	require.NoError(t, err)
	require.NoError(t, store.Scan(t.Context(), 0, func(s storage.State) bool {
		all = append(all, string(storage.AppendState(nil, &s)))
		return true
	}))
	require.NoError(t, store.Close())
	return all
}

// What was begun on one store is finished on another: its locks are held, its
// resource manager gets its orders, and how the finished ones ended is known.
func TestServerFinishesWhatWasCopied(t *testing.T) {
	for name, to := range copiedTo {
		t.Run(name, func(t *testing.T) { testServerFinishesWhatWasCopied(t, to(t)) })
	}
}

func testServerFinishesWhatWasCopied(t *testing.T, place copyPlace) {
	data, flags := t.TempDir(), place.flags
	old := startServerProcess(t, data, "--answer-timeout", "1s") // which is when the new one asks again
	c := old.client(testDatabase)
	done, open, rolling := c.begin(time.Minute), c.begin(time.Minute), c.begin(time.Minute)
	require.Equal(t, protocol.StatusCommitted, call[*protocol.GlobalCommitResult](c, &protocol.GlobalCommit{Global: protocol.Global{XID: done}}).Status)
	kept := c.register(open, protocol.TypeAT, testDatabase, "stock:1")
	left := c.register(rolling, protocol.TypeAT, testDatabase, "stock:2")
	require.Equal(t, protocol.ResultSuccess, left.Code, left.Message)
	c.conn.Go(&protocol.GlobalRollback{Global: protocol.Global{XID: rolling}}, serverPatience, func(protocol.Message, error) {})
	require.Equal(t, left.BranchID, c.order().Message.(*protocol.BranchRollback).BranchID) // and no answer
	to := append([]string{"copy", "--from", "dir:" + data}, place.named("--to")...)
	_, err := storeCommand(t, to...)
	require.ErrorIs(t, err, raft.ErrInUse, "a server has it open")
	old.signal(syscall.SIGTERM)
	require.Equal(t, 0, old.exitCode(), "%s", old.stderr)
	_, err = storeCommand(t, to...)
	require.NoError(t, err)

	c = startServerProcess(t, t.TempDir(), flags...).client(testDatabase)
	require.Equal(t, left.BranchID, c.rollbackBranch())
	require.Eventually(t, func() bool { return c.status(rolling) == protocol.StatusRollbacked }, serverPatience, 5*time.Millisecond)
	require.Equal(t, protocol.StatusCommitted, c.status(done))
	other := c.begin(time.Minute)
	conflict := c.register(other, protocol.TypeAT, testDatabase, "stock:1")
	require.Equal(t, protocol.ExceptionLockKeyConflict, conflict.Exception)
	require.Contains(t, conflict.Message, open)
	require.Equal(t, protocol.ResultSuccess, c.register(other, protocol.TypeAT, testDatabase, "stock:2").Code)
	require.Equal(t, protocol.StatusCommitted, call[*protocol.GlobalCommitResult](c, &protocol.GlobalCommit{Global: protocol.Global{XID: open}}).Status)
	require.Equal(t, kept.BranchID, c.commitBranch())
	require.Eventually(t, func() bool { return c.status(open) == protocol.StatusCommitted }, serverPatience, 5*time.Millisecond)

	_, err = storeCommand(t, append([]string{"copy", "--to", "dir:" + t.TempDir()}, place.named("--from")...)...)
	require.ErrorIs(t, err, move.ErrInUse)
	require.ErrorContains(t, err, "tc.test:8091")
}

// A server refuses half a copy, and says what to do.
func TestServerRefusesAnUnfinishedCopy(t *testing.T) {
	data := t.TempDir()
	store, err := raft.Open(raft.Config{Dir: data, ReserveBytes: -1})
	require.NoError(t, err)
	require.NoError(t, store.PutNote(t.Context(), storage.Note{Kind: storage.NoteMove, Key: "dir:/old", Value: "begun"}))
	require.NoError(t, store.Close())
	var out bytes.Buffer
	cmd := exec.Command(os.Args[0], "server", "--listen", "127.0.0.1:0", "--data", data)
	cmd.Stderr = &out
	require.Error(t, cmd.Run())
	require.Contains(t, out.String(), "unfinished copy of dir:/old")
}

func TestStoreCopyRefusesWhatItCannotRead(t *testing.T) {
	node := filepath.Join(t.TempDir(), "node.yaml")
	require.NoError(t, os.WriteFile(node, []byte("cluster.nodes: a=127.0.0.1:1,b=127.0.0.1:2,c=127.0.0.1:3\ncluster.node: a\n"), 0o600))
	for _, c := range []struct{ want, from, to string }{
		{"--from is missing", "", "dir:x"},
		{"--to is missing", "dir:x", ""},
		{"there is no store in the directory", "dir:" + t.TempDir(), "dir:x"},
		{"is taken for a configuration file", "nothing.yaml", "dir:x"},
		{"makes a node of a cluster", node, "dir:x"},
		{"want jdbc:mysql://host:port/database", "jdbc:mysql:", "dir:x"},
		{"want redis://host:port/database", "redis:6379", "dir:x"},
		{"want redis://host:port/database", "redis://host:6379/first", "dir:x"},
		{"want redis://host:port/database", "redis://me:secret@host:6379/0", "dir:x"},
		{"store.redis.single.port 99999", "redis://host:99999/0", "dir:x"},
	} {
		_, err := storeCommand(t, "copy", "--from", c.from, "--to", c.to)
		require.ErrorContains(t, err, c.want)
	}
	_, err := storeCommand(t, "copy", "--from", "dir:x", "--from-user", "me", "--to", "dir:y")
	require.ErrorContains(t, err, "takes no user")
}

func TestProgressLine(t *testing.T) {
	require.Equal(t, "compare", progressLine(move.Step{Stage: "compare"}, time.Second))
	require.Equal(t, "copy: 500 of 2000, 250/s, about 6s left", progressLine(move.Step{Stage: "copy", Done: 500, Total: 2000}, 2*time.Second))
	require.Equal(t, "copy: 0 of 2000, 0/s", progressLine(move.Step{Stage: "copy", Total: 2000}, 2*time.Second))
}

// A copy that is killed leaves what no server takes for whole; the same command makes
// it whole.
func TestStoreCopyIsKilled(t *testing.T) {
	for name, to := range copiedTo {
		t.Run(name, func(t *testing.T) { testStoreCopyIsKilled(t, to(t)) })
	}
}

func testStoreCopyIsKilled(t *testing.T, place copyPlace) {
	const n = 4000
	data, flags := t.TempDir(), place.flags
	from := filepath.Join(data, "from")
	fillRaft(t, from, n)
	file := filepath.Join(data, "new.yaml")
	require.NoError(t, os.WriteFile(file, []byte(fileOf(flags)), 0o600))

	cmd := exec.Command(os.Args[0], "store", "copy", "--from", "dir:"+from, "--to", file)
	require.NoError(t, cmd.Start())
	require.Eventually(t, func() bool { return place.count() > 0 }, serverPatience, time.Millisecond)
	require.NoError(t, cmd.Process.Kill())
	_ = cmd.Wait()
	require.Less(t, place.count(), n, "it was killed too late")
	out, err := exec.Command(os.Args[0], append([]string{"server", "--listen", "127.0.0.1:0"}, flags...)...).CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(out), "unfinished copy of dir:"+from)

	require.Eventually(t, func() bool {
		_, err = storeCommand(t, "copy", "--from", "dir:"+from, "--to", file)
		return !errors.Is(err, move.ErrInUse) // until the lease of the killed one ends
	}, serverPatience, 100*time.Millisecond)
	require.NoError(t, err)
	require.Equal(t, n, place.count())
	startServerProcess(t, t.TempDir(), flags...)
}

// fileOf is the configuration file that says what the flags say.
func fileOf(flags []string) string {
	var text strings.Builder
	for i := 0; i < len(flags); i += 2 {
		fmt.Fprintf(&text, "%s: %q\n", settingOf(flags[i]), flags[i+1])
	}
	return text.String()
}

// settingOf is the key of a flag.
func settingOf(flag string) string {
	var cfg config.Config
	for _, s := range config.Settings(&cfg) {
		if "--"+s.Flag() == flag {
			return s.Key
		}
	}
	return flag
}

// What a Java coordinator left becomes a store of ours, once.
func TestStoreImport(t *testing.T) {
	left := filepath.Join("..", "..", "storage", "javafile", "testdata", "1.8.0")
	to := "dir:" + filepath.Join(t.TempDir(), "data")
	text, err := storeCommand(t, "import", "--from-java-file", left, "--dry-run")
	require.NoError(t, err)
	require.Contains(t, text, "Begin                  7")
	text, err = storeCommand(t, "import", "--from-java-file", left, "--park-doubtful", "--to", to, "--json")
	require.NoError(t, err)
	var got struct {
		movedReport
		Import javafile.Report `json:"import"`
	}
	require.NoError(t, json.Unmarshal([]byte(text), &got))
	require.True(t, got.Copied)
	require.EqualValues(t, 11, got.Transactions)
	require.Equal(t, map[string]int64{"Begin": 2, "Committing": 1, "CommitFailed": 1, "Rollbacking": 1, "RollbackFailed": 6}, got.Statuses)
	require.EqualValues(t, 5, got.Import.Doubtful)
	require.Len(t, states(t, to[len("dir:"):]), 11)
	_, err = storeCommand(t, "import", "--from-java-file", left, "--to", to)
	require.ErrorIs(t, err, move.ErrNotEmpty)
	_, err = storeCommand(t, "import", "--from-java-file", t.TempDir(), "--to", to)
	require.ErrorIs(t, err, javafile.ErrNoStore)
	_, err = storeCommand(t, "import", "--to", to)
	require.ErrorContains(t, err, "--from-java-file is missing")
}
