package tidy

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// heavy is what a service that only takes part must not link: server rooms,
// Raft, etcd, gRPC, a console, a database that it does not use.
var heavy = regexp.MustCompile(`^github\.com/qiao-tx/qiao/(server|storage|cmd|internal)(/|$)|/raft|etcd|^google\.golang\.org/grpc|bbolt|console|sqlite|prometheus|cobra|testify`)

// TestServiceLinksOnlyTheSDK lists what a program in a module of its own links
// when it uses the SDK with MySQL.
func TestServiceLinksOnlyTheSDK(t *testing.T) {
	tree, err := filepath.Abs(root)
	require.NoError(t, err)
	mod, err := os.ReadFile(filepath.Join(tree, "go.mod"))
	require.NoError(t, err)
	sum, err := os.ReadFile(filepath.Join(tree, "go.sum"))
	require.NoError(t, err)
	// With the tree's own requirements nothing has to be looked up.
	fresh := strings.Replace(string(mod), "module "+module, "module example.org/service", 1) +
		"\nrequire " + module + " v0.0.0\nreplace " + module + " => " + tree + "\n"
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod": fresh,
		"go.sum": string(sum),
		"main.go": `package main

import (
	"bytes"
	_ "github.com/go-sql-driver/mysql"
	_ "` + module + `/client"
	_ "` + module + `/client/http"
	_ "` + module + `/datasource"
	_ "` + module + `/rm/tcc"
	_ "` + module + `/saga"
	_ "` + module + `/saga/httpservice"
	_ "` + module + `/tm"
)

func main() {}
`,
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	list := exec.Command("go", "list", "-mod=mod", "-deps", ".")
	list.Dir = dir
	list.Env = append(os.Environ(), "GOWORK=off")
	var complaints bytes.Buffer
	list.Stderr = &complaints
	out, err := list.Output()
	require.NoError(t, err, complaints.String())
	packages := strings.Fields(string(out))
	require.Contains(t, packages, module+"/datasource")
	for _, name := range packages {
		if heavy.MatchString(name) {
			t.Errorf("a service that uses the SDK with MySQL links %s", name)
		}
	}
}
