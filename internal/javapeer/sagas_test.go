//go:build linux

package javapeer

import (
	"bytes"
	"context"
	"database/sql"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	gomysql "github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/internal/testenv"
	"github.com/qiao-tx/qiao/saga"
	"github.com/qiao-tx/qiao/saga/sagalog"
)

// travel is a machine for both engines: each service may be told to refuse.
const travel = `{"Name": "travel", "StartState": "Hotel", "Version": "1", "States": {
  "Hotel": {"Type": "ServiceTask", "ServiceName": "demo", "ServiceMethod": "book", "CompensateState": "CancelHotel",
    "Input": [{"what": "hotel", "refuse": "$.[hotelRefuses]"}], "Output": {"hotel": "$.[what]"}, "Next": "Flight"},
  "Flight": {"Type": "ServiceTask", "ServiceName": "demo", "ServiceMethod": "book", "CompensateState": "CancelFlight",
    "Input": [{"what": "flight after $ '" , "refuse": "$.[flightRefuses]"}], "Output": {"flight": "$.[what]"},
    "Status": {"#root != null": "SU", "$Exception{qiao.Sagas$Refused}": "UN"}, "Next": "Car"},
  "Car": {"Type": "ServiceTask", "ServiceName": "demo", "ServiceMethod": "book", "CompensateState": "CancelCar",
    "Input": [{"what": "car", "refuse": "$.[carRefuses]"}], "Catch": [{"Exceptions": ["qiao.Sagas$Refused"], "Next": "Undo"}], "Next": "Done"},
  "CancelHotel": {"Type": "ServiceTask", "ServiceName": "demo", "ServiceMethod": "cancel", "Input": [{"what": "$.[hotel]", "refuse": "$.[cancelRefuses]"}]},
  "CancelFlight": {"Type": "ServiceTask", "ServiceName": "demo", "ServiceMethod": "cancel", "Input": [{"what": "$.[flight]"}]},
  "CancelCar": {"Type": "ServiceTask", "ServiceName": "demo", "ServiceMethod": "cancel", "Input": [{"what": "car"}]},
  "Undo": {"Type": "CompensationTrigger", "Next": "Failed"},
  "Failed": {"Type": "Fail", "ErrorCode": "E", "Message": "m"},
  "Done": {"Type": "Succeed"}}}`

type refusingDemo struct{}

func (refusingDemo) answer(input map[string]any) (map[string]any, error) {
	if input["refuse"] == "true" {
		return nil, &saga.Exception{Class: "qiao.Sagas$Refused", Message: "refused: 满"}
	}
	return input, nil
}

func (d refusingDemo) Book(input map[string]any) (map[string]any, error)   { return d.answer(input) }
func (d refusingDemo) Cancel(input map[string]any) (map[string]any, error) { return d.answer(input) }

// TestBothEnginesShareALog: what one engine leaves, the other reads, goes on with and
// undoes; with both of Seata's JSON parsers.
func TestBothEnginesShareALog(t *testing.T) {
	testenv.NeedJava(t)
	classpath, err := Compile("sagas", "sagas/src/main/java/qiao/Sagas.java")
	require.NoError(t, err)
	for _, parser := range []string{"fastjson", "jackson"} {
		t.Run(parser, func(t *testing.T) { testSharedLog(t, classpath, parser) })
	}
}

func testSharedLog(t *testing.T, classpath, parser string) {
	dsn := testenv.MySQL(t)
	db, err := sql.Open("mysql", dsn)
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	require.NoError(t, sagalog.CreateTables(t.Context(), db))
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "travel.json"), []byte(travel), 0o600))
	java := func(commands ...string) map[string][]string {
		return javaSagas(t, classpath, dsn, parser, dir, commands)
	}

	fromJava := java("start travel flightRefuses=true", "start travel carRefuses=true cancelRefuses=true", "start travel hotelRefuses=false")
	store, err := sagalog.OpenSQL(t.Context(), sagalog.Config{DB: db, Jackson: parser == "jackson"})
	require.NoError(t, err)
	defer func() { require.NoError(t, store.Close()) }()
	e, err := saga.Open(t.Context(), saga.Config{Store: store, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	defer func() { require.NoError(t, e.Close(context.Background())) }()
	require.NoError(t, e.Service("demo", refusingDemo{}))
	_, err = e.Define(t.Context(), []byte(travel))
	require.NoError(t, err)

	var forward, undo string
	for id, runs := range fromJava {
		s, err := e.Get(t.Context(), id)
		require.NoError(t, err)
		assert.Equal(t, runs, runsOf(s), "what Java left is read here")
		switch last := runs[len(runs)-1]; {
		case strings.HasPrefix(last, "= UN UN"):
			undo = id
		case strings.HasPrefix(last, "= UN"):
			forward = id
		}
	}
	s, err := e.Forward(t.Context(), forward, map[string]any{"flightRefuses": "false"})
	require.NoError(t, err)
	assert.Equal(t, []string{"Hotel SU", "Flight UN (refused: 满)", "Flight SU", "Car SU", "= SU null"}, runsOf(s))
	s, err = e.Compensate(t.Context(), undo, map[string]any{"cancelRefuses": "false"})
	require.NoError(t, err)
	assert.Equal(t, []string{"Hotel SU", "Flight SU", "Car UN (refused: 满)", "CancelCar SU", "CancelFlight SU", "CancelHotel UN (refused: 满)",
		"CancelHotel SU", "= UN SU"}, runsOf(s))

	one, err := e.Start(t.Context(), "travel", map[string]any{"flightRefuses": "true", "n": 1 << 40, "f": 1.5, "list": []any{1, "x"}}, saga.StartOptions{})
	require.NoError(t, err)
	two, err := e.Start(t.Context(), "travel", map[string]any{"carRefuses": "true", "cancelRefuses": "true"}, saga.StartOptions{})
	require.NoError(t, err)
	fromJava = java("show "+forward, "show "+undo, "forward "+one.ID+" flightRefuses=false", "compensate "+two.ID+" cancelRefuses=false")
	for _, id := range []string{forward, undo} {
		s, err := e.Get(t.Context(), id)
		require.NoError(t, err)
		assert.Equal(t, runsOf(s), fromJava[id], "what was done here is read by Java")
	}
	assert.Equal(t, []string{"Hotel SU", "Flight UN (refused: 满)", "Flight SU", "Car SU", "= SU null"}, fromJava[one.ID])
	assert.Equal(t, "= UN SU", fromJava[two.ID][len(fromJava[two.ID])-1])
	for _, id := range []string{one.ID, two.ID} {
		s, err := e.Get(t.Context(), id)
		require.NoError(t, err)
		assert.Equal(t, fromJava[id], runsOf(s), "and read here again")
	}
}

// runsOf shows a saga as Sagas.java does.
func runsOf(s *saga.Saga) []string {
	var lines []string
	for _, r := range s.States {
		line := r.Name + " " + string(r.Status)
		if r.Failure != nil {
			line += " (" + r.Failure.Message + ")"
		}
		lines = append(lines, line)
	}
	compensation := string(s.Compensation)
	if compensation == "" {
		compensation = "null"
	}
	return append(lines, "= "+string(s.Status)+" "+compensation)
}

// javaSagas carries out commands with Java's engine and returns its answers by the
// ids of the sagas.
func javaSagas(t *testing.T, classpath, dsn, parser, dir string, commands []string) map[string][]string {
	t.Helper()
	cfg, err := gomysql.ParseDSN(dsn)
	require.NoError(t, err)
	url := "jdbc:mysql://" + cfg.Addr + "/" + cfg.DBName + "?user=" + cfg.User + "&password=" + cfg.Passwd + "&useSSL=false&allowPublicKeyRetrieval=true"
	cmd := exec.Command("java", append([]string{"-Xmx256m", "-XX:TieredStopAtLevel=1", "-Dfile.encoding=UTF-8", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
		"-cp", classpath, "qiao.Sagas", url, parser, dir}, commands...)...)
	var out, log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &log
	require.NoError(t, cmd.Run(), "%s\n%s", out.String(), log.String())
	answers := map[string][]string{}
	var lines []string
	for _, line := range strings.Split(strings.TrimSpace(out.String()), "\n") {
		rest, last := strings.CutPrefix(line, "= ")
		if !last {
			lines = append(lines, line)
			continue
		}
		id, status, _ := strings.Cut(rest, " ")
		answers[id] = append(lines, "= "+status)
		lines = nil
	}
	require.Len(t, answers, len(commands), "%s\n%s", out.String(), log.String())
	return answers
}
