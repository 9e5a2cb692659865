package sqlparse

import "strings"

// sqliteDates are the functions that read the clock when their time argument
// is left out or is 'now'. The value tells how many arguments come before it.
var sqliteDates = map[string]int{
	"date": 0, "time": 0, "datetime": 0, "julianday": 0, "unixepoch": 0, "strftime": 1, "timediff": 0,
}

// repeatable refuses a WHERE that may mean other rows when it runs again.
// Subqueries may stay: a transaction that writes is the file's only writer, so
// the image query and the statement see the same rows.
func (p *sqliteParser) repeatable(where span) error {
	for i := where.from; i < where.to; i++ {
		name := strings.ToLower(p.text(i))
		if p.tokens[i].kind != tokenWord || p.punct(i-1, '.') {
			continue
		}
		volatile := false
		switch name {
		case "current_time", "current_date", "current_timestamp":
			volatile = true
		case "random", "randomblob", "changes", "total_changes", "last_insert_rowid":
			volatile = p.punct(i+1, '(')
		default:
			before, dated := sqliteDates[name]
			volatile = dated && p.punct(i+1, '(') && p.readsClock(i+2, before)
		}
		if volatile {
			return refuse("a WHERE with "+strings.ToUpper(name)+", which may mean other rows when it runs again", remedyArgument)
		}
	}
	return nil
}

// readsClock looks at the arguments of a date function: their tokens begin at
// i, and the time is the argument after the first ones.
func (p *sqliteParser) readsClock(i, before int) bool {
	depth := p.tokens[i-1].depth + 1
	arguments := 0
	for ; i < len(p.tokens) && p.tokens[i].depth >= depth; i++ {
		if arguments == 0 {
			arguments = 1
		}
		if p.tokens[i].depth == depth && p.punct(i, ',') {
			arguments++
		}
		if p.tokens[i].kind == tokenString && strings.EqualFold(p.text(i), "'now'") {
			return true
		}
	}
	return arguments <= before
}

// sqlitePragmas are the PRAGMAs with an argument that only read.
var sqlitePragmas = map[string]bool{
	"table_info": true, "table_xinfo": true, "table_list": true, "index_list": true, "index_info": true,
	"index_xinfo": true, "foreign_key_list": true, "foreign_key_check": true, "integrity_check": true, "quick_check": true,
}

// other judges the statements that are neither DML nor queries.
func (p *sqliteParser) other(verb string) error {
	p.st.Kind = Local
	switch verb {
	case "EXPLAIN":
		return nil
	case "SAVEPOINT":
		return p.savepoint(SetSavepoint, 1)
	case "RELEASE":
		return p.savepoint(ReleaseSavepoint, 1)
	case "PRAGMA":
		return p.pragma()
	case "ROLLBACK":
		p.at = 1
		p.accept("TRANSACTION")
		if p.accept("TO") {
			return p.savepoint(RollbackToSavepoint, p.at)
		}
		return refuse("ROLLBACK as text", remedyTx)
	case "BEGIN", "COMMIT", "END":
		return refuse("transaction control as text", remedyTx)
	case "REPLACE":
		return refuse("REPLACE deletes the rows it collides with", remedyPlain)
	case "CREATE", "DROP", "ALTER", "REINDEX", "ANALYZE", "VACUUM", "ATTACH", "DETACH":
		return refuse("a change of the schema or of the file", remedyOutside)
	default:
		return p.syntaxAt(p.tokens[0].start, "no statement begins like this")
	}
}

// savepoint takes [SAVEPOINT] name from token i.
func (p *sqliteParser) savepoint(verb SavepointVerb, i int) (err error) {
	p.at = i
	if i+1 < len(p.tokens) {
		p.accept("SAVEPOINT")
	}
	p.st.Savepoint.Verb = verb
	p.st.Savepoint.Name, err = p.identifier("a savepoint")
	return err
}

// pragma lets through what only reads.
func (p *sqliteParser) pragma() error {
	p.at = 1
	name, err := p.identifier("a name")
	if err == nil && p.acceptPunct('.') {
		name, err = p.identifier("a name")
	}
	if err != nil {
		return err
	}
	if p.at < len(p.tokens) && !(p.punct(p.at, '(') && sqlitePragmas[strings.ToLower(name)]) {
		return refuse("a PRAGMA that changes a setting", remedyOutside)
	}
	return nil
}
