//go:build linux

package compat

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/internal/javapeer"
	"github.com/qiao-tx/qiao/protocol"
)

// Steps that other places know by name.
const (
	stepFailFast = "fail-fast"
	stepMerged   = "merged requests"
	stepFallback = "who finishes a branch"
)

// scenario is the one script of all runs. batching is a coordinator of the same
// kind with batched responses.
func (r *run) scenario(batching coordinator) {
	r.orders = r.launch("the process that registered the branch", r.app, "127.0.0.1")
	r.stock = r.launch("the other application", "stock", "127.0.0.1")
	r.step("registration", r.registration)
	r.step("begin and end without branches", r.noBranches)
	r.step("AT commit", r.atCommit)
	r.step("AT rollback", r.atRollback)
	r.step("AT rollback over foreign changes", r.atDirty)
	r.step("TCC commit", r.tccCommit)
	r.step("TCC rollback", r.tccRollback)
	r.step("TCC confirm refused at first", r.tccRefused)
	r.step("AT and TCC together", r.atAndTCC)
	r.step("XA commit", r.xaCommit)
	r.step("XA rollback", r.xaRollback)
	r.step("saga report", r.sagaReport)
	r.step("lock conflict of two applications", r.lockConflict)
	r.step(stepFailFast, r.failFast)
	r.step("time-out", r.timeout)
	r.step("after the decision", r.decided)
	r.step("an unknown transaction", r.unknown)
	r.step("outcomes of Seata's template", r.template)
	r.step("the coordinator is killed and restarted", r.restart)
	if !wanted(stepMerged) && !wanted(stepFallback) {
		return
	}
	r.second = r.launch("another process on the same host", r.app, "127.0.0.1", merging(true)...)
	r.distant = r.launch("a process on another host", r.app, "127.0.0.2", merging(false)...)
	r.step(stepMerged, func() { r.merged(batching) })
	r.step(stepFallback, r.fallback)
}

func (r *run) registration() {
	// The oldest client connects when it has something to say.
	r.orders.Must(command{"op": "rollback", "xid": r.begin(r.orders)})
	var lines []string
	for _, s := range slices.Concat(r.orders.tap.since(0), r.stock.tap.since(0)) {
		var line string
		switch m := s.message.(type) {
		case *protocol.RegisterTMResult:
			line = fmt.Sprintf("transaction manager: identified %v", m.Identified)
		case *protocol.RegisterRMResult:
			line = fmt.Sprintf("resource manager: identified %v", m.Identified)
		}
		if line != "" && !slices.Contains(lines, line) {
			lines = append(lines, line)
		}
	}
	slices.Sort(lines)
	for _, line := range lines {
		r.see("%s", line)
	}
}

func (r *run) noBranches() {
	x := r.begin(r.orders)
	r.tell("status", r.orders, command{"op": "status", "xid": x})
	r.tell("commit", r.orders, command{"op": "commit", "xid": x})
	r.ends(r.orders, x)
	x = r.begin(r.orders)
	r.tell("rollback", r.orders, command{"op": "rollback", "xid": x})
	r.ends(r.orders, x)
}

var transfer = []string{
	"UPDATE account SET money = money - 30 WHERE id = 1",
	"UPDATE account SET money = money + 30 WHERE id = 2",
	"INSERT INTO account (id, owner, money) VALUES (3, 'cid', 1)",
}

func (r *run) atCommit() {
	x := r.begin(r.orders)
	r.tell("statements", r.orders, sqlOn(atDB, x, transfer...))
	r.tell("commit", r.orders, command{"op": "commit", "xid": x})
	r.ends(r.orders, x)
	r.see("accounts: %s", r.money())
	r.see("undo records are deleted: %v", await(settling, func() bool { return r.undoRows() == 0 }))
	r.refill()
}

func (r *run) atRollback() {
	x := r.begin(r.orders)
	r.tell("statements", r.orders, sqlOn(atDB, x, transfer...))
	r.see("accounts before: %s", r.money())
	r.tell("rollback", r.orders, command{"op": "rollback", "xid": x})
	r.ends(r.orders, x)
	r.see("accounts after: %s", r.money())
	r.see("undo records left: %d", r.undoRows())
}

func (r *run) atDirty() {
	// A row of its own: it stays locked.
	r.exec("INSERT INTO account (id, owner, money) VALUES (9, 'ida', 100)")
	x := r.begin(r.orders)
	r.tell("statement", r.orders, sqlOn(atDB, x, "UPDATE account SET money = money - 30 WHERE id = 9"))
	r.exec("UPDATE account SET money = 5 WHERE id = 9")
	r.tell("rollback", r.orders, command{"op": "rollback", "xid": x})
	r.endsWithin(5*time.Second, r.orders, x) // the oldest client has it tried again for ever
	r.see("accounts: %s", r.money())
	other := r.begin(r.stock)
	query := r.lockQuery(other)
	query["lock"] = "account:9"
	r.tell("the row, asked by another transaction", r.stock, query)
	r.stock.Must(command{"op": "rollback", "xid": other})
	r.refill()
	r.exec("DELETE FROM undo_log")
}

func (r *run) tries(c *client, n int) (x string) {
	x = r.begin(c)
	for range n {
		c.Must(command{"op": "try", "xid": x, "name": action})
	}
	return x
}

func (r *run) tccCommit() {
	x := r.tries(r.orders, 2)
	r.tell("commit", r.orders, command{"op": "commit", "xid": x})
	r.events("calls", r.orders)
	r.ends(r.orders, x)
}

func (r *run) tccRollback() {
	x := r.tries(r.orders, 2)
	r.tell("rollback", r.orders, command{"op": "rollback", "xid": x})
	r.events("calls", r.orders)
	r.ends(r.orders, x)
}

func (r *run) tccRefused() {
	x := r.tries(r.orders, 2)
	r.orders.Must(command{"op": "obey", "obey": false})
	mark := r.orders.tap.mark()
	a := r.orders.Do(command{"op": "commit", "xid": x})
	r.see("commit: %s", told(a))
	r.orders.Must(command{"op": "obey", "obey": true})
	r.ends(r.orders, x)
	r.see("orders repeated: %v", r.orders.tap.count(mark, protocol.TypeBranchCommit) > 2)
	var calls []string // a refusal is repeated as often as the time allows
	for _, event := range r.orders.Must(command{"op": "events"}).Events {
		if !slices.Contains(calls, event) {
			calls = append(calls, event)
		}
	}
	r.see("calls: %s", strings.Join(calls, ", "))
}

func (r *run) atAndTCC() {
	x := r.begin(r.orders)
	r.tell("statement", r.orders, sqlOn(atDB, x, transfer[2]))
	r.orders.Must(command{"op": "try", "xid": x, "name": action})
	r.tell("commit", r.orders, command{"op": "commit", "xid": x})
	r.events("calls", r.orders)
	r.ends(r.orders, x)
	r.see("undo records are deleted: %v", await(settling, func() bool { return r.undoRows() == 0 }))
	r.refill()
}

// prepared counts the branches of a transaction that are prepared in the database.
func (r *run) prepared(x string) (n int) {
	rows, err := r.db.QueryContext(r.t.Context(), "XA RECOVER")
	require.NoError(r.t, err)
	defer func() { require.NoError(r.t, rows.Close()) }()
	for rows.Next() {
		var format, gtrid, bqual int
		var data []byte
		require.NoError(r.t, rows.Scan(&format, &gtrid, &bqual, &data))
		if strings.HasPrefix(string(data), x) {
			n++
		}
	}
	require.NoError(r.t, rows.Err())
	return n
}

func (r *run) xaCommit() {
	// Each version with the driver that its XA works with on MariaDB 10. With
	// MySQL's the clients from 1.6 on would take MariaDB 10 for a MySQL
	// that lets any session finish a prepared branch, and hand its connection out
	// again; the older ones know no other driver.
	url := r.url
	if r.version != "1.4.2" && r.version != "1.5.2" {
		url = strings.Replace(url, "jdbc:mysql:", "jdbc:mariadb:", 1)
	}
	r.orders.Must(command{"op": "xa", "name": xaDB, "url": url})
	x := r.begin(r.orders)
	r.tell("statements", r.orders, sqlOn(xaDB, x, transfer[0]))
	r.tell("statements of a second branch", r.orders, sqlOn(xaDB, x, transfer[2]))
	r.see("branches prepared: %d", r.prepared(x))
	r.tell("commit", r.orders, command{"op": "commit", "xid": x})
	r.ends(r.orders, x)
	r.see("accounts: %s", r.money())
	r.see("branches left: %d", r.prepared(x))
	r.refill()
}

func (r *run) xaRollback() {
	x := r.begin(r.orders)
	r.tell("statements", r.orders, sqlOn(xaDB, x, transfer[0]))
	r.tell("statements of a second branch", r.orders, sqlOn(xaDB, x, transfer[2]))
	r.tell("a branch whose statement fails", r.orders, sqlOn(xaDB, x, "UPDATE nowhere SET money = 1"))
	r.tell("rollback", r.orders, command{"op": "rollback", "xid": x})
	r.ends(r.orders, x)
	r.see("accounts: %s", r.money())
	r.see("branches left: %d", r.prepared(x))
}

func (r *run) sagaReport() {
	for _, status := range []string{"Committed", "Rollbacked", "Finished"} {
		x := r.beginNamed(r.orders, "$Saga_compat", 60_000)
		r.tell("report "+status, r.orders, command{"op": "report", "xid": x, "status": status})
		r.ends(r.orders, x)
	}
}

func (r *run) lockConflict() {
	x := r.begin(r.orders)
	r.tell("the holder's statement", r.orders, sqlOn(atDB, x, transfer[0]))
	other := r.begin(r.stock)
	mark := r.stock.tap.mark()
	r.tell("the other's statement", r.stock, sqlOn(atDB, other, transfer[0]))
	r.see("attempts to register: %d", r.stock.tap.count(mark, protocol.TypeBranchRegister))
	mark = r.stock.tap.mark()
	auto := sqlOn(atDB, other, transfer[0])
	auto["autocommit"] = true
	r.tell("the same in autocommit", r.stock, auto)
	r.see("attempts to register: %d", r.stock.tap.count(mark, protocol.TypeBranchRegister))
	a := r.tell("a registration", r.stock, r.register(other, ""))
	r.see("its branch id: %d", a.Branch)
	r.tell("the row, asked by the other", r.stock, r.lockQuery(other))
	r.tell("the row, asked by the holder", r.orders, r.lockQuery(x))
	r.orders.Must(command{"op": "commit", "xid": x})
	r.tell("the row after the holder's commit", r.stock, r.lockQuery(other))
	r.tell("the other's rollback", r.stock, command{"op": "rollback", "xid": other})
	r.refill()
}

func (r *run) failFast() {
	x := r.begin(r.orders)
	r.orders.Must(sqlOn(atDB, x, transfer[0]))
	release := r.holdUndo(x)
	mark := r.orders.tap.mark()
	r.orders.Write(command{"op": "rollback", "xid": x})
	require.True(r.t, await(settling, func() bool { return r.orders.tap.count(mark, protocol.TypeBranchRollback) > 0 }))

	other := r.begin(r.stock)
	mark = r.stock.tap.mark()
	r.tell("the other's statement", r.stock, sqlOn(atDB, other, transfer[0]))
	r.see("attempts to register: %d", r.stock.tap.count(mark, protocol.TypeBranchRegister))
	r.tell("a registration with autoCommit=false", r.stock, r.register(other, `{"autoCommit":false}`))
	r.tell("a registration with autoCommit=true", r.stock, r.register(other, `{"autoCommit":true}`))
	r.tell("a registration without data", r.stock, r.register(other, ""))
	r.tell("a branch for the one that rolls back", r.stock, r.register(x, ""))
	r.tell("its commit", r.stock, command{"op": "commit", "xid": x})
	release()
	r.see("its rollback: %s", told(r.orders.Read()))
	r.ends(r.orders, x)
	r.see("accounts: %s", r.money())
	r.tell("the other's rollback", r.stock, command{"op": "rollback", "xid": other})
}

func (r *run) timeout() {
	x := r.beginNamed(r.orders, "slow", 1_000)
	r.orders.Must(command{"op": "try", "xid": x, "name": action})
	r.ends(r.stock, x)
	r.events("calls", r.orders)
	r.tell("a registration", r.orders, r.register(x, ""))
	r.tell("commit", r.orders, command{"op": "commit", "xid": x})
	r.tell("rollback", r.orders, command{"op": "rollback", "xid": x})
}

func (r *run) decided() {
	x := r.tries(r.orders, 1)
	r.tell("commit", r.orders, command{"op": "commit", "xid": x})
	r.tell("commit again", r.orders, command{"op": "commit", "xid": x})
	r.tell("rollback after the commit", r.orders, command{"op": "rollback", "xid": x})
	r.tell("a registration after the commit", r.orders, r.register(x, ""))
	x = r.tries(r.orders, 1)
	r.tell("rollback", r.orders, command{"op": "rollback", "xid": x})
	r.tell("rollback again", r.orders, command{"op": "rollback", "xid": x})
	r.tell("commit after the rollback", r.orders, command{"op": "commit", "xid": x})
	x = r.begin(r.orders)
	r.tell("a report of a branch that does not exist", r.orders, command{
		"op": "branch", "xid": x, "branch": 42, "type": "AT", "resource": r.resource, "status": "PhaseOne_Failed"})
	branch := r.orders.Must(command{"op": "try", "xid": x, "name": action}).Branch
	r.tell("a report that phase one failed", r.orders, command{
		"op": "branch", "xid": x, "branch": branch, "type": "TCC", "resource": action, "status": "PhaseOne_Failed"})
	r.orders.Must(command{"op": "events"})
	r.tell("rollback after that report", r.orders, command{"op": "rollback", "xid": x})
	r.events("calls", r.orders)
}

func (r *run) unknown() {
	const nobody = "198.51.100.1:8091:42"
	for _, op := range []string{"commit", "rollback", "status"} {
		r.tell(op, r.orders, command{"op": op, "xid": nobody})
	}
	for _, status := range []string{"Committed", "Rollbacked"} {
		r.tell("report "+status, r.orders, command{"op": "report", "xid": nobody, "status": status})
	}
	r.tell("a registration", r.orders, r.register(nobody, ""))
	r.tell("a report of a branch", r.orders, command{
		"op": "branch", "xid": nobody, "branch": 42, "type": "AT", "resource": r.resource, "status": "PhaseOne_Failed"})
	r.tell("a lock query", r.orders, r.lockQuery(nobody))
}

// template has Seata's own template end transactions whose fate changes inside.
func (r *run) template() {
	within := func(label, end string, timeoutMillis int, meanwhile func(x string)) {
		r.orders.Write(command{"op": "template", "name": "template", "timeout": timeoutMillis})
		x := r.orders.Read().XID
		require.NotEmpty(r.t, x)
		meanwhile(x)
		r.orders.Write(command{"op": end})
		r.see("%s: %s", label, told(r.orders.Read()))
	}
	decide := func(op string) func(string) {
		return func(x string) { r.stock.Must(command{"op": op, "xid": x}) }
	}
	nothing := func(string) {}
	within("the business succeeds", "end", 60_000, nothing)
	within("the business fails", "fail", 60_000, nothing)
	within("the business succeeds, committed meanwhile", "end", 60_000, decide("commit"))
	within("the business succeeds, rolled back meanwhile", "end", 60_000, decide("rollback"))
	within("the business fails, rolled back meanwhile", "fail", 60_000, decide("rollback"))
	within("the business fails, committed meanwhile", "fail", 60_000, decide("commit"))
	within("the business succeeds after the time-out", "end", 1_000, func(x string) {
		require.True(r.t, await(settling, func() bool {
			return !transient[r.stock.Do(command{"op": "status", "xid": x}).Status]
		}))
	})
}

// reconnected waits until a client speaks to the coordinator that restarted after
// the mark: its requests connect it, and the connection registers all its resources. Old
// clients may stall: their reader waits for a lock that is held by who waits for
// the answer, until that request's time-out of 30 s.
func (r *run) reconnected(c *client, mark int) {
	r.t.Helper()
	require.True(r.t, await(4*time.Minute, func() bool {
		return c.Do(r.lockQuery("198.51.100.1:8091:42")).Error == "" &&
			c.Do(command{"op": "status", "xid": "198.51.100.1:8091:42"}).Error == "" &&
			c.tap.count(mark, protocol.TypeRegisterRMResult) > 0
	}), "%s does not connect again", c.name)
}

func (r *run) restart() {
	committed := r.tries(r.orders, 1)
	r.orders.Must(command{"op": "commit", "xid": committed})
	undecided := r.tries(r.orders, 1)
	changed := r.begin(r.orders)
	r.orders.Must(sqlOn(atDB, changed, transfer[0]))
	r.orders.Must(command{"op": "events"})

	orders, stock := r.orders.tap.mark(), r.stock.tap.mark()
	r.tc.Kill()
	r.tc.Restart()
	r.reconnected(r.orders, orders)
	r.reconnected(r.stock, stock)
	r.see("the clients connect again: true")
	r.tell("what was committed before", r.orders, command{"op": "status", "xid": committed})
	r.tell("what was open before", r.orders, command{"op": "status", "xid": undecided})
	other := r.begin(r.stock)
	r.tell("a row that was locked before", r.stock, r.lockQuery(other))
	r.tell("its commit", r.orders, command{"op": "commit", "xid": undecided})
	r.events("calls", r.orders)
	r.tell("rollback of AT", r.orders, command{"op": "rollback", "xid": changed})
	r.ends(r.orders, changed)
	r.see("accounts: %s", r.money())
	r.tell("the row now", r.stock, r.lockQuery(other))
	r.stock.Must(command{"op": "rollback", "xid": other})
}

// carried says in which frames a client's messages travelled: requests of the
// types, and their results.
func (r *run) carried(c *client, mark int, types ...protocol.TypeCode) {
	for _, request := range types {
		frames := map[protocol.TypeCode][]string{}
		for _, s := range c.tap.since(mark) {
			for _, want := range []protocol.TypeCode{request, request + 1} {
				name := s.frame.String()
				if s.frame == want {
					name = "alone"
				}
				if s.message.TypeCode() == want && !slices.Contains(frames[want], name) {
					frames[want] = append(frames[want], name)
				}
			}
		}
		r.see("  %s in: %s, its result in: %s", request,
			strings.Join(frames[request], " or "), strings.Join(frames[request+1], " or "))
	}
}

func (r *run) merged(batching coordinator) {
	batched := *r
	batched.tc = batching
	whole := batched.launch("a client of the batching coordinator", r.app, "127.0.0.1", merging(true)...)
	for _, c := range []struct {
		label  string
		client *client
	}{
		{"merging as the client is by default", r.orders}, {"merging nothing", r.distant}, {"merging everything", r.second},
		{"merging everything, the coordinator batches its responses", whole},
	} {
		mark := c.client.tap.mark()
		x := r.tries(c.client, 2)
		a := c.client.Do(command{"op": "commit", "xid": x})
		r.see("%s: commit: %s", c.label, told(a))
		r.carried(c.client, mark, protocol.TypeGlobalBegin, protocol.TypeBranchRegister, protocol.TypeGlobalCommit)
		c.client.Must(command{"op": "events"})
	}
}

// fallback kills one process after the other and looks who gets the orders for
// branches that the first one registered.
func (r *run) fallback() {
	clients := []*client{r.orders, r.second, r.distant, r.stock}
	xids := []string{r.tries(r.orders, 1), r.tries(r.orders, 1), r.tries(r.orders, 1), r.tries(r.orders, 1)}
	changed := r.begin(r.orders)
	r.tell("an AT statement of the process", r.orders, sqlOn(atDB, changed, transfer[0]))
	for i, x := range xids {
		a := r.stock.Do(command{"op": "commit", "xid": x})
		r.see("TCC commit, processes left %d: %s, ordered to: %s", len(clients)-i, told(a), orderedTo(x, 3*time.Second, clients...))
		if i < len(clients)-1 {
			clients[i].Kill()
			time.Sleep(500 * time.Millisecond) // until the coordinator has noticed
		}
	}
	var a javapeer.Answer = r.stock.Do(command{"op": "rollback", "xid": changed})
	r.see("AT rollback, processes left 1: %s, ordered to: %s", told(a), orderedTo(changed, 3*time.Second, clients...))
	r.ends(r.stock, changed)
	r.see("accounts: %s", r.money())
}
