//go:build linux

package faults

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"sync"
	"time"

	"github.com/qiao-tx/qiao/client"
)

// How a child process learns what it is.
const (
	roleVariable   = "QIAO_FAULTS_ROLE"
	configVariable = "QIAO_FAULTS_CONFIG"

	roleTM = "tm"
	roleRM = "rm"
)

// roleConfig describes a child process; it travels as JSON in its environment.
type roleConfig struct {
	// Name tells the processes of a bank apart.
	Name string
	// Listen is the process's own host:port, Coordinator the coordinator's.
	Listen, Coordinator string
	// Reports is the URL that is told of steps reached.
	Reports string
	// Driver and DSN are a resource manager's database.
	Driver, DSN string
	// Silent makes a resource manager keep orders for the TCC action for ever.
	Silent bool
}

// playRole is the whole life of a child process: it ends only by a signal.
func playRole(ctx context.Context, role string) error {
	var cfg roleConfig
	if err := json.Unmarshal([]byte(os.Getenv(configVariable)), &cfg); err != nil {
		return fmt.Errorf("%s: %w", configVariable, err)
	}
	c, err := client.Open(ctx, client.Config{Addresses: []string{cfg.Coordinator}, ApplicationID: cfg.Name})
	if err != nil {
		return err
	}
	steps := &failpoints{process: cfg.Name, reports: cfg.Reports, armed: map[string]int{}}
	var routes http.Handler
	switch role {
	case roleTM:
		routes = newInitiator(c.TM(), steps)
	case roleRM:
		if routes, err = newParticipant(ctx, c.RM(), cfg, steps); err != nil {
			return err
		}
	default:
		return fmt.Errorf("no role %q", role)
	}
	mux := http.NewServeMux()
	mux.Handle("/", routes)
	mux.Handle("POST /arm", answering(steps.arm))
	mux.HandleFunc("GET /health", func(http.ResponseWriter, *http.Request) {})
	server := &http.Server{Addr: cfg.Listen, Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	return server.ListenAndServe()
}

// failpoints are the steps of a process at which its parent may want to act.
type failpoints struct {
	process, reports string

	mu sync.Mutex
	// armed counts how often a step must still be reached.
	armed map[string]int
}

// arming asks for a report when the step is reached for the nth time from now.
type arming struct {
	Step string
	Nth  int
}

func (f *failpoints) arm(_ context.Context, a arming) (struct{}, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.armed[a.Step] = a.Nth
	return struct{}{}, nil
}

// reach tells the parent, if it wants to know, that the step is reached, and
// waits until the parent has acted: usually for ever, by kill -9.
func (f *failpoints) reach(step string) {
	f.mu.Lock()
	wanted := f.armed[step] == 1
	if f.armed[step]--; f.armed[step] <= 0 {
		delete(f.armed, step)
	}
	f.mu.Unlock()
	if !wanted {
		return
	}
	resp, err := http.PostForm(f.reports, url.Values{"process": {f.process}, "step": {step}})
	if err != nil {
		fmt.Fprintf(os.Stderr, "step %q not reported: %v\n", step, err)
		return
	}
	resp.Body.Close()
}

// answering makes an HTTP handler of a function on JSON. An error is status 500
// with its text.
func answering[Q, A any](do func(context.Context, Q) (A, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var question Q
		err := json.NewDecoder(r.Body).Decode(&question)
		var answer A
		if err == nil {
			answer, err = do(r.Context(), question)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		_ = json.NewEncoder(w).Encode(answer) // fails only when the caller is gone
	})
}

// ask calls such a handler.
func ask[A any](ctx context.Context, web *http.Client, url string, question any) (answer A, err error) {
	body, err := json.Marshal(question)
	if err != nil {
		return answer, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return answer, err
	}
	resp, err := web.Do(req)
	if err != nil {
		return answer, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = errors.New(string(bytes.TrimSpace(text)))
	}
	if err != nil {
		return answer, fmt.Errorf("%s: %w", url, err)
	}
	return answer, json.Unmarshal(text, &answer)
}

// oneShot is a transport without connections kept: one that a killed process
// held must not fail the next request.
func oneShot() *http.Transport { return &http.Transport{DisableKeepAlives: true} }
