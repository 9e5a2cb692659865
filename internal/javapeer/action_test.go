//go:build linux

package javapeer

import (
	"context"
	"database/sql"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/client"
	"github.com/qiao-tx/qiao/internal/testenv"
	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/xid"
	"github.com/qiao-tx/qiao/rm"
	"github.com/qiao-tx/qiao/rm/compensation"
	"github.com/qiao-tx/qiao/rm/tcc"
	"github.com/qiao-tx/qiao/rm/tcc/fence"
	"github.com/qiao-tx/qiao/tm"
)

// place is what Java's try adds to its context.
type place struct {
	Shelf int `json:"shelf"`
}

// goods is the argument of the actions that both languages serve.
type goods struct {
	Item  string `json:"item"`
	Count int64  `json:"count"`
	Place *place `json:"place,omitempty"`
}

// goActions is a Go process of the Java client's application.
type goActions struct {
	client  *client.Client
	reserve *tcc.Handle[goods]
	book    *compensation.Handle[goods, string]

	mu     sync.Mutex
	events []string
}

func startGoActions(t *testing.T, address string) *goActions {
	t.Helper()
	a := &goActions{}
	var err error
	a.client, err = client.Open(t.Context(), client.Config{Addresses: []string{address}, ApplicationID: "java-peer"})
	require.NoError(t, err)
	note := func(what string) func(context.Context, goods) error {
		return func(_ context.Context, g goods) error {
			a.mu.Lock()
			defer a.mu.Unlock()
			text := fmt.Sprintf("%s %d %s", what, g.Count, g.Item)
			if g.Place != nil {
				text += fmt.Sprintf(" from shelf %d", g.Place.Shelf)
			}
			a.events = append(a.events, text)
			return nil
		}
	}
	a.reserve, err = tcc.Register(t.Context(), a.client.RM(), tcc.Action[goods]{
		Name: "reserve", Try: note("reserve"), Confirm: note("take"), Cancel: note("give back"),
	})
	require.NoError(t, err)
	a.book, err = compensation.Register(t.Context(), a.client.RM(), compensation.Action[goods, string]{
		Name:       "book",
		Call:       func(ctx context.Context, g goods) (string, error) { return "booked", note("book")(ctx, g) },
		Compensate: note("unbook"),
	})
	require.NoError(t, err)
	return a
}

// saw returns the events since the last call.
func (a *goActions) saw() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	events := a.events
	a.events = nil
	return events
}

// A Java transaction manager drives Go actions, a Go one Java's, and each language
// ends branches that the other has begun.
func TestActionsOfGoAndJava(t *testing.T) {
	tc := startCoordinator(t)
	java := Start(t, tc.address, "java-peer")
	java.Must(Command{"op": "annotated"})
	t.Run("Java drives Go", func(t *testing.T) { testJavaDrivesGo(t, tc, java) })
	t.Run("Go drives Java", func(t *testing.T) { testGoDrivesJava(t, tc, java) })
	t.Run("Java ends what Go began", func(t *testing.T) { testJavaEnds(t, tc, java) })
	t.Run("one fence for both", func(t *testing.T) { testOneFence(t, tc, java) })
	t.Run("Go ends what Java began", func(t *testing.T) { testGoEnds(t, tc, java) }) // kills Java
}

// both has a Go process reserve and book in a transaction.
func (a *goActions) both(t *testing.T, x string) {
	t.Helper()
	ctx := xid.NewContext(t.Context(), x)
	require.NoError(t, a.reserve.Try(ctx, goods{Item: "hat", Count: 2}))
	result, err := a.book.Call(ctx, goods{Item: "trip", Count: 1})
	require.NoError(t, err)
	assert.Equal(t, "booked", result)
}

func testJavaDrivesGo(t *testing.T, tc *coordinator, java *Peer) {
	a := startGoActions(t, tc.address)
	defer func() { assert.NoError(t, a.client.Close(context.Background())) }()
	x := begin(java)
	a.both(t, x)
	assert.Equal(t, "Committed", java.Must(Command{"op": "commit", "xid": x}).Status)
	assert.Equal(t, []string{"reserve 2 hat", "book 1 trip", "take 2 hat"}, a.saw())
	x = begin(java)
	a.both(t, x)
	assert.Equal(t, "Rollbacked", java.Must(Command{"op": "rollback", "xid": x}).Status)
	assert.Equal(t, []string{"reserve 2 hat", "book 1 trip", "unbook 1 trip", "give back 2 hat"}, a.saw())
}

// inJava has the Java client reserve and book in a transaction.
func inJava(java *Peer, x string) error {
	for name, item := range map[string]string{"reserve": "coat", "book": "room"} {
		if answer := java.Do(Command{"op": "annotated-call", "xid": x, "name": name, "item": item, "count": 1 << 40}); answer.Error != "" {
			return fmt.Errorf("%s: %s", name, answer.Error)
		}
	}
	return nil
}

func testGoDrivesJava(t *testing.T, tc *coordinator, java *Peer) {
	c, err := client.Open(t.Context(), client.Config{Addresses: []string{tc.address}, ApplicationID: "go-service"})
	require.NoError(t, err)
	defer func() { assert.NoError(t, c.Close(context.Background())) }()
	java.Must(Command{"op": "events"})
	require.NoError(t, c.TM().Run(t.Context(), tm.Options{Name: "java"}, func(ctx context.Context) error {
		return inJava(java, xid.FromContext(ctx))
	}))
	assert.ElementsMatch(t, []string{"reserve 1099511627776 coat", "book 1099511627776 room", "take 1099511627776 coat"},
		java.Must(Command{"op": "events"}).Events)
	require.ErrorIs(t, c.TM().Run(t.Context(), tm.Options{Name: "java"}, func(ctx context.Context) error {
		require.NoError(t, inJava(java, xid.FromContext(ctx)))
		return errNoDeal
	}), errNoDeal)
	assert.ElementsMatch(t, []string{"reserve 1099511627776 coat", "book 1099511627776 room", "give back 1099511627776 coat", "unbook 1099511627776 room"},
		java.Must(Command{"op": "events"}).Events)
}

func testJavaEnds(t *testing.T, tc *coordinator, java *Peer) {
	for op, want := range map[string][]string{"commit": {"take 2 hat"}, "rollback": {"unbook 1 trip", "give back 2 hat"}} {
		a := startGoActions(t, tc.address)
		x := begin(java)
		a.both(t, x)
		require.NoError(t, a.client.Close(context.Background()))
		java.Must(Command{"op": "events"})
		java.Must(Command{"op": op, "xid": x})
		var saw []string
		require.Eventually(t, func() bool {
			saw = append(saw, java.Must(Command{"op": "events"}).Events...)
			return len(saw) == len(want)
		}, 30*time.Second, 50*time.Millisecond)
		assert.Equal(t, want, saw, op)
	}
}

// testOneFence: both languages serve one fenced action on one database, and each
// ends the tries of the other by its records.
func testOneFence(t *testing.T, tc *coordinator, java *Peer) {
	url, db := database(t, testenv.MariaDB(t))
	java.Must(Command{"op": "resource", "name": "shared-fence", "fence": url})
	java.Must(Command{"op": "events"})
	status := func(x string) (n int) {
		t.Helper()
		require.NoError(t, db.QueryRow("SELECT status FROM tcc_fence_log WHERE xid = ?", x).Scan(&n))
		return n
	}
	records, err := fence.New(db, "")
	require.NoError(t, err)
	add := func(n int) func(context.Context, *sql.Tx, goods) error {
		return func(ctx context.Context, tx *sql.Tx, _ goods) error {
			_, err := tx.ExecContext(ctx, "UPDATE account SET money = money + ? WHERE owner = 'ann'", n)
			return err
		}
	}
	start := func() (*client.Client, *tcc.Handle[goods]) {
		c, err := client.Open(t.Context(), client.Config{Addresses: []string{tc.address}, ApplicationID: "java-peer"})
		require.NoError(t, err)
		action, err := tcc.Register(t.Context(), c.RM(), fence.Guard(records, fence.Action[goods]{
			Name: "shared-fence", Try: add(1), Confirm: add(10), Cancel: add(100),
		}))
		require.NoError(t, err)
		return c, action
	}
	c, action := start()
	x := begin(java)
	require.NoError(t, action.Try(xid.NewContext(t.Context(), x), goods{}))
	require.NoError(t, c.Close(context.Background()))
	assert.Equal(t, 1, status(x), "tried")
	java.Must(Command{"op": "commit", "xid": x})
	require.Eventually(t, func() bool { return status(x) == 2 }, 30*time.Second, 50*time.Millisecond, "Java confirms what Go tried")
	assert.Equal(t, 101, accounts(t, db)["ann"], "Go's confirm was not asked")

	// The orders for a branch of Java's go to Java while that lives, so Go's fence
	// is asked without one.
	x = begin(java)
	id := java.Must(Command{"op": "try", "xid": x, "name": "shared-fence", "fenced": true}).Branch
	b := rm.Branch{XID: x, ID: id, Type: protocol.TypeTCC, ResourceID: "shared-fence"}
	confirm := func(tx *sql.Tx) error { return add(10)(t.Context(), tx, goods{}) }
	require.NoError(t, records.Confirm(t.Context(), b, confirm))
	assert.Equal(t, 2, status(x), "Go confirms what Java tried")
	assert.Equal(t, 111, accounts(t, db)["ann"])
	require.NoError(t, records.Confirm(t.Context(), b, confirm))
	assert.Equal(t, 111, accounts(t, db)["ann"], "once")
	java.Must(Command{"op": "events"})
	assert.Equal(t, "Committed", java.Must(Command{"op": "commit", "xid": x}).Status)
	assert.Empty(t, java.Must(Command{"op": "events"}).Events, "Java finds Go's record and does nothing")
}

func testGoEnds(t *testing.T, tc *coordinator, java *Peer) {
	committed, rolledBack := begin(java), begin(java)
	require.NoError(t, inJava(java, committed))
	require.NoError(t, inJava(java, rolledBack))
	a := startGoActions(t, tc.address)
	defer func() { assert.NoError(t, a.client.Close(context.Background())) }()
	java.Kill()
	rollBack(t, tc.address, rolledBack)
	await := func(x string, want protocol.GlobalStatus) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		status, err := a.client.TM().Wait(ctx, x)
		require.NoError(t, err)
		assert.Equal(t, want, status)
	}
	await(rolledBack, protocol.StatusRollbacked)
	assert.ElementsMatch(t, []string{"give back 1099511627776 coat from shelf 7", "unbook 1099511627776 room"}, a.saw())
	commit(t, tc.address, committed)
	await(committed, protocol.StatusCommitted)
	assert.Equal(t, []string{"take 1099511627776 coat from shelf 7"}, a.saw())
}
