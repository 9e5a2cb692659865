//go:build linux

package javapeer

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
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
	return Compile("peer", "peer/src/main/java/qiao/Peer.java")
})

// Compile has Maven fetch what the pom.xml in a directory names, and compiles a
// source, or all below a directory of sources, with it. It returns a class path
// with the classes, the directory's src/main/resources and the libraries. Options
// are Maven's, such as "-Dseata.version=2.5.0".
func Compile(where, source string, options ...string) (classpath string, err error) {
	pom, err := os.ReadFile(filepath.Join(where, "pom.xml"))
	if err != nil {
		return "", err
	}
	libraries, err := testenv.MavenClasspath(pom, options...)
	if err != nil {
		return "", err
	}
	classes, err := os.MkdirTemp("", "java-peer-")
	if err != nil {
		return "", err
	}
	args := []string{"-nowarn", "-parameters", "-cp", libraries, "-d", classes}
	err = filepath.WalkDir(source, func(path string, _ fs.DirEntry, err error) error {
		if filepath.Ext(path) == ".java" {
			args = append(args, path)
		}
		return err
	})
	if err != nil {
		return "", err
	}
	if err := run("javac", args...); err != nil {
		return "", err
	}
	resources, err := filepath.Abs(filepath.Join(where, "src", "main", "resources"))
	if err != nil {
		return "", err
	}
	return strings.Join([]string{classes, resources, libraries}, ":"), nil
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
	// Ready is what the program said when it was ready.
	Ready Answer

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
	testenv.NeedJava(t)
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
	testenv.NeedJava(t)
	classpath, err := Compile("peer", "peer/src/main/java/qiao/Peer.java", "-Petcd")
	if err != nil {
		t.Fatalf("build the Java client with etcd: %v", err)
	}
	return launch(t, classpath, "qiao.Peer", "", app, append(settings, "registry.type=etcd3", "registry.etcd3.serverAddr="+endpoint)...)
}

// StartOld is Start for a client of io.seata's, which knows AT only.
func StartOld(t testing.TB, version, address, app string, settings ...string) *Peer {
	t.Helper()
	testenv.NeedJava(t)
	classpath, err := Compile("peer", "peer/old/qiao/Rows.java", "-Dseata.group=io.seata", "-Dseata.version="+version)
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
	if p.Ready = p.Read(); !p.Ready.Ready {
		t.Fatalf("the Java client did not get ready: %+v", p.Ready)
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
