//go:build linux

package javapeer

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/client"
	qiaohttp "github.com/qiao-tx/qiao/client/http"
	"github.com/qiao-tx/qiao/datasource"
	"github.com/qiao-tx/qiao/internal/testenv"
	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/xid"
	"github.com/qiao-tx/qiao/tm"
)

// banks are a bank in Go and one that is a Spring Boot service with Seata's
// starters, each with a database of its own. They reach each other over HTTP.
type banks struct {
	app *client.Client
	// db is the Go bank's, and takes part in global transactions.
	db *sql.DB
	// plain and plainSpring reach the databases of both without transactions.
	plain, plainSpring *sql.DB
	// url and spring are the addresses of both.
	url, spring string
	web         *http.Client
	// seen are the transactions so far, and how they must end.
	seen map[string]protocol.GlobalStatus
}

// nobody stands for the XID of a service outside of any transaction.
const nobody = "null"

// Every story is told to one JVM: Spring takes seconds to start.
func TestSpringBootService(t *testing.T) {
	b := startBanks(t)
	total := b.total(t)
	for _, via := range []string{"rest", "feign"} {
		t.Run("begun by Spring over "+via, func(t *testing.T) { b.testBegunBySpring(t, via) })
	}
	t.Run("begun by Go", b.testBegunByGo)
	t.Run("from Go through Spring to Go", b.testThere)
	t.Run("outside of a transaction", b.testOutside)

	assert.Equal(t, total, b.total(t), "money is neither made nor lost")
	for x, want := range b.seen {
		assert.Eventually(t, func() bool {
			status, err := b.app.TM().Status(t.Context(), x)
			return err == nil && status == want
		}, 20*time.Second, 20*time.Millisecond, "%s ends as %s", x, want)
	}
	assert.Len(t, b.seen, 11)
	assert.Eventually(t, func() bool { return undoRows(t, b.plain)+undoRows(t, b.plainSpring) == 0 },
		20*time.Second, 50*time.Millisecond, "no undo record is left")
}

func startBanks(t *testing.T) *banks {
	testenv.NeedJava(t)
	classpath, err := Compile("spring", "spring/src/main/java")
	require.NoError(t, err)
	tc := startCoordinator(t)
	b := &banks{web: &http.Client{Transport: &qiaohttp.Transport{}}, seen: map[string]protocol.GlobalStatus{}}
	dsn := testenv.MariaDB(t)
	_, b.plain = database(t, dsn)
	b.app, err = client.Open(t.Context(), client.Config{Addresses: []string{tc.address}, ApplicationID: "go-bank"})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, b.app.Close(context.Background())) })
	inner, err := (&mysql.MySQLDriver{}).OpenConnector(dsn)
	require.NoError(t, err)
	connector, err := datasource.Wrap(t.Context(), b.app.RM(), inner, datasource.Config{DSN: dsn, Dialect: datasource.MySQL})
	require.NoError(t, err)
	b.db = sql.OpenDB(connector)
	t.Cleanup(func() { assert.NoError(t, b.db.Close()) })
	server := httptest.NewServer(qiaohttp.Middleware(http.HandlerFunc(b.add), qiaohttp.Config{}))
	t.Cleanup(server.Close)
	b.url = server.URL

	var jdbc string
	jdbc, b.plainSpring = database(t, testenv.MariaDB(t))
	java := Launch(t, Program{Classpath: classpath, Main: "qiao.spring.Service", Options: []string{
		"-Dspring.datasource.url=" + jdbc, "-Dseata.service.grouplist.default=" + tc.address,
	}})
	b.spring = fmt.Sprintf("http://127.0.0.1:%d", java.Ready.Port)
	return b
}

// add is the Go bank: it adds money in the caller's transaction, and answers as
// Spring's does.
func (b *banks) add(w http.ResponseWriter, r *http.Request) {
	result, err := b.db.ExecContext(r.Context(), "UPDATE account SET money = money + ? WHERE owner = ?",
		r.FormValue("money"), r.FormValue("owner"))
	if err == nil {
		var n int64
		if n, err = result.RowsAffected(); n != 1 {
			err = errors.Join(err, fmt.Errorf("no account of %s", r.FormValue("owner")))
		}
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	x := xid.FromContext(r.Context())
	if x == "" {
		x = nobody
	}
	fmt.Fprint(w, x)
}

// ask calls a bank. What it answers to a failure is in the error.
func (b *banks) ask(ctx context.Context, address string, arguments url.Values) (string, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, address+"?"+arguments.Encode(), nil)
	if err != nil {
		return "", err
	}
	response, err := b.web.Do(r)
	if err != nil {
		return "", err
	}
	body, err := io.ReadAll(response.Body)
	err = errors.Join(err, response.Body.Close())
	if err == nil && response.StatusCode != http.StatusOK {
		err = &refusal{string(body)}
	}
	return string(body), err
}

// refusal is a bank's answer that something failed.
type refusal struct{ text string }

func (r *refusal) Error() string { return "the bank failed: " + r.text }

func moving(owner string, money int, extra ...string) url.Values {
	v := url.Values{"owner": {owner}, "money": {fmt.Sprint(money)}}
	for i := 0; i < len(extra); i += 2 {
		v.Set(extra[i], extra[i+1])
	}
	return v
}

func (b *banks) total(t *testing.T) (sum int) {
	for _, db := range []*sql.DB{b.plain, b.plainSpring} {
		for _, money := range accounts(t, db) {
			sum += money
		}
	}
	return sum
}

// oneXID is the XID that a text names, twice: once for each bank.
func oneXID(t *testing.T, text string) string {
	t.Helper()
	words := strings.Fields(text)
	require.GreaterOrEqual(t, len(words), 2, text)
	mine, theirs := words[len(words)-2], words[len(words)-1]
	assert.Equal(t, mine, theirs, "both banks are in one transaction")
	_, _, err := xid.Parse(mine)
	require.NoError(t, err, text)
	return mine
}

// testBegunBySpring: an annotated method of a bean moves money here.
func (b *banks) testBegunBySpring(t *testing.T, via string) {
	here, there := accounts(t, b.plain)["ann"], accounts(t, b.plainSpring)["ann"]
	move := func(owner, fail string) (string, error) {
		return b.ask(t.Context(), b.spring+"/move", moving(owner, 10, "bank", b.url, "via", via, "fail", fail))
	}
	_, err := move("ann", "true")
	var refused *refusal
	require.ErrorAs(t, err, &refused, "the business failed")
	b.seen[oneXID(t, refused.text)] = protocol.StatusRollbacked
	assert.Equal(t, here, accounts(t, b.plain)["ann"])
	assert.Equal(t, there, accounts(t, b.plainSpring)["ann"])

	_, err = b.plainSpring.Exec("INSERT INTO account (owner, money) VALUES ('spring', 100)")
	require.NoError(t, err)
	_, err = move("spring", "false")
	require.ErrorAs(t, err, &refused, "no such account in the Go bank")
	assert.Contains(t, refused.text, "no account of spring")
	assert.Equal(t, 100, accounts(t, b.plainSpring)["spring"], "what the bean did before is rolled back")
	_, err = b.plainSpring.Exec("DELETE FROM account WHERE owner = 'spring'")
	require.NoError(t, err)

	answer, err := move("ann", "false")
	require.NoError(t, err)
	b.seen[oneXID(t, answer)] = protocol.StatusCommitted
	assert.Equal(t, here+10, accounts(t, b.plain)["ann"])
	assert.Equal(t, there-10, accounts(t, b.plainSpring)["ann"])
}

// transfer begins a transaction in Go, in which money leaves the Go bank and
// Spring is asked for the rest.
func (b *banks) transfer(t *testing.T, path string, arguments url.Values, end error) (answer string, err error) {
	err = b.app.TM().Run(t.Context(), tm.Options{Name: "go-transfer"}, func(ctx context.Context) error {
		mine, err := b.ask(ctx, b.url, moving("bob", -10))
		if err != nil {
			return err
		}
		theirs, err := b.ask(ctx, b.spring+path, arguments)
		answer = mine + " " + theirs
		b.seen[mine] = protocol.StatusCommitted
		if err != nil || end != nil {
			b.seen[mine] = protocol.StatusRollbacked
		}
		return errors.Join(err, end)
	})
	return answer, err
}

func (b *banks) testBegunByGo(t *testing.T) {
	here, there := accounts(t, b.plain)["bob"], accounts(t, b.plainSpring)["bob"]
	answer, err := b.transfer(t, "/add", moving("bob", 10), errNoDeal)
	require.ErrorIs(t, err, errNoDeal)
	oneXID(t, answer)
	assert.Equal(t, here, accounts(t, b.plain)["bob"])
	assert.Equal(t, there, accounts(t, b.plainSpring)["bob"])

	var refused *refusal
	_, err = b.transfer(t, "/add", moving("nobody", 10), nil)
	require.ErrorAs(t, err, &refused, "Spring's branch fails")
	assert.Equal(t, here, accounts(t, b.plain)["bob"])

	answer, err = b.transfer(t, "/add", moving("bob", 10), nil)
	require.NoError(t, err)
	oneXID(t, answer)
	assert.Equal(t, here-10, accounts(t, b.plain)["bob"])
	assert.Equal(t, there+10, accounts(t, b.plainSpring)["bob"])
}

// testThere: Spring's annotated method joins the transaction that Go began, and
// carries it back to Go. The money goes from bob to Spring's ann to ours.
func (b *banks) testThere(t *testing.T) {
	for _, via := range []string{"rest", "feign"} {
		before := accounts(t, b.plain)
		through := func(fail string, end error) (string, error) {
			return b.transfer(t, "/move", moving("ann", 10, "bank", b.url, "via", via, "fail", fail), end)
		}
		_, err := through("false", errNoDeal)
		require.ErrorIs(t, err, errNoDeal)
		assert.Equal(t, before, accounts(t, b.plain), "Spring did not commit what it had not begun")
		if via == "rest" {
			_, err = through("true", nil)
			var refused *refusal
			require.ErrorAs(t, err, &refused)
			assert.Equal(t, before, accounts(t, b.plain))
			continue
		}
		answer, err := through("false", nil)
		require.NoError(t, err)
		assert.Equal(t, oneXID(t, answer), strings.Fields(answer)[0])
		assert.Equal(t, before["ann"]+10, accounts(t, b.plain)["ann"])
		_, err = b.plainSpring.Exec("UPDATE account SET money = money + 10 WHERE owner = 'ann'") // what bob gave
		require.NoError(t, err)
	}
}

// testOutside: after all that no thread of either bank is in a transaction.
func (b *banks) testOutside(t *testing.T) {
	for address, money := range map[string]int{b.url: 1, b.spring + "/add": -1} {
		answer, err := b.ask(t.Context(), address, moving("ann", money))
		require.NoError(t, err)
		assert.Equal(t, nobody, answer)
	}
	for range 32 { // Tomcat takes its threads in turn
		response, err := http.Get(b.spring + "/xid")
		require.NoError(t, err)
		body, err := io.ReadAll(response.Body)
		require.NoError(t, errors.Join(err, response.Body.Close()))
		require.Equal(t, nobody, string(body))
	}
}
