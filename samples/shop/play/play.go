package play

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/qiao-tx/qiao/internal/child"
	"github.com/qiao-tx/qiao/samples/shop/service"
)

// ErrInconsistent: the report says what differs.
var ErrInconsistent = errors.New("the shop's books do not agree")

// ErrUsage: a setting is wrong.
var ErrUsage = errors.New("wrong setting")

// Report is everything that a shop did.
type Report struct {
	RPC        string            `json:"rpc"`
	Mode       service.Mode      `json:"mode"`
	Languages  map[string]string `json:"languages"` // by service
	Orders     []Order           `json:"orders"`
	Books      Books             `json:"books"`
	Consistent bool              `json:"consistent"`
}

// show is a shop that runs.
type show struct {
	out       io.Writer
	watch     *watch
	fleet     *fleet
	databases *databases
	number    int64 // of the last order
}

// Run is the whole story of one shop. Its files are removed at the end unless
// something went wrong: then the error names the directory that has the logs.
func Run(ctx context.Context, cfg Config) (report Report, err error) {
	if err := cfg.Check(); err != nil {
		return report, err
	}
	dir, err := os.MkdirTemp("", "qiao-shop-")
	if err != nil {
		return report, err
	}
	defer func() { err = tidyUp(dir, err) }()
	if cfg.MySQL == "" && cfg.needsServer() {
		var server *child.Process
		server, cfg.MySQL, err = startMariaDB(ctx, dir)
		if server != nil {
			defer func() { err = errors.Join(err, server.Stop()) }()
		}
		if err != nil {
			return report, err
		}
	}
	d, err := openDatabases(ctx, dir, cfg.MySQL, cfg.Programs.Root)
	if err != nil {
		return report, err
	}
	defer func() { err = errors.Join(err, d.drop()) }()
	if err := d.seed(ctx); err != nil {
		return report, err
	}
	steps, err := readSteps(service.SagaMachine)
	if err != nil {
		return report, err
	}
	w := newWatch(cfg.language, steps)
	f, err := startFleet(ctx, cfg, dir, d, w)
	if err != nil {
		return report, err
	}
	defer func() { err = errors.Join(err, f.stop()) }()
	return (&show{out: cfg.Out, watch: w, fleet: f, databases: d}).run(ctx, cfg)
}

// tidyUp removes the shop's files, but for the logs when there is something to
// look up in them.
func tidyUp(dir string, failure error) error {
	logs, err := filepath.Glob(filepath.Join(dir, "*.log"))
	if failure == nil || len(logs) == 0 {
		return errors.Join(failure, err, os.RemoveAll(dir))
	}
	return errors.Join(fmt.Errorf("%w\n(logs are kept in %s)", failure, dir), err, os.RemoveAll(filepath.Join(dir, mariaDBData)))
}

func (s *show) run(ctx context.Context, cfg Config) (Report, error) {
	report := Report{RPC: cfg.RPC, Mode: cfg.Mode, Languages: map[string]string{}}
	var staff []string
	for _, name := range service.Names {
		report.Languages[name] = cfg.language(name)
		staff = append(staff, name+" in "+cfg.language(name))
	}
	fmt.Fprintf(s.out, "a shop over %s, mode %s: %s\n", cfg.RPC, cfg.Mode, strings.Join(staff, ", "))
	for _, sc := range scenes(cfg.Mode, !cfg.NoKill) {
		orders, err := s.perform(ctx, sc)
		report.Orders = append(report.Orders, orders...)
		if err != nil {
			return report, err
		}
	}
	var err error
	if report.Books, err = s.audit(ctx, report.Orders); err != nil {
		return report, err
	}
	printBooks(s.out, report.Books)
	report.Consistent = len(report.Books.Differences) == 0
	if !report.Consistent {
		return report, ErrInconsistent
	}
	return report, nil
}
