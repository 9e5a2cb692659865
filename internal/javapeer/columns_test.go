//go:build linux

package javapeer

import (
	"fmt"
	"slices"
	"strings"
)

// column is a type of column and values that are hard for it. Every table has
// NULL, too.
type column struct {
	name, declared string
	// values are literals of SQL; change is one that a statement assigns.
	values []string
	change string
	// show is the expression that shows the column v exactly; "" is its text.
	show string
	// lost is what v shows where Java's own record holds less than the row; nil
	// when it holds all.
	lost []string
	// unreadable: Java's driver fails on a row with these values.
	unreadable bool
	// strict names the server whose sql_mode by default keeps a Java service from
	// writing the values.
	strict string
}

const (
	inHex = "HEX(v)"
	asWKB = "CONCAT(ST_SRID(v), ' ', HEX(ST_AsBinary(v)))"
)

// columns are those of MySQL and MariaDB, as Java's driver reads them with its
// default settings.
var columns = []column{
	{name: "tinyint", declared: "TINYINT", values: []string{"-128", "127"}, change: "1"},
	{name: "tinyint unsigned", declared: "TINYINT UNSIGNED", values: []string{"0", "255"}, change: "1"},
	{name: "boolean", declared: "BOOLEAN", values: []string{"0", "1"}, change: "0"},
	{name: "boolean of other numbers", declared: "TINYINT(1)", values: []string{"5", "-7", "1"}, change: "7", lost: []string{"1", "0", "1"}},
	{name: "smallint", declared: "SMALLINT", values: []string{"-32768", "32767"}, change: "1"},
	{name: "smallint unsigned", declared: "SMALLINT UNSIGNED", values: []string{"65535"}, change: "1"},
	{name: "mediumint", declared: "MEDIUMINT", values: []string{"-8388608", "8388607"}, change: "1"},
	{name: "mediumint unsigned", declared: "MEDIUMINT UNSIGNED", values: []string{"16777215"}, change: "1"},
	{name: "int", declared: "INT", values: []string{"-2147483648", "2147483647"}, change: "1"},
	{name: "int unsigned", declared: "INT UNSIGNED", values: []string{"0", "4294967295"}, change: "1"},
	{name: "int zerofill", declared: "INT(8) ZEROFILL", values: []string{"42"}, change: "1"},
	{name: "bigint", declared: "BIGINT", values: []string{"-9223372036854775808", "9223372036854775807"}, change: "1"},
	{name: "bigint unsigned", declared: "BIGINT UNSIGNED", values: []string{"0", "9223372036854775807", "18446744073709551615"}, change: "1"},
	{name: "decimal", declared: "DECIMAL(20,4)", values: []string{"12345678901234.5678", "-0.0001", "0"}, change: "1"},
	{name: "decimal, widest", declared: "DECIMAL(65,30)", values: []string{
		"-12345678901234567890123456789012345.123456789012345678901234567890", "0.000000000000000000000000000001"}, change: "1"},
	{name: "float", declared: "FLOAT", values: []string{"0.1", "-1.5e30", "0"}, change: "1", show: "v + 0e0"},
	{name: "float of more than six digits", declared: "FLOAT", values: []string{"16777217", "1234.567"}, change: "1234.5678", show: "v + 0e0",
		lost: []string{"16777200", "1234.5699462890625"}},
	{name: "double", declared: "DOUBLE", values: []string{"0.1", "3", "-1e300", "4.9e-308"}, change: "1"},
	{name: "bit(1)", declared: "BIT(1)", values: []string{"b'0'", "b'1'"}, change: "b'0'", show: inHex},
	{name: "bit(8)", declared: "BIT(8)", values: []string{"b'10100101'", "b'0'"}, change: "b'1'", show: inHex},
	{name: "bit(64)", declared: "BIT(64)", values: []string{"x'ffffffffffffffff'", "b'1'"}, change: "b'10'", show: inHex},
	{name: "char", declared: "CHAR(10)", values: []string{"'abc'", "'张三'", "''"}, change: "'x'", show: inHex},
	{name: "varchar", declared: "VARCHAR(100)", values: []string{`'a''b"c\\d'`, `'2nd\nline <&> 🙂'`, "''", "'space  '"}, change: "'x'", show: inHex},
	{name: "varchar of latin1", declared: "VARCHAR(20) CHARACTER SET latin1", values: []string{"'é'"}, change: "'x'", show: inHex},
	{name: "tinytext", declared: "TINYTEXT", values: []string{"'abc'", "''"}, change: "'x'", show: inHex},
	{name: "text", declared: "TEXT", values: []string{"'张三 🙂'", "''"}, change: "'x'", show: inHex},
	{name: "mediumtext", declared: "MEDIUMTEXT", values: []string{"'张三'"}, change: "'x'", show: inHex},
	{name: "longtext", declared: "LONGTEXT", values: []string{"'张三'"}, change: "'x'", show: inHex},
	{name: "binary", declared: "BINARY(4)", values: []string{"x'00ff0001'", "x'00000000'"}, change: "'x'", show: inHex},
	{name: "varbinary", declared: "VARBINARY(20)", values: []string{"x'00ff'", "''"}, change: "'x'", show: inHex},
	{name: "tinyblob", declared: "TINYBLOB", values: []string{"x'00ff'", "''"}, change: "'x'", show: inHex},
	{name: "blob", declared: "BLOB", values: []string{"x'cafe00ff'", "''"}, change: "'x'", show: inHex},
	{name: "mediumblob", declared: "MEDIUMBLOB", values: []string{"x'cafe00ff'"}, change: "'x'", show: inHex},
	{name: "longblob", declared: "LONGBLOB", values: []string{"x'cafe00ff'"}, change: "'x'", show: inHex},
	{name: "date", declared: "DATE", values: []string{"'1990-01-02'", "'9999-12-31'", "'1583-01-01'"}, change: "'2000-01-01'"},
	{name: "time", declared: "TIME", values: []string{"'13:14:15'", "'00:00:00'"}, change: "'01:00:00'"},
	{name: "time with a fraction", declared: "TIME(6)", values: []string{"'13:14:15.123456'", "'00:00:00.5'"}, change: "'01:00:00.25'",
		lost: []string{"13:14:15.000000", "00:00:00.000000"}},
	{name: "time as a duration", declared: "TIME", values: []string{"'25:00:01'", "'-01:00:01'"}, change: "'01:00:00'", unreadable: true},
	{name: "datetime", declared: "DATETIME", values: []string{"'2024-05-06 07:08:09'", "'9999-12-31 23:59:59'", "'1970-01-01 00:00:00'"}, change: "'2000-01-01'"},
	{name: "datetime(3)", declared: "DATETIME(3)", values: []string{"'2024-05-06 07:08:09.123'"}, change: "'2000-01-01'"},
	{name: "datetime(6)", declared: "DATETIME(6)", values: []string{"'2024-05-06 07:08:09.123456'", "'1969-12-31 23:59:59.000001'"}, change: "'2000-01-01 00:00:00.000001'"},
	{name: "datetime of zero", declared: "DATETIME", values: []string{"'0000-00-00 00:00:00'"}, change: "'2000-01-01'", unreadable: true, strict: "MySQL"},
	{name: "timestamp", declared: "TIMESTAMP NULL", values: []string{"'2024-05-06 07:08:09'", "'1970-01-02 00:00:00'"}, change: "'2000-01-01'"},
	{name: "timestamp(3)", declared: "TIMESTAMP(3) NULL", values: []string{"'2024-05-06 07:08:09.123'"}, change: "'2000-01-01'"},
	{name: "timestamp(6)", declared: "TIMESTAMP(6) NULL", values: []string{"'2024-05-06 07:08:09.123456'"}, change: "'2000-01-01 00:00:00.000001'"},
	{name: "year", declared: "YEAR", values: []string{"1901", "2024", "2155"}, change: "2000"},
	{name: "enum", declared: "ENUM('a','张三','c')", values: []string{"'a'", "'张三'"}, change: "'c'", show: inHex},
	{name: "set", declared: "SET('x','y','z')", values: []string{"'x,z'", "''"}, change: "'y'", show: inHex},
	{name: "json", declared: "JSON", values: []string{`'{"k": [1, 2.50, null, "张三"]}'`, "'1'"}, change: "'2'"},
	{name: "geometry", declared: "GEOMETRY", values: []string{"ST_GeomFromText('POINT(1 2)')", "ST_GeomFromText('LINESTRING(0 0,1 1)')"},
		change: "ST_GeomFromText('POINT(3 4)')", show: asWKB},
	{name: "point with a reference system", declared: "POINT", values: []string{"ST_GeomFromText('POINT(1 2)', 4326)"},
		change: "ST_GeomFromText('POINT(3 4)', 4326)", show: asWKB},
}

// rows are statements that insert the values and NULL under the keys from first on.
func (c column) rows(table string, first int) []string {
	var statements []string
	for i, v := range append(slices.Clone(c.values), "NULL") {
		statements = append(statements, fmt.Sprintf("INSERT INTO %s (id, v) VALUES (%d, %s)", table, first+i, v))
	}
	return statements
}

// added is the first key of the rows that a branch inserts.
const added = 101

// changes are the statements of a branch. Each value is in the after image of an
// INSERT, and in the before images of an UPDATE and of a DELETE.
func (c column) changes(table string) []string {
	return append(c.rows(table, added),
		fmt.Sprintf("DELETE FROM %s WHERE id < %d", table, added),
		fmt.Sprintf("UPDATE %s SET v = %s", table, c.change))
}

// shown is the query for the rows.
func (c column) shown(table string) string {
	show := c.show
	if show == "" {
		show = "CAST(v AS CHAR)"
	}
	return fmt.Sprintf("SELECT id, COALESCE(%s, 'NULL') FROM %s ORDER BY id", show, table)
}

// withLosses is what is shown when the rows came from Java's own record.
func (c column) withLosses(before string) string {
	if c.lost == nil {
		return before
	}
	var b strings.Builder
	for i, v := range append(slices.Clone(c.lost), "NULL") {
		fmt.Fprintf(&b, "%d %s\n", i+1, v)
	}
	return b.String()
}
