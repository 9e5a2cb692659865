//go:build linux

package javapeer

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/qiao-tx/qiao/internal/testenv"
)

var codecProgram = sync.OnceValues(func() (string, error) {
	return Compile("codecs", "codecs/src/main/java/qiao/Codecs.java")
})

// Codecs is a process with Java Seata's own codecs and compressors.
type Codecs struct {
	t     testing.TB
	cmd   *exec.Cmd
	stdin io.WriteCloser
	in    *bufio.Writer
	out   *bufio.Reader
	log   lockedBuffer
}

// StartCodecs runs the process until the test ends.
func StartCodecs(t testing.TB) *Codecs {
	t.Helper()
	testenv.NeedJava(t)
	classpath, err := codecProgram()
	if err != nil {
		t.Fatalf("build the Java codecs: %v", err)
	}
	c := &Codecs{t: t}
	c.cmd = exec.Command("java", "-Xmx256m", "-XX:TieredStopAtLevel=1", "-cp", classpath, "qiao.Codecs")
	c.cmd.Stderr = &c.log
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if c.stdin, err = c.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	stdout, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.in, c.out = bufio.NewWriter(c.stdin), bufio.NewReader(stdout)
	if err := c.cmd.Start(); err != nil {
		t.Fatalf("start the Java codecs: %v", err)
	}
	t.Cleanup(func() {
		_ = c.stdin.Close() // it ends at the end of its input
		ended := time.AfterFunc(10*time.Second, func() { _ = c.cmd.Process.Kill() })
		_ = c.cmd.Wait()
		ended.Stop()
		if t.Failed() {
			t.Logf("log of the Java codecs:\n%s", c.log.String())
		}
	})
	return c
}

// Translate returns what Java reads in a body of the codec from, as a body of
// the codec to. The error is Java's exception.
func (c *Codecs) Translate(from, to byte, body []byte) ([]byte, error) {
	return c.ask('t', from, to, body)
}

// Compress returns the bytes as Java's compressor with the id packs them.
func (c *Codecs) Compress(id byte, body []byte) ([]byte, error) { return c.ask('c', id, 0, body) }

// Decompress is the inverse of Compress.
func (c *Codecs) Decompress(id byte, packed []byte) ([]byte, error) { return c.ask('d', id, 0, packed) }

// ask is one question and its answer: see Codecs.java.
func (c *Codecs) ask(operation, from, to byte, b []byte) ([]byte, error) {
	c.t.Helper()
	impatient := time.AfterFunc(patience, func() { _ = c.cmd.Process.Kill() })
	defer impatient.Stop()
	head := binary.BigEndian.AppendUint32([]byte{operation, from, to}, uint32(len(b)))
	_, _ = c.in.Write(head)
	_, _ = c.in.Write(b)
	if err := c.in.Flush(); err != nil {
		c.t.Fatalf("the Java codecs do not read: %v", err)
	}
	var answer [5]byte
	if _, err := io.ReadFull(c.out, answer[:]); err != nil {
		c.t.Fatalf("the Java codecs ended, or did not answer within %v: %v", patience, err)
	}
	result := make([]byte, binary.BigEndian.Uint32(answer[1:]))
	if _, err := io.ReadFull(c.out, result); err != nil {
		c.t.Fatalf("the Java codecs ended: %v", err)
	}
	if answer[0] == 0 {
		return nil, fmt.Errorf("java: %s", result)
	}
	return result, nil
}
