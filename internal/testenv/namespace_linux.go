package testenv

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	// NamespaceAddress is the address, of nobody elsewhere (RFC 5737), that a
	// process in a namespace has beside its loopback.
	NamespaceAddress = "192.0.2.1"
	// namespaceVariable is set in a namespace.
	namespaceVariable = "QIAO_TEST_IN_NAMESPACE"
	// noNamespace is what namespaceScript ends with when it may not make one.
	noNamespace = 125
)

// namespaceScript makes the network of a new namespace, and runs a command in it.
// Of a veth pair one end has the address; the other keeps it up.
const namespaceScript = `PATH=$PATH:/usr/sbin:/sbin
ip link set lo up && ip link add qiao0 type veth peer name qiao1 &&
ip addr add ` + NamespaceAddress + `/24 dev qiao0 && ip link set qiao0 up && ip link set qiao1 up || exit 125
exec "$@"`

// InNamespace tells whether this is the second run of a test, in its namespace.
func InNamespace() bool { return os.Getenv(namespaceVariable) != "" }

// RunInNamespace runs the test t a second time, in a process that has a network
// of its own: the loopback and NamespaceAddress. It is cut off from every other
// one, so what it starts may listen on all interfaces and on ports of its choice,
// and must not download anything: what needs the network is for the first run to
// do, which hands results over in the environment, as "name=value". The namespace
// is gone with the last of its processes, however that ends.
//
// Where the machine does not allow this the test ends as with Missing. It takes
// root, or user namespaces for everybody.
func RunInNamespace(t *testing.T, environment ...string) {
	t.Helper()
	only := "^" + t.Name() + "$"
	if _, subtests, some := strings.Cut(flag.Lookup("test.run").Value.String(), "/"); some {
		only += "/" + subtests
	}
	args := []string{"-c", namespaceScript, "sh", os.Args[0], "-test.run=" + only, "-test.v", "-test.count=1"}
	if deadline, ok := t.Deadline(); ok {
		// Its own end comes first, and tells where it stood.
		args = append(args, fmt.Sprint("-test.timeout=", time.Until(deadline)-5*time.Second))
	}
	cmd := exec.CommandContext(t.Context(), "sh", args...)
	// A server that the environment names cannot be reached from there.
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool {
		return slices.ContainsFunc([]string{MariaDBVariable, MySQLVariable, PostgreSQLVariable},
			func(name string) bool { return strings.HasPrefix(v, name+"=") })
	})
	cmd.Env = append(append(cmd.Env, namespaceVariable+"=1"), environment...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	}
	out, err := cmd.CombinedOutput()
	var ended *exec.ExitError
	if errors.Is(err, fs.ErrPermission) || errors.As(err, &ended) && ended.ExitCode() == noNamespace {
		Missing(t, fmt.Sprintf("a network namespace (%v: %s)", err, bytes.TrimSpace(out)),
			"apt-get install iproute2, and run the tests as root or where users may make namespaces")
	}
	switch {
	case err != nil:
		t.Fatalf("in the namespace: %v\n%s", err, out)
	case !bytes.Contains(out, []byte("--- PASS: "+t.Name())) && !bytes.Contains(out, []byte("--- SKIP: "+t.Name())):
		t.Fatalf("in the namespace no such test ran:\n%s", out)
	default:
		t.Logf("in the namespace:\n%s", out)
	}
}
