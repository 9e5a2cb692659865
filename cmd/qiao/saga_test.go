package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/internal/testenv"
	"github.com/qiao-tx/qiao/saga/sagalog"
)

func runSaga(args ...string) (string, error) {
	root := newRootCommand()
	var out bytes.Buffer
	root.SetOut(&out)
	root.SetArgs(append([]string{"saga"}, args...))
	err := root.Execute()
	return out.String(), err
}

const orderFile = "testdata/saga/order.json"

func TestSagaValidate(t *testing.T) {
	out, err := runSaga("validate", orderFile)
	require.NoError(t, err)
	assert.Equal(t, orderFile+": ok: order, 7 states\n", out)

	bad := filepath.Join(t.TempDir(), "bad.json")
	text, err := os.ReadFile(orderFile)
	require.NoError(t, err)
	mistaken := strings.NewReplacer(`"Next": "Pay"`, `"Next": "pay"`, `"$.[count] * [price]"`, `"$.[count * [price]"`, `"Comment"`, `"comment"`).Replace(string(text))
	require.NoError(t, os.WriteFile(bad, []byte(mistaken), 0o600))
	out, err = runSaga("validate", bad, orderFile)
	assert.ErrorContains(t, err, "1 of 2 state machines have mistakes")
	assert.Contains(t, out, bad+`:12:15: $.States.Reserve.Next: there is no state "pay"; did you mean "Pay"?`)
	assert.Contains(t, out, orderFile+": ok")

	mistaken = strings.ReplaceAll(mistaken, `"Next": "pay"`, `"Next": "Pay"`)
	require.NoError(t, os.WriteFile(bad, []byte(mistaken), 0o600))
	out, err = runSaga("validate", "--json", bad)
	assert.Error(t, err)
	assert.JSONEq(t, `{"file": "`+bad+`", "machine": "order", "states": 7, "valid": false,
	  "problems": [{"path": "$.States.Pay.Input[0].amount", "line": 16, "column": 28, "text": "\"[count * [price]\", character 17: want \"]\", found the end"}],
	  "warnings": [{"path": "$.comment", "line": 3, "column": 14, "text": "nothing reads this key; did you mean \"Comment\"?"}]}`, out)

	_, err = runSaga("validate", filepath.Join(t.TempDir(), "none.json"))
	assert.ErrorIs(t, err, os.ErrNotExist)
	_, err = runSaga("validate")
	assert.ErrorAs(t, err, new(usageError))
}

func TestSagaRun(t *testing.T) {
	out, err := runSaga("run", orderFile, "--params", `{"goods": "tea", "count": 2, "price": 5}`, "--stub", `stock.reserve={"shelf": "A7"}`, "--json")
	require.NoError(t, err)
	var got sagaOutput
	require.NoError(t, json.Unmarshal([]byte(out), &got))
	assert.Equal(t, "SU", string(got.Status))
	assert.Equal(t, map[string]any{"goods": "tea", "count": 2.0, "price": 5.0, "shelf": "A7"}, got.Variables)
	require.Len(t, got.States, 2)
	assert.Equal(t, []any{map[string]any{"amount": 10.0}}, got.States[1].Input)

	dir := t.TempDir()
	svg, log := filepath.Join(dir, "order.svg"), filepath.Join(dir, "saga.db")
	out, err = runSaga("run", orderFile, "--params", `{"count": 2, "price": 5}`, "--fail", "bank.pay=NoMoney", "--svg", svg, "--log", log)
	assert.ErrorContains(t, err, "the saga ended with UN, compensation SU")
	for _, line := range []string{"SU  Reserve", "UN  Pay", "SU  Refund", "SU  Release", "NoMoney: as --fail says", "compensation SU"} {
		assert.Contains(t, out, line)
	}
	picture, err := os.ReadFile(svg)
	require.NoError(t, err)
	assert.Contains(t, string(picture), "UN, undone SU NoMoney")

	// The picture of the same instance, from its log.
	id := out[strings.LastIndex(out, "order ")+len("order "):]
	id = id[:strings.IndexByte(id, ':')]
	drawn, err := runSaga("graph", "--instance", id, "--driver", "sqlite", "--dsn", log)
	require.NoError(t, err)
	assert.Equal(t, string(picture), drawn)
	_, err = runSaga("graph", "--instance", "none", "--driver", "sqlite", "--dsn", log)
	assert.ErrorIs(t, err, sagalog.ErrNotFound)
	_, err = runSaga("graph", orderFile, "-o", svg)
	require.NoError(t, err)
}

// TestSagaRunCallsServices over HTTP; a failure that is counted ends.
func TestSagaRunCallsServices(t *testing.T) {
	var paths []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		paths = append(paths, r.URL.Path)
		_, _ = w.Write([]byte(`{"shelf": "B1"}`))
	}))
	defer server.Close()
	out, err := runSaga("run", orderFile, "--params", `{"count": 1, "price": 1}`, "--service", "stock="+server.URL+"/stock")
	require.NoError(t, err, out)
	assert.Equal(t, []string{"/stock/reserve"}, paths)
	assert.Contains(t, out, `{"shelf":"B1"}`)
}

func TestSagaRunRefusesWhatItCannotUse(t *testing.T) {
	for want, args := range map[string][]string{
		"want a JSON object":                   {"run", orderFile, "--params", "[]"},
		"this is no JSON":                      {"run", orderFile, "--params", "{"},
		"want service.method=JSON":             {"run", orderFile, "--stub", "x"},
		"--fail x: want":                       {"run", orderFile, "--fail", "x"},
		"want a number of times":               {"run", orderFile, "--fail", "x=y*z"},
		"--service x: want name=URL":           {"run", orderFile, "--service", "x"},
		"name a file":                          {"run"},
		"want one FILE, or":                    {"graph"},
		"give --driver and --dsn":              {"graph", "--instance", "1"},
		`--driver "x"`:                         {"tables", "--driver", "x", "--dsn", "y"},
		"--dsn is missing":                     {"tables"},
		`there is no command "qiao saga vali"`: {"vali"},
	} {
		_, err := runSaga(args...)
		assert.ErrorContains(t, err, want)
		assert.True(t, errors.As(err, new(usageError)), "%v", args)
	}
}

func TestSagaTables(t *testing.T) {
	file := filepath.Join(t.TempDir(), "saga.db")
	for driver, dsn := range map[string]string{"sqlite": file, "mysql": testenv.MariaDB(t), "pgx": testenv.PostgreSQL(t)} {
		for range 2 {
			out, err := runSaga("tables", "--driver", driver, "--dsn", dsn)
			require.NoError(t, err)
			assert.Equal(t, "the database is ready for sagas\n", out)
		}
		out, err := runSaga("tables", "--driver", driver, "--print")
		require.NoError(t, err)
		script, err := os.ReadFile("../../script/client/saga/db/" + map[string]string{"sqlite": "sqlite", "mysql": "mysql", "pgx": "postgresql"}[driver] + ".sql")
		require.NoError(t, err)
		assert.Equal(t, string(script), out)
	}
}
