package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"
)

// Config is the set-up of one server. Default gives the zero-effort values;
// Load fills it and validates it.
type Config struct {
	// Listen is the host:port of the one port that serves the Seata protocol
	// and HTTP. Port 0 takes a free one.
	Listen string
	// InsecureListen allows a Listen that is not loopback although nothing is
	// encrypted and nobody is authenticated.
	InsecureListen bool
	// Advertise is the host or host:port in XIDs and towards clients. Empty:
	// the listening host, or the first address of a network card when that is a
	// wildcard. Without a port it takes the listening one.
	Advertise string
	// PortFile, when set, receives the address actually listened on once the
	// server serves.
	PortFile string

	// Data is the directory of the durable store and of the node's identity.
	Data string
	// DiskReserveMiB is the free space of the disk, in MiB, below which nothing
	// new is begun; 0 is none.
	DiskReserveMiB int
	// StoreMode names the store; the embedded log, "raft", is the one there is.
	StoreMode string

	// LogFormat is "text" or "json", LogLevel "debug", "info", "warn" or "error".
	LogFormat, LogLevel string

	// MaxConnections bounds the open connections; further ones are closed.
	MaxConnections int
	// MaxRequests bounds the requests that are under way in the whole server;
	// further ones fail at once.
	MaxRequests int
	// FirstBytesTimeout is how long a new connection may take to show which
	// protocol it speaks.
	FirstBytesTimeout time.Duration
	// ReadIdleTimeout closes a Seata connection that was silent for so long;
	// 0 never does.
	ReadIdleTimeout time.Duration
	// DrainTimeout is how long a stopping server waits for what is under way.
	DrainTimeout time.Duration
	// BatchResponses lets clients from 1.5.0 and before 2.3.0 get the answers
	// to a merged request as one BatchResult instead of a MergeResult.
	BatchResponses bool

	// AnswerTimeout is how long a resource manager has for a phase-two order.
	AnswerTimeout time.Duration
	// RetryAfter is the wait after the first failed round of phase two; it
	// doubles with every further one up to RetryMax.
	RetryAfter, RetryMax time.Duration
	// Retention is how long a finished transaction answers with its outcome.
	Retention time.Duration
	// ParallelBranches has the branches of different resources of a transaction
	// commit, and roll back, at once; those of one resource keep their order.
	ParallelBranches bool
	// XANotFoundGrace is how long after its time-out an XA branch unknown to
	// the database may still appear.
	XANotFoundGrace time.Duration

	// UndoSaveDays is how old, in days, an undo log must be for the periodic
	// clean-up on the clients' databases; UndoDeletePeriod is the period.
	UndoSaveDays     int
	UndoDeletePeriod time.Duration
}

// Default returns the configuration of a server that is told nothing.
func Default() Config {
	return Config{
		Listen:            "127.0.0.1:8091",
		Data:              "qiao-data",
		DiskReserveMiB:    256,
		StoreMode:         "raft",
		LogFormat:         "text",
		LogLevel:          "info",
		MaxConnections:    10_000,
		MaxRequests:       65_536,
		FirstBytesTimeout: 10 * time.Second,
		ReadIdleTimeout:   15 * time.Second,
		DrainTimeout:      30 * time.Second,
		AnswerTimeout:     15 * time.Second,
		RetryAfter:        500 * time.Millisecond,
		RetryMax:          30 * time.Second,
		Retention:         3 * time.Minute,
		XANotFoundGrace:   time.Minute,
		UndoSaveDays:      7,
		UndoDeletePeriod:  24 * time.Hour,
	}
}

// Validate answers every mistake that the values show by themselves, joined.
func (c *Config) Validate() error {
	var errs []error
	bad := func(when bool, format string, args ...any) {
		if when {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	errs = append(errs, c.validateListen())
	bad(c.Data == "", "data: the directory of the store must be named")
	bad(c.DiskReserveMiB < 0 || c.DiskReserveMiB > 1<<30, "disk-reserve-mib %d: want 0 to 2^30", c.DiskReserveMiB)
	bad(!strings.EqualFold(c.StoreMode, "raft"),
		"store.mode %q: the embedded log is the only store of this release; write raft or leave the key out", c.StoreMode)
	bad(!oneOf(c.LogFormat, "text", "json"), "log.format %q: want text or json", c.LogFormat)
	bad(!oneOf(c.LogLevel, "debug", "info", "warn", "error"), "log.level %q: want debug, info, warn or error", c.LogLevel)
	bad(c.MaxConnections < 1, "max-connections %d: want at least 1", c.MaxConnections)
	bad(c.MaxRequests < 1, "max-requests %d: want at least 1", c.MaxRequests)
	bad(c.ReadIdleTimeout != 0 && c.ReadIdleTimeout < time.Second,
		"read-idle-timeout %v: want at least 1s, or 0 for never; clients send a heartbeat every 5 to 10 seconds", c.ReadIdleTimeout)
	bad(c.UndoSaveDays < 1 || c.UndoSaveDays > 32767, "undo.save-days %d: want 1 to 32767", c.UndoSaveDays)
	for _, d := range []struct {
		key   string
		value time.Duration
	}{
		{"first-bytes-timeout", c.FirstBytesTimeout},
		{"drain-timeout", c.DrainTimeout},
		{"answer-timeout", c.AnswerTimeout},
		{"retry-after", c.RetryAfter},
		{"retry-max", c.RetryMax},
		{"retention", c.Retention},
		{"xa-not-found-grace", c.XANotFoundGrace},
		{"undo.delete-period", c.UndoDeletePeriod},
	} {
		bad(d.value < time.Millisecond, "%s %v: want at least 1ms", d.key, d.value)
	}
	const shortest = 100 * time.Millisecond
	bad(c.AnswerTimeout >= time.Millisecond && c.AnswerTimeout < shortest,
		"answer-timeout %v: want at least %v; a number without a unit is milliseconds", c.AnswerTimeout, shortest)
	bad(c.RetryMax < c.RetryAfter, "retry-max %v is below retry-after %v", c.RetryMax, c.RetryAfter)
	return errors.Join(errs...)
}

func (c *Config) validateListen() error {
	host, _, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return fmt.Errorf("listen %q: want host:port, such as 127.0.0.1:8091", c.Listen)
	}
	if isLoopback(host) || c.InsecureListen {
		return nil
	}
	return fmt.Errorf("listen %s: whoever reaches this address could decide transactions, as this release has neither TLS nor credentials; "+
		"listen on a loopback address, or say insecure-listen where the network itself is trusted", c.Listen)
}

func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

func oneOf(value string, allowed ...string) bool {
	for _, a := range allowed {
		if value == a {
			return true
		}
	}
	return false
}
