package at

import (
	"strings"

	"github.com/qiao-tx/qiao/datasource/schema"
	"github.com/qiao-tx/qiao/datasource/sqlparse"
)

// savepoint remembers how much had been recorded when it was set.
type savepoint struct {
	name    string
	entries int
}

// follow forgets the images of what a ROLLBACK TO took back. Their locks stay
// with the transaction: locking more rows than were changed harms nobody's data.
func (t *localTx) follow(s sqlparse.Savepoint) {
	if s.Verb == sqlparse.SetSavepoint {
		t.savepoints = append(t.savepoints, savepoint{s.Name, len(t.entries)})
		return
	}
	if s.Verb == 0 {
		return
	}
	for i := len(t.savepoints) - 1; i >= 0; i-- {
		if t.savepoints[i].name != s.Name && (t.dialect() == schema.PostgreSQL || !strings.EqualFold(t.savepoints[i].name, s.Name)) {
			continue
		}
		if s.Verb == sqlparse.RollbackToSavepoint {
			t.entries = t.entries[:t.savepoints[i].entries]
			i++ // it stands; those after it do not
		}
		t.savepoints = t.savepoints[:i]
		return
	}
}
