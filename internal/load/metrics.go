package load

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

// serverFigures is what a server says of itself at one moment.
type serverFigures struct {
	cpuSeconds, rssBytes, batches float64
}

// maxMetrics bounds what is read of a server's answer.
const maxMetrics = 4 << 20

// scrape reads the server's Prometheus metrics.
func scrape(ctx context.Context, url string) (serverFigures, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return serverFigures{}, fmt.Errorf("metrics: %w", err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return serverFigures{}, fmt.Errorf("metrics: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return serverFigures{}, fmt.Errorf("metrics: %s answers %s", url, resp.Status)
	}
	values, err := parseMetrics(io.LimitReader(resp.Body, maxMetrics))
	if err != nil {
		return serverFigures{}, fmt.Errorf("metrics: %s: %w", url, err)
	}
	var f serverFigures
	for _, want := range []struct {
		name  string
		value *float64
	}{
		{"process_cpu_seconds_total", &f.cpuSeconds},
		{"process_resident_memory_bytes", &f.rssBytes},
		{"qiao_batches_total", &f.batches},
	} {
		value, ok := values[want.name]
		if !ok {
			return serverFigures{}, fmt.Errorf("metrics: %s has no %s", url, want.name)
		}
		*want.value = value
	}
	return f, nil
}

// parseMetrics reads the text format; the samples of one name are added up.
func parseMetrics(r io.Reader) (map[string]float64, error) {
	values := map[string]float64{}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		if line == "" || line[0] == '#' {
			continue
		}
		name, rest, _ := strings.Cut(line, " ")
		if i := strings.IndexByte(line, '{'); i >= 0 {
			end := strings.LastIndexByte(line, '}')
			if end < i {
				return nil, fmt.Errorf("not a sample: %.80q", line)
			}
			name, rest = line[:i], line[end+1:]
		}
		fields := strings.Fields(rest)
		if len(fields) == 0 {
			return nil, fmt.Errorf("not a sample: %.80q", line)
		}
		value, err := strconv.ParseFloat(fields[0], 64)
		if err != nil {
			return nil, fmt.Errorf("not a sample: %.80q", line)
		}
		values[name] += value
	}
	return values, lines.Err()
}
