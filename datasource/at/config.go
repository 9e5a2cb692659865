package at

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/qiao-tx/qiao/datasource/schema"
	"github.com/qiao-tx/qiao/datasource/undo"
	"github.com/qiao-tx/qiao/rm"
)

// Defaults of Config.
const (
	DefaultLockWait = 3 * time.Second
	DefaultHoldWait = 100 * time.Millisecond
	DefaultLockPoll = 10 * time.Millisecond
	DefaultBusyWait = 5 * time.Second

	DefaultUndoCompressor = "zip"
	DefaultUndoThreshold  = 64 << 10
)

// maxPollGrowth is how often the interval between two looks at a lock doubles
// and grows at most: from 10 ms to 100 ms by default.
const maxPollGrowth = 10

// cleanupWait bounds work that must run although the caller's context ended: a
// rollback, a report of failure, the last deletions.
const cleanupWait = 5 * time.Second

// Config says how a database takes part.
type Config struct {
	// Dialect is the SQL that the database speaks. Required.
	Dialect schema.Dialect
	// Coordinator registers the database and its branches. Required.
	Coordinator rm.Coordinator
	// ResourceID names the database to the coordinator. Processes on the same
	// database must use the same. Required but on SQLite, where the default is
	// made of the file's path and the id kept in the file.
	ResourceID string

	// LockWait is how long a statement outside a local transaction waits for
	// global locks; it holds no local lock meanwhile. Zero: DefaultLockWait.
	LockWait time.Duration
	// HoldWait is how long COMMIT and SELECT … FOR UPDATE of an explicit local
	// transaction wait for global locks while its local locks are held. SQLite
	// does not wait there: its lock is the whole file. Zero: DefaultHoldWait.
	HoldWait time.Duration
	// LockPoll is the first interval between two looks at a lock; it grows to
	// ten times as much. Zero: DefaultLockPoll.
	LockPoll time.Duration
	// BusyWait is how long SQLite's write lock is waited for. Zero: DefaultBusyWait.
	BusyWait time.Duration

	// JavaZone is the time zone of Java services on the same database, in which
	// they read and write dates of undo records. Nil: UTC.
	JavaZone *time.Location
	// JavaPackage is the package of Java's classes in the undo records that are
	// written: org.apache.seata, or io.seata when Java services before 2.1.0 must
	// read them. Both are read. Empty: org.apache.seata.
	JavaPackage string
	// UndoCompressor packs long undo records: none, zip, gzip, bzip2, lz4,
	// deflater or zstd. Each is read. Empty: DefaultUndoCompressor.
	UndoCompressor string
	// UndoThreshold is the length above which a record is packed, in bytes.
	// Zero: DefaultUndoThreshold.
	UndoThreshold int

	// Log receives what no caller can be told. Nil: nothing is logged.
	Log *slog.Logger
}

func (c Config) withDefaults() (Config, error) {
	switch {
	case c.Dialect != schema.MySQL && c.Dialect != schema.SQLite && c.Dialect != schema.PostgreSQL:
		return c, errors.New("datasource: the dialect must be MySQL, PostgreSQL or SQLite")
	case c.Coordinator == nil:
		return c, errors.New("datasource: a coordinator is required")
	case c.ResourceID == "" && c.Dialect == schema.MySQL:
		return c, errors.New("datasource: a ResourceID is required, in Java's form jdbc:mysql://host:port/database")
	case c.ResourceID == "" && c.Dialect == schema.PostgreSQL:
		return c, errors.New("datasource: a ResourceID is required, in Java's form jdbc:postgresql://host:port/database")
	case c.JavaPackage != "" && c.JavaPackage != undo.ApachePackage && c.JavaPackage != undo.IOPackage:
		return c, fmt.Errorf("datasource: JavaPackage is %q; set %s, or %s for Java services before 2.1.0", c.JavaPackage, undo.ApachePackage, undo.IOPackage)
	case c.UndoThreshold < 0:
		return c, fmt.Errorf("datasource: UndoThreshold is %d; set bytes, or UndoCompressor to none", c.UndoThreshold)
	}
	if c.UndoCompressor == "" {
		c.UndoCompressor = DefaultUndoCompressor
	}
	if c.UndoThreshold == 0 {
		c.UndoThreshold = DefaultUndoThreshold
	}
	for value, fallback := range map[*time.Duration]time.Duration{
		&c.LockWait: DefaultLockWait, &c.HoldWait: DefaultHoldWait, &c.LockPoll: DefaultLockPoll,
		&c.BusyWait: DefaultBusyWait,
	} {
		if *value <= 0 {
			*value = fallback
		}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c, nil
}
