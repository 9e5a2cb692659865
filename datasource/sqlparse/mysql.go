package sqlparse

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/pingcap/tidb/pkg/parser"
	"github.com/pingcap/tidb/pkg/parser/ast"
	"github.com/pingcap/tidb/pkg/parser/opcode"
	driver "github.com/pingcap/tidb/pkg/parser/test_driver" // the parser's light value types
)

// parseMySQL lets TiDB's parser judge the statement and takes the clauses'
// text from our tokens, so that the image queries repeat the user's own words.
func parseMySQL(src *source, st *Statement) error {
	node, err := parseTiDB(src.sql)
	if err != nil {
		// Some servers know clauses that the parser does not.
		found, _ := src.sections(0)
		switch {
		case !found[sectionReturning].empty():
			return refuse("RETURNING", remedyReturning)
		case !found[sectionInto].empty() && src.word(0, "SELECT"):
			return refuse(reasonInto, remedyInto)
		}
		return err
	}
	switch n := node.(type) {
	case *ast.InsertStmt:
		return mysqlInsert(src, st, n)
	case *ast.UpdateStmt:
		return mysqlUpdate(src, st, n)
	case *ast.DeleteStmt:
		return mysqlDelete(src, st, n)
	case *ast.SelectStmt:
		return mysqlSelect(src, st, n)
	default:
		st.Savepoint = mysqlSavepoint(node)
		st.Kind, err = mysqlOther(node)
		return err
	}
}

// parseTiDB parses one statement. The parser is made by a generator and does
// arithmetic on literals; a panic in it over a foreign text must not end the
// caller's process, so it counts as a failure to parse.
func parseTiDB(sql string) (node ast.StmtNode, err error) {
	defer func() {
		if r := recover(); r != nil {
			node, err = nil, fmt.Errorf("%w: the parser failed on it: %v", ErrSyntax, r)
		}
	}()
	nodes, _, err := parser.New().ParseSQL(sql)
	if err != nil {
		return nil, fmt.Errorf("%w: %s", ErrSyntax, strings.TrimSpace(err.Error()))
	}
	if len(nodes) != 1 {
		return nil, refuse("several statements in one text", "run them one by one")
	}
	return nodes[0], nil
}

func mysqlInsert(src *source, st *Statement, n *ast.InsertStmt) error {
	st.Kind = Insert
	switch {
	case n.IsReplace:
		return refuse("REPLACE deletes the rows it collides with", remedyPlain)
	case n.IgnoreErr:
		return refuse("INSERT IGNORE skips rows silently", remedyPlain)
	case len(n.OnDuplicate) > 0:
		return refuse("ON DUPLICATE KEY UPDATE", remedyPlain)
	case n.Select != nil:
		return refuse("INSERT … SELECT: the new rows are not known beforehand", remedyValues)
	case len(n.PartitionNames) > 0:
		return refuse("a PARTITION clause", "leave it out")
	}
	if err := mysqlTable(st, n.Table); err != nil {
		return err
	}
	for _, column := range n.Columns {
		st.Columns = append(st.Columns, column.Name.O)
	}
	for _, list := range n.Lists {
		row := make([]Value, 0, len(list))
		for _, value := range list {
			v, err := mysqlValue(src, value)
			if err != nil {
				return err
			}
			row = append(row, v)
		}
		st.Rows = append(st.Rows, row)
	}
	if len(st.Rows) > 0 && len(st.Rows[0]) == 0 {
		st.Columns = []string{} // VALUES () leaves every column out
	}
	return checkRows(st)
}

// mysqlValue is one value of VALUES.
func mysqlValue(src *source, n ast.ExprNode) (Value, error) {
	switch v := n.(type) {
	case *driver.ParamMarkerExpr:
		i, found := slices.BinarySearchFunc(src.tokens, v.Offset, func(t token, offset int) int { return t.start - offset })
		if !found || src.tokens[i].kind != tokenParam {
			return Value{}, disagree("placeholder")
		}
		return Value{Kind: ValueParam, Param: src.tokens[i].param}, nil
	case *driver.ValueExpr:
		return mysqlLiteral(v), nil
	case *ast.DefaultExpr:
		if v.Name == nil {
			return Value{Kind: ValueDefault}, nil
		}
	case *ast.ParenthesesExpr:
		return mysqlValue(src, v.Expr)
	case *ast.UnaryOperationExpr:
		if number, ok := v.V.(*driver.ValueExpr); ok && v.Op == opcode.Minus {
			return negated(mysqlLiteral(number)), nil
		}
	}
	return Value{Kind: ValueExpr}, nil
}

// mysqlLiteral takes the literals whose value does not depend on the column
// they go to; x'41' is a number or text as the case may be.
func mysqlLiteral(v *driver.ValueExpr) Value {
	switch literal := v.GetValue().(type) {
	case nil:
		return Value{Kind: ValueNull}
	case int64, uint64, float64, string:
		return Value{Kind: ValueLiteral, Literal: literal}
	case *driver.MyDecimal:
		return Value{Kind: ValueLiteral, Literal: literal.String()}
	default:
		return Value{Kind: ValueExpr}
	}
}

// negated is the literal behind a minus sign.
func negated(v Value) Value {
	switch literal := v.Literal.(type) {
	case int64:
		return Value{Kind: ValueLiteral, Literal: -literal}
	case uint64:
		if literal == 1<<63 {
			return Value{Kind: ValueLiteral, Literal: int64(math.MinInt64)}
		}
	case float64:
		return Value{Kind: ValueLiteral, Literal: -literal}
	}
	return Value{Kind: ValueExpr}
}

func mysqlUpdate(src *source, st *Statement, n *ast.UpdateStmt) error {
	st.Kind = Update
	switch {
	case n.With != nil:
		return refuse("a WITH clause", remedyReadFirst)
	case n.IgnoreErr:
		return refuse("UPDATE IGNORE skips rows silently", "leave IGNORE out")
	}
	if err := mysqlTable(st, n.TableRefs); err != nil {
		return err
	}
	for _, assignment := range n.List {
		st.Set = append(st.Set, assignment.Column.Name.O)
	}
	return mysqlRows(src, st, n.Where, n.Order, n.Limit)
}

func mysqlDelete(src *source, st *Statement, n *ast.DeleteStmt) error {
	st.Kind = Delete
	switch {
	case n.With != nil:
		return refuse("a WITH clause", remedyReadFirst)
	case n.IgnoreErr:
		return refuse("DELETE IGNORE skips rows silently", "leave IGNORE out")
	case n.IsMultiTable:
		return refuse("a DELETE from several tables", remedyOneTable)
	}
	if err := mysqlTable(st, n.TableRefs); err != nil {
		return err
	}
	return mysqlRows(src, st, n.Where, n.Order, n.Limit)
}

func mysqlSelect(src *source, st *Statement, n *ast.SelectStmt) error {
	st.Kind = Read
	if n.SelectIntoOpt != nil {
		return refuse(reasonInto, remedyInto)
	}
	if nestedLock(n) {
		return refuse("FOR UPDATE in a subquery", remedyOwnSelect)
	}
	if !locksForUpdate(n.LockInfo) {
		return nil
	}
	st.Kind = SelectForUpdate
	if n.With != nil {
		return refuse("a WITH clause", remedyReadFirst)
	}
	if n.From == nil {
		st.Kind = Read // SELECT 1 FOR UPDATE locks nothing
		return nil
	}
	if err := mysqlTable(st, n.From); err != nil {
		return err
	}
	if err := mysqlRows(src, st, n.Where, n.OrderBy, n.Limit); err != nil {
		return err
	}
	if n.Limit != nil && (n.Distinct || n.GroupBy != nil || n.Having != nil || aggregates(n.Fields)) {
		return refuse(reasonGroups, remedyLockFirst)
	}
	if n.Limit != nil && n.LockInfo.LockType == ast.SelectLockForUpdateSkipLocked {
		return refuse(reasonSkipLocked, remedySkipLocked)
	}
	found, _ := src.sections(0)
	st.ForUpdateSuffix = src.expr(found[sectionLock]).SQL
	if st.ForUpdateSuffix == "" {
		return disagree("locking clause")
	}
	return nil
}

func locksForUpdate(lock *ast.SelectLockInfo) bool {
	if lock == nil {
		return false
	}
	switch lock.LockType {
	case ast.SelectLockForUpdate, ast.SelectLockForUpdateNoWait,
		ast.SelectLockForUpdateWaitN, ast.SelectLockForUpdateSkipLocked:
		return true
	default:
		return false
	}
}

// mysqlTable takes the one table of a statement.
func mysqlTable(st *Statement, refs *ast.TableRefsClause) error {
	if refs == nil || refs.TableRefs == nil || refs.TableRefs.Right != nil {
		return refuse(reasonJoin, remedyOneTable)
	}
	from, ok := refs.TableRefs.Left.(*ast.TableSource)
	if !ok {
		return refuse(reasonJoin, remedyOneTable)
	}
	table, ok := from.Source.(*ast.TableName)
	if !ok {
		return refuse("a derived table", "name the table itself")
	}
	if len(table.PartitionNames) > 0 || table.TableSample != nil || table.AsOf != nil {
		return refuse("a PARTITION, TABLESAMPLE or AS OF clause", "choose the rows with WHERE")
	}
	st.Schema, st.Table, st.Alias = table.Schema.O, table.Name.O, from.AsName.O
	return nil
}

// mysqlRows takes the clauses that choose rows, and sees that both readings of
// the statement, the parser's and ours, agree on what there is.
func mysqlRows(src *source, st *Statement, where ast.ExprNode, order *ast.OrderByClause, limit *ast.Limit) error {
	found, _ := src.sections(0)
	switch {
	case found[sectionWhere].empty() != (where == nil):
		return disagree("WHERE")
	case found[sectionOrder].empty() != (order == nil):
		return disagree("ORDER BY")
	case found[sectionLimit].empty() != (limit == nil):
		return disagree("LIMIT")
	}
	if where != nil {
		if err := repeatable(where); err != nil {
			return err
		}
	}
	return src.rows(st, found)
}

func disagree(what string) *Unsupported {
	return refuse("its "+what+" cannot be located with certainty", "write the statement more plainly, without comments and outer parentheses")
}
