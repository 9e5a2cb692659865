package load

import (
	"context"
	"fmt"
	"strings"

	"github.com/qiao-tx/qiao/internal/promtext"
)

// serverFigures is what a server says of itself at one moment.
type serverFigures struct {
	cpuSeconds, rssBytes, batches float64
}

// scrape reads the server's metrics.
// scrape adds up the figures of all servers.
func scrape(ctx context.Context, urls string) (serverFigures, error) {
	var sum serverFigures
	for url := range strings.SplitSeq(urls, ",") {
		f, err := scrapeOne(ctx, url)
		if err != nil {
			return sum, err
		}
		sum.cpuSeconds += f.cpuSeconds
		sum.rssBytes += f.rssBytes
		sum.batches += f.batches
	}
	return sum, nil
}

func scrapeOne(ctx context.Context, url string) (serverFigures, error) {
	values, err := promtext.Fetch(ctx, url)
	if err != nil {
		return serverFigures{}, err
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
