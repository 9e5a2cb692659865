package sqlparse

import "strings"

// postgresSettings are those that change which rows a text means, or what it
// means at all.
var postgresSettings = map[string]bool{
	"search_path": true, "schema": true, "role": true, "session_authorization": true, "standard_conforming_strings": true,
	"session_replication_role": true, "row_security": true, "names": true, "client_encoding": true,
}

// other judges the statements that are neither DML nor queries.
func (p *postgresParser) other(verb string) error {
	p.st.Kind = Local
	switch verb {
	case "SHOW", "LOCK", "LISTEN", "UNLISTEN", "NOTIFY", "FETCH", "MOVE", "CLOSE":
		return nil
	case "EXPLAIN":
		for i := range p.tokens {
			if p.word(i, "ANALYZE") || p.word(i, "ANALYSE") {
				return refuse("EXPLAIN ANALYZE executes the statement", "leave ANALYZE out")
			}
		}
		return nil
	case "SET", "RESET":
		return p.set()
	case "SAVEPOINT":
		return p.savepoint(SetSavepoint, 1)
	case "RELEASE":
		return p.savepoint(ReleaseSavepoint, 1)
	case "ROLLBACK":
		p.at = 1
		_ = p.accept("WORK") || p.accept("TRANSACTION")
		if p.accept("TO") {
			return p.savepoint(RollbackToSavepoint, p.at)
		}
		return refuse("ROLLBACK as text", remedyTx)
	case "BEGIN", "START", "COMMIT", "END", "ABORT":
		return refuse("transaction control as text", remedyTx)
	}
	return p.refused(verb)
}

// refused says why a statement is.
func (p *postgresParser) refused(verb string) error {
	switch verb {
	case "PREPARE":
		if p.word(1, "TRANSACTION") {
			return refuse("transaction control as text", remedyTx)
		}
		return refuse("PREPARE as text", "use the prepared statements of database/sql")
	case "EXECUTE", "DEALLOCATE":
		return refuse(verb+" as text", "use the prepared statements of database/sql")
	case "DECLARE":
		return refuse("a cursor, whose rows are not checked for global locks", "read the rows with a SELECT")
	case "COPY":
		return refuse("COPY changes rows that no image shows", "use INSERT, or "+remedyOutside)
	case "MERGE":
		return refuse("MERGE changes rows whose values are not known beforehand", remedyPlain)
	case "TRUNCATE":
		return refuse("TRUNCATE changes rows that no image shows", "use DELETE")
	case "CALL", "DO":
		return refuse(verb+" runs code that may change rows which no image shows", "run its statements one by one")
	case "DISCARD":
		return refuse("DISCARD changes what the session's statements mean", remedyOutside)
	case "CREATE", "DROP", "ALTER", "COMMENT", "GRANT", "REVOKE", "REINDEX", "ANALYZE", "VACUUM", "CLUSTER", "REFRESH",
		"SECURITY", "IMPORT", "REASSIGN", "CHECKPOINT", "LOAD":
		return refuse("a change of the schema or of the server", remedyOutside)
	default:
		return p.syntaxAt(p.tokens[0].start, "no statement begins like this")
	}
}

// set lets through the settings that change no statement's meaning.
func (p *postgresParser) set() error {
	p.at = 1
	if p.word(1, "SESSION", "AUTHORIZATION") {
		return refuse("SET SESSION AUTHORIZATION", remedyOutside)
	}
	_ = p.accept("LOCAL") || p.accept("SESSION")
	name, err := p.identifier("a setting")
	if err != nil {
		return err
	}
	if all := p.word(0, "RESET") && name == "all"; all || postgresSettings[strings.ToLower(name)] {
		return refuse("the setting "+name+" changes what the session's statements mean", remedyOutside)
	}
	return nil
}
