package file_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/client/naming"
	"github.com/qiao-tx/qiao/client/naming/file"
)

// Every form says the same, as Java reads it.
func TestEveryFormOfSeataIsRead(t *testing.T) {
	for _, name := range []string{"file.conf", "registry.conf", "client.properties", "application.yml"} {
		for group, want := range map[string][]string{
			"":           {"127.0.0.1:8091", "tc2.internal:8092"},
			"shop-group": {"10.0.0.1:8091"},
		} {
			r, err := file.New(filepath.Join("testdata", name), group)
			require.NoError(t, err, name)
			got, err := r.Resolve(t.Context())
			require.NoError(t, err, name)
			assert.Equal(t, want, got, "%s, group %q", name, group)
		}
		_, err := file.New(filepath.Join("testdata", name), "other")
		assert.ErrorIs(t, err, file.ErrConfig)
		assert.ErrorContains(t, err, "service.vgroupMapping.other is missing")
	}
}

func TestAFileOfAnotherRegistryIsRefused(t *testing.T) {
	_, err := file.New("testdata/etcd.conf", "")
	assert.ErrorIs(t, err, file.ErrConfig)
	assert.ErrorContains(t, err, `registry.type is "etcd3"`)
	s, err := file.Read("testdata/etcd.conf")
	require.NoError(t, err)
	assert.Equal(t, "http://localhost:2379", s.Get("registry.etcd3.serverAddr"))
	assert.Equal(t, "http://localhost:2379", s.Get("registry.etcd3.server-addr"))
	assert.Empty(t, s.Get("registry.etcd3.password"))
}

// write makes a file and returns its path.
func write(t *testing.T, name, text string) string {
	path := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func TestAFileThatChangesIsReadAgain(t *testing.T) {
	const before = "service.vgroupMapping.default_tx_group=a\nservice.a.grouplist=h:1\nservice.b.grouplist=h:2\n"
	path := write(t, "c.properties", before)
	r, err := file.New(path, "default_tx_group")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, []byte(strings.Replace(before, "group=a", "group=b", 1)), 0o600))
	got, err := r.Resolve(t.Context())
	require.NoError(t, err)
	assert.Equal(t, []string{"h:2"}, got)
	require.NoError(t, os.Remove(path))
	_, err = r.Resolve(t.Context())
	assert.ErrorIs(t, err, os.ErrNotExist)
}

// A mistake names the file, the place and what is wanted.
func TestMistakes(t *testing.T) {
	const group = "service.vgroupMapping.default_tx_group=a\n"
	deep := strings.Repeat("a {", 100) + strings.Repeat("}", 100)
	for _, test := range []struct{ name, text, want string }{
		{"c.txt", group, "must end in .conf, .properties, .yml or .yaml"},
		{"c.properties", "", "service.vgroupMapping.default_tx_group is missing"},
		{"c.properties", group, "service.a.grouplist is missing"},
		{"c.properties", group + "service.a.grouplist=", "service.a.grouplist is missing"},
		{"c.properties", group + "service.a.grouplist=10.0.0.1", `"10.0.0.1": want host:port;host:port`},
		{"c.properties", group + "service.a.grouplist=h:1,h:2", "want host:port;host:port"},
		{"c.properties", group + "service.a.grouplist=h:1;;h:2", "want host:port;host:port"},
		{"c.properties", group + "service.a.grouplist=${TC:h:1}", "placeholders are not replaced here"},
		{"c.properties", `a=\u12`, `line 1: after \u want four digits`},
		{"c.conf", "service {\n a = 1", "line 2: a closing brace is missing"},
		{"c.conf", "service }", `after "service" want`},
		{"c.conf", "a = 1 }", "want a key"},
		{"c.conf", "{ a = 1 } b", "text after the last brace"},
		{"c.conf", "include \"x\"", `want =, : or {`},
		{"c.conf", "a = \"b\nc\"", "a line ends within quotes"},
		{"c.conf", `a = "b`, "closing quote is missing"},
		{"c.conf", `a = """b"`, `without an end`},
		{"c.conf", `a = "\x"`, `line 1: after \`},
		{"c.conf", "a = [1, 2", "closing bracket is missing"},
		{"c.conf", "a = ${b", "${ without }"},
		{"c.conf", "a += 1", "want =, : or {"},
		{"c.conf", "a+b = 1", `'+' in a key`},
		{"c.conf", "a = b { }", "put quotes around it"},
		{"c.conf", deep, "nested more than 32 deep"},
		{"c.conf", strings.Repeat("a", 2000) + " = 1", "a key of 2000 bytes"},
		{"c.conf", `config { type = file, file { name = "gone.conf" } }`, "config.file.name"},
		{"c.yml", strings.Repeat("{a: ", 100) + "b" + strings.Repeat("}", 100), "nested more than 32 deep"},
		{"c.yml", "a: [", "yaml"},
		{"c.yaml", "service: {vgroup-mapping: {default_tx_group: a}, grouplist: {a: [h:1]}}", "service.a.grouplist is missing"},
		{"c.yml", strings.Repeat("# long\n", 1<<18), "at most"},
	} {
		_, err := file.New(write(t, test.name, test.text), "default_tx_group")
		require.ErrorIs(t, err, file.ErrConfig, test.text)
		assert.ErrorContains(t, err, test.want, "%.100s", test.text)
		assert.ErrorContains(t, err, test.name)
	}
	_, err := file.New(t.TempDir()+"/dir.conf", "")
	assert.ErrorIs(t, err, os.ErrNotExist)
	_, err = file.New(write(t, "c.properties", group+"service.a.grouplist=nonsense"), "")
	assert.ErrorIs(t, err, naming.ErrAddress)
}
