package child

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"time"
)

const (
	readyTimeout = 60 * time.Second
	stopTimeout  = 20 * time.Second
)

// Process is a program that may be killed and started again. The exported
// fields are set before Start. It is not for concurrent use.
type Process struct {
	// Name is for messages.
	Name string
	// Command is the program and its arguments.
	Command []string
	// Dir is its working directory; empty: the caller's.
	Dir string
	// Address is the host:port at which it answers when it is ready.
	Address string
	// Health is an HTTP path that answers 200 when it is ready. Empty: it is ready
	// when it accepts connections.
	Health string
	// Log is the path of its log. Each start appends.
	Log string
	// Signal ends the program. Nil: it ends by itself when its standard input does.
	Signal os.Signal

	cmd    *exec.Cmd
	stdin  io.Closer
	exited chan struct{} // closed when the process has ended, with err
	err    error
}

// PID is the process's id, once it was started.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Start runs the program and returns when it answers.
func (p *Process) Start(ctx context.Context) error {
	if err := p.Launch(); err != nil {
		return fmt.Errorf("start the %s process: %w", p.Name, err)
	}
	return p.Await(ctx)
}

// Launch is Start without the wait: Await follows.
func (p *Process) Launch() error {
	log, err := os.OpenFile(p.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	p.cmd = exec.Command(p.Command[0], p.Command[1:]...)
	p.cmd.Dir = p.Dir
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.SysProcAttr = dieWithParent()
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return err
	}
	if err := p.cmd.Start(); err != nil {
		return err
	}
	p.exited = make(chan struct{})
	go func() { // ends with the process; Kill and Stop wait for it
		defer close(p.exited)
		p.err = p.cmd.Wait()
	}()
	return nil
}

// Await returns when the program answers.
func (p *Process) Await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	for !p.answers(ctx) {
		timer := time.NewTimer(20 * time.Millisecond)
		select {
		case <-p.exited:
			timer.Stop()
			return fmt.Errorf("the %s process ended at once: %w\n%s", p.Name, errors.Join(p.err, ctx.Err()), p.logTail())
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("the %s process does not answer: %w\n%s", p.Name, ctx.Err(), p.logTail())
		case <-timer.C:
		}
	}
	return nil
}

func (p *Process) answers(ctx context.Context) bool {
	if p.Health == "" {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", p.Address)
		if err != nil {
			return false
		}
		_ = conn.Close()
		return true
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.Address+p.Health, nil)
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// Kill ends the process as a crash would: it cannot notice.
func (p *Process) Kill() error {
	if err := p.cmd.Process.Kill(); err != nil {
		return err
	}
	<-p.exited
	return nil
}

// Stop asks the process to end and waits until it has; one that does not is
// killed. Nothing happens to one that was never started.
func (p *Process) Stop() error {
	if p.exited == nil {
		return nil
	}
	_ = p.stdin.Close() // fails only when the process has ended, as Signal does
	if p.Signal != nil {
		_ = p.cmd.Process.Signal(p.Signal)
	}
	timer := time.NewTimer(stopTimeout)
	defer timer.Stop()
	select {
	case <-p.exited:
		return nil
	case <-timer.C:
		return errors.Join(fmt.Errorf("the %s process does not end; killed", p.Name), p.Kill())
	}
}

func (p *Process) logTail() []byte {
	const most = 2000
	text, err := os.ReadFile(p.Log)
	if err != nil {
		return []byte(err.Error())
	}
	return bytes.TrimSpace(text[max(0, len(text)-most):])
}

// FreeAddress returns a host:port on which nothing listens at this moment.
func FreeAddress(host string) (string, error) {
	l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}
