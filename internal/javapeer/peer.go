//go:build linux

package javapeer

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/qiao-tx/qiao/internal/testenv"
)

// program is the class path of the compiled Java program, made once per process.
var program = sync.OnceValues(func() (string, error) {
	return compile("peer", "peer/src/main/java/qiao/Peer.java", "org.apache.seata", "2.5.0")
})

// compile returns the class path of one source, with the libraries of the pom.xml
// in a directory of this package, for a version of Seata; options are Maven's.
func compile(where, source, group, version string, options ...string) (classpath string, err error) {
	dir, err := os.MkdirTemp("", "java-peer-")
	if err != nil {
		return "", err
	}
	list := filepath.Join(dir, "classpath")
	classes := filepath.Join(dir, "classes")
	if err := run("mvn", append(options, "-q", "-B", "-f", where+"/pom.xml", "dependency:build-classpath", "-Dmdep.outputFile="+list,
		"-Dseata.group="+group, "-Dseata.version="+version)...); err != nil {
		return "", err
	}
	libraries, err := os.ReadFile(list)
	if err != nil {
		return "", err
	}
	if err := run("javac", "-nowarn", "-cp", string(libraries), "-d", classes, source); err != nil {
		return "", err
	}
	resources, err := filepath.Abs(where + "/src/main/resources")
	if err != nil {
		return "", err
	}
	return strings.Join([]string{classes, resources, string(libraries)}, ":"), nil
}

// needJava reports what the suite lacks, if anything.
func needJava(t testing.TB) {
	t.Helper()
	for _, tool := range []string{"java", "javac", "mvn"} {
		if _, err := exec.LookPath(tool); err != nil {
			testenv.Missing(t, tool, "apt-get install openjdk-17-jdk-headless maven")
		}
	}
}

func run(name string, args ...string) error {
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w\n%s", name, err, out)
	}
	return nil
}

// Peer is a running Java client.
type Peer struct {
	t      testing.TB
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stdout *bufio.Reader
	log    lockedBuffer
}

// Command is one command to the client: "op" names it.
type Command map[string]any

// Answer is what the client answers.
type Answer struct {
	XID     string
	Status  string
	Branch  int64
	Outcome string
	Port    int
	Rows    [][]string
	Events  []string
	// Error is the exception, with its causes.
	Error string
	Ready bool
}

// Start runs a Java client named app against the coordinator at address. It is
// stopped when the test ends, however that ends; its log is shown when the test
// has failed. Settings are Seata's own, as "name=value", or the JVM's.
func Start(t testing.TB, address, app string, settings ...string) *Peer {
	t.Helper()
	needJava(t)
	classpath, err := program()
	if err != nil {
		t.Fatalf("build the Java client: %v", err)
	}
	return launch(t, classpath, "qiao.Peer", address, app, settings...)
}

// StartEtcd is Start for a client that finds coordinators in etcd (registry.type
// etcd3).
func StartEtcd(t testing.TB, endpoint, app string, settings ...string) *Peer {
	t.Helper()
	needJava(t)
	classpath, err := compile("peer", "peer/src/main/java/qiao/Peer.java", "org.apache.seata", "2.5.0", "-Petcd")
	if err != nil {
		t.Fatalf("build the Java client with etcd: %v", err)
	}
	return launch(t, classpath, "qiao.Peer", "", app, append(settings, "registry.type=etcd3", "registry.etcd3.serverAddr="+endpoint)...)
}

// StartOld is Start for a client of io.seata's, which knows AT only.
func StartOld(t testing.TB, version, address, app string, settings ...string) *Peer {
	t.Helper()
	needJava(t)
	classpath, err := compile("peer", "peer/old/qiao/Rows.java", "io.seata", version)
	if err != nil {
		t.Fatalf("build the Java client %s: %v", version, err)
	}
	return launch(t, classpath, "qiao.Rows", address, app, settings...)
}

func launch(t testing.TB, classpath, main, address, app string, settings ...string) *Peer {
	t.Helper()
	program := Program{Classpath: classpath, Main: main, Args: []string{app}}
	for _, setting := range append(settings, "service.default.grouplist="+address) {
		program.Options = append(program.Options, "-D"+setting)
	}
	return Launch(t, program)
}

// Program is a Java program that is driven as Peer.java is.
type Program struct {
	Classpath, Main string
	// Options are the JVM's, Args the program's.
	Options, Args []string
}

// Launch runs a program as Start does. The machine must have Java.
func Launch(t testing.TB, program Program) *Peer {
	t.Helper()
	p := &Peer{t: t}
	args := append([]string{"-Xmx256m", "-XX:TieredStopAtLevel=1", "--add-opens=java.base/java.lang=ALL-UNNAMED", // for Seata 1.4
		"-Dorg.slf4j.simpleLogger.defaultLogLevel=info"}, program.Options...)
	args = append(args, "-cp", program.Classpath, program.Main)
	p.cmd = exec.Command("java", append(args, program.Args...)...)
	p.cmd.Stderr = &p.log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var err error
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.stdout = bufio.NewReader(stdout)
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("start the Java client: %v", err)
	}
	t.Cleanup(p.stop)
	if a := p.Read(); !a.Ready {
		t.Fatalf("the Java client did not get ready: %+v", a)
	}
	return p
}

// Kill ends the client at once, as a crash would.
func (p *Peer) Kill() { _ = p.cmd.Process.Kill() }

func (p *Peer) stop() {
	_ = p.stdin.Close() // it ends at the end of its input
	ended := time.AfterFunc(10*time.Second, func() { _ = p.cmd.Process.Kill() })
	_ = p.cmd.Wait()
	ended.Stop()
	if p.t.Failed() {
		p.t.Logf("log of the Java client:\n%s", p.log.String())
	}
}

// Do gives a command and returns its answer.
func (p *Peer) Do(c Command) Answer {
	p.t.Helper()
	p.Write(c)
	return p.Read()
}

// Must is Do for a command that has to succeed.
func (p *Peer) Must(c Command) Answer {
	p.t.Helper()
	a := p.Do(c)
	if a.Error != "" {
		p.t.Fatalf("%v: %s", c, a.Error)
	}
	return a
}

// Write gives a command whose answer is read later.
func (p *Peer) Write(c Command) {
	p.t.Helper()
	line, err := json.Marshal(c)
	if err != nil {
		p.t.Fatal(err)
	}
	if _, err := p.stdin.Write(append(line, '\n')); err != nil {
		p.t.Fatalf("the Java client does not read: %v", err)
	}
}

// patience is how long the client has for an answer.
const patience = 90 * time.Second

// Read returns the next answer.
func (p *Peer) Read() Answer {
	p.t.Helper()
	impatient := time.AfterFunc(patience, func() { _ = p.cmd.Process.Kill() })
	line, err := p.stdout.ReadBytes('\n')
	impatient.Stop()
	if err != nil {
		p.t.Fatalf("the Java client ended, or did not answer within %v: %v", patience, err)
	}
	var a Answer
	if err := json.Unmarshal(line, &a); err != nil {
		p.t.Fatalf("the Java client answered %q: %v", line, err)
	}
	return a
}

// lockedBuffer keeps the client's log.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
