package schema_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/qiao-tx/qiao/datasource/schema"
)

func TestQuote(t *testing.T) {
	for _, test := range []struct {
		dialect schema.Dialect
		name    string
		want    string
	}{
		{schema.MySQL, "order", "`order`"},
		{schema.MySQL, "a`b", "`a``b`"},
		{schema.MySQL, `a"b`, "`a\"b`"},
		{schema.SQLite, "order", "`order`"},
		{schema.PostgreSQL, "order", `"order"`},
		{schema.PostgreSQL, `a"b`, `"a""b"`},
		{schema.PostgreSQL, "a`b", "\"a`b\""},
		{schema.SQLite, `a"b`, "`a\"b`"},
		{schema.SQLite, "a`b]", "`a``b]`"},
	} {
		assert.Equal(t, test.want, test.dialect.Quote(test.name))
	}
	assert.Equal(t, "`db`.`t`", schema.MySQL.QuoteTable("db", "t"))
	assert.Equal(t, "`t`", schema.SQLite.QuoteTable("", "t"))
}

func TestTablesOfPostgreSQLAreNamedAsJavaNamesThem(t *testing.T) {
	for name, table := range map[string]schema.Table{
		"t": {Name: "t", Schema: "public"}, "other.t": {Name: "t", Schema: "other"}, "u": {Name: "u"},
	} {
		assert.Equal(t, name, table.FullName())
	}
	assert.Equal(t, `"public"."t"`, (&schema.Table{Name: "t", Schema: "public"}).Quoted(schema.PostgreSQL))
	assert.Equal(t, "`t`", (&schema.Table{Name: "t"}).Quoted(schema.MySQL))
	assert.Equal(t, "$3", schema.PostgreSQL.Placeholder(3))
	assert.Equal(t, "?", schema.MySQL.Placeholder(3))
}

func TestTableLooksColumnsUpInAnyCase(t *testing.T) {
	table := &schema.Table{
		Columns:    []schema.Column{{Name: "Id"}, {Name: "total", Hidden: true}, {Name: "note"}},
		PrimaryKey: []string{"Id"},
	}
	c, ok := table.Column("ID")
	assert.True(t, ok)
	assert.Equal(t, "Id", c.Name)
	_, ok = table.Column("absent")
	assert.False(t, ok)
	assert.True(t, table.IsKey("iD"))
	assert.False(t, table.IsKey("note"))
	assert.Equal(t, []string{"Id", "note"}, table.InsertColumns())
}
