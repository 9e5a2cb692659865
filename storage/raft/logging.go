package raft

import (
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"
	"slices"
	"strings"

	"github.com/hashicorp/go-hclog"
)

// hclogAdapter gives Raft's messages to slog. Raft tells of every election and
// compaction at level info, and warns of each start of a single node: here they
// are one level lower.
type hclogAdapter struct {
	to *slog.Logger
	// member: of a node in a cluster, whose store tells by itself, and once, that
	// another does not answer.
	member bool
}

// unreachable begin the messages that Raft repeats while another node is away.
var unreachable = []string{
	"failed to heartbeat to", "failed to appendEntries to", "failed to make requestVote RPC", "failed to pipeline appendEntries",
	"failed to start pipeline replication to", "failed to contact", "failed to decode incoming command", "failed to flush response",
	"rejecting ", "peer has newer term",
}

func (a hclogAdapter) level(level hclog.Level, msg string) slog.Level {
	if a.member && slices.ContainsFunc(unreachable, func(begin string) bool { return strings.HasPrefix(msg, begin) }) {
		return slog.LevelDebug
	}
	return slogLevel(level)
}

var _ hclog.Logger = hclogAdapter{}

func slogLevel(level hclog.Level) slog.Level {
	switch level {
	case hclog.Error:
		return slog.LevelError
	case hclog.Warn:
		return slog.LevelInfo
	case hclog.Info:
		return slog.LevelDebug
	default:
		return slog.LevelDebug - 4
	}
}

func (a hclogAdapter) Log(level hclog.Level, msg string, args ...any) {
	ctx := context.Background()
	to := a.level(level, msg)
	if !a.to.Enabled(ctx, to) {
		return
	}
	for i, arg := range args {
		if f, ok := arg.(hclog.Format); ok && len(f) > 0 {
			args[i] = fmt.Sprintf(fmt.Sprint(f[0]), f[1:]...)
		}
	}
	a.to.Log(ctx, to, "raft: "+msg, args...)
}

func (a hclogAdapter) Trace(msg string, args ...any) { a.Log(hclog.Trace, msg, args...) }
func (a hclogAdapter) Debug(msg string, args ...any) { a.Log(hclog.Debug, msg, args...) }
func (a hclogAdapter) Info(msg string, args ...any)  { a.Log(hclog.Info, msg, args...) }
func (a hclogAdapter) Warn(msg string, args ...any)  { a.Log(hclog.Warn, msg, args...) }
func (a hclogAdapter) Error(msg string, args ...any) { a.Log(hclog.Error, msg, args...) }

func (a hclogAdapter) enabled(level hclog.Level) bool {
	return a.to.Enabled(context.Background(), slogLevel(level))
}

func (a hclogAdapter) IsTrace() bool { return a.enabled(hclog.Trace) }
func (a hclogAdapter) IsDebug() bool { return a.enabled(hclog.Debug) }
func (a hclogAdapter) IsInfo() bool  { return a.enabled(hclog.Info) }
func (a hclogAdapter) IsWarn() bool  { return a.enabled(hclog.Warn) }
func (a hclogAdapter) IsError() bool { return a.enabled(hclog.Error) }

func (a hclogAdapter) ImpliedArgs() []any { return nil }
func (a hclogAdapter) With(args ...any) hclog.Logger {
	return hclogAdapter{a.to.With(args...), a.member}
}
func (a hclogAdapter) Name() string                   { return "" }
func (a hclogAdapter) Named(string) hclog.Logger      { return a }
func (a hclogAdapter) ResetNamed(string) hclog.Logger { return a }
func (a hclogAdapter) SetLevel(hclog.Level)           {}
func (a hclogAdapter) GetLevel() hclog.Level          { return hclog.NoLevel }
func (a hclogAdapter) StandardLogger(*hclog.StandardLoggerOptions) *log.Logger {
	return slog.NewLogLogger(a.to.Handler(), slog.LevelInfo)
}
func (a hclogAdapter) StandardWriter(o *hclog.StandardLoggerOptions) io.Writer {
	return a.StandardLogger(o).Writer()
}
