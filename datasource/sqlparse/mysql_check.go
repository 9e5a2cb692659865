package sqlparse

import (
	"strings"

	"github.com/pingcap/tidb/pkg/parser/ast"
)

// mysqlVolatile names the functions that may give another result when the
// image query and then the statement call them. NOW() is one: it is constant
// within a statement only.
const mysqlVolatile = " rand uuid uuid_short uuid_v4 uuid_v7 sys_guid random_bytes sleep benchmark " +
	"now current_timestamp localtime localtimestamp sysdate curdate current_date curtime current_time " +
	"utc_date utc_time utc_timestamp row_count found_rows nextval setval lastval " +
	"get_lock release_lock release_all_locks "

// repeatable refuses a WHERE that may mean other rows when it runs again.
func repeatable(where ast.ExprNode) error {
	v := &whereVisitor{}
	where.Accept(v)
	if v.refused != nil {
		return v.refused
	}
	return nil
}

type whereVisitor struct{ refused *Unsupported }

func (v *whereVisitor) Enter(n ast.Node) (ast.Node, bool) {
	switch e := n.(type) {
	case *ast.SubqueryExpr:
		// FOR UPDATE does not reach into a subquery: the image query reads it
		// from the transaction's snapshot, the UPDATE or DELETE as it is now.
		v.refused = refuse("a subquery in WHERE, which the image query and the statement may see differently", remedyReadFirst)
	case *ast.VariableExpr:
		if e.Value != nil {
			v.refused = refuse("an assignment to a user variable in WHERE", remedyArgument)
		}
	case *ast.FuncCallExpr:
		name := e.FnName.L
		clock := name == "unix_timestamp" && len(e.Args) == 0
		if e.Schema.L != "" {
			v.refused = refuse("a stored function in WHERE, which may give another result when it runs again", remedyArgument)
		} else if clock || strings.Contains(mysqlVolatile, " "+name+" ") {
			v.refused = refuse("a WHERE with "+strings.ToUpper(name)+"(), which may mean other rows when it runs again", remedyArgument)
		}
	}
	return n, v.refused != nil
}

func (v *whereVisitor) Leave(n ast.Node) (ast.Node, bool) { return n, v.refused == nil }

// nestedLock tells whether a query within the query locks rows.
func nestedLock(n *ast.SelectStmt) bool {
	v := &lockVisitor{outer: n}
	n.Accept(v)
	return v.found
}

type lockVisitor struct {
	outer ast.Node
	found bool
}

func (v *lockVisitor) Enter(n ast.Node) (ast.Node, bool) {
	if s, ok := n.(*ast.SelectStmt); ok && n != v.outer && locksForUpdate(s.LockInfo) {
		v.found = true
	}
	return n, v.found
}

func (v *lockVisitor) Leave(n ast.Node) (ast.Node, bool) { return n, !v.found }

// aggregates tells whether the select list folds rows together.
func aggregates(fields *ast.FieldList) bool {
	v := &aggregateVisitor{}
	if fields != nil {
		fields.Accept(v)
	}
	return v.found
}

type aggregateVisitor struct{ found bool }

func (v *aggregateVisitor) Enter(n ast.Node) (ast.Node, bool) {
	switch n.(type) {
	case *ast.AggregateFuncExpr, *ast.WindowFuncExpr:
		v.found = true
	}
	return n, v.found
}

func (v *aggregateVisitor) Leave(n ast.Node) (ast.Node, bool) { return n, !v.found }

// mysqlOther judges the statements that are neither DML nor a plain SELECT.
func mysqlOther(node ast.StmtNode) (Kind, error) {
	switch n := node.(type) {
	case *ast.SetOprStmt:
		v := &lockVisitor{}
		n.Accept(v)
		if v.found {
			return 0, refuse("FOR UPDATE in a UNION", "lock each table's rows with a SELECT of its own")
		}
		return Read, nil
	case *ast.ShowStmt, *ast.SavepointStmt, *ast.ReleaseSavepointStmt:
		return Local, nil
	case *ast.ExplainStmt:
		if n.Analyze {
			return 0, refuse("EXPLAIN ANALYZE runs the statement", remedyOutside)
		}
		return Local, nil
	case *ast.RollbackStmt:
		if n.SavepointName != "" {
			return Local, nil
		}
		return 0, refuse("ROLLBACK as text", remedyTx)
	case *ast.BeginStmt, *ast.CommitStmt:
		return 0, refuse("transaction control as text", remedyTx)
	case *ast.SetStmt:
		return Local, checkSet(n)
	case *ast.LockTablesStmt, *ast.UnlockTablesStmt:
		return 0, refuse("LOCK TABLES commits the local transaction implicitly", remedyOutside)
	case ast.DDLNode:
		return 0, refuse("DDL commits the local transaction implicitly", remedyOutside)
	case *ast.CallStmt:
		return 0, refuse("CALL: what a procedure changes is not known", "write its statements out")
	case *ast.LoadDataStmt:
		return 0, refuse("LOAD DATA", "insert the rows with INSERT … VALUES")
	case *ast.UseStmt:
		return 0, refuse("USE changes the database under a pooled connection", "qualify the table's name")
	case *ast.PrepareStmt, *ast.ExecuteStmt, *ast.DeallocateStmt:
		return 0, refuse("PREPARE and EXECUTE as text hide the statement", "prepare it with database/sql")
	default:
		return 0, refuse("a kind of statement whose effect on rows is not known", remedyOutside)
	}
}

func mysqlSavepoint(node ast.StmtNode) Savepoint {
	switch n := node.(type) {
	case *ast.SavepointStmt:
		return Savepoint{SetSavepoint, n.Name}
	case *ast.ReleaseSavepointStmt:
		return Savepoint{ReleaseSavepoint, n.Name}
	case *ast.RollbackStmt:
		return Savepoint{RollbackToSavepoint, n.SavepointName}
	default:
		return Savepoint{}
	}
}

// checkSet refuses the settings that end the local transaction or change how
// the statements after it parse.
func checkSet(n *ast.SetStmt) error {
	for _, v := range n.Variables {
		if !v.IsSystem {
			continue
		}
		switch strings.ToLower(v.Name) {
		case "autocommit", "completion_type":
			return refuse("SET "+v.Name+" changes when the local transaction commits", remedyTx)
		case "sql_mode":
			return refuse("SET sql_mode may change how statements parse", "set it in the data source name")
		case "time_zone":
			return refuse("SET time_zone: images show TIMESTAMPs in the zone that every connection has", "set it in the data source name")
		}
	}
	return nil
}
