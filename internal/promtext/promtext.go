// Package promtext reads what a server publishes for Prometheus.
//
// Job: fetch a metrics page and turn its text into numbers by name.
// Owner: qiao bench and qiao demo, which look at a server from outside.
// It must not know: which metrics there are.
package promtext

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Limits of one page.
const (
	timeout  = 10 * time.Second
	maxBytes = 4 << 20
	maxLine  = 1 << 20
)

// Values are samples by metric name; those of one name that differ in labels
// are added up.
type Values map[string]float64

// Fetch reads the page at the URL. It may be retried.
func Fetch(ctx context.Context, url string) (Values, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("metrics: %s answers %s", url, resp.Status)
	}
	values, err := Parse(io.LimitReader(resp.Body, maxBytes))
	if err != nil {
		return nil, fmt.Errorf("metrics: %s: %w", url, err)
	}
	return values, nil
}

// Parse reads the text format.
func Parse(r io.Reader) (Values, error) {
	values := Values{}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		if line := lines.Text(); line != "" && line[0] != '#' {
			name, value, err := sample(line)
			if err != nil {
				return nil, err
			}
			values[name] += value
		}
	}
	return values, lines.Err()
}

// sample takes apart "name 1" or "name{label="x"} 1 timestamp".
func sample(line string) (name string, value float64, err error) {
	bad := func() (string, float64, error) { return "", 0, fmt.Errorf("not a sample: %.80q", line) }
	name, rest, _ := strings.Cut(line, " ")
	if i := strings.IndexByte(line, '{'); i >= 0 {
		end := strings.LastIndexByte(line, '}')
		if end < i {
			return bad()
		}
		name, rest = line[:i], line[end+1:]
	}
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		return bad()
	}
	if value, err = strconv.ParseFloat(fields[0], 64); err != nil {
		return bad()
	}
	return name, value, nil
}
