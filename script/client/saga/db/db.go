// Package db holds the tables of the log of sagas.
//
// Job: the DDL, as files for people and as text for saga/sagalog.
// Owner: whoever runs sagas on a database.
// It must not know: what is stored in the tables.
package db

import "embed"

// Scripts are mysql.sql (MariaDB too), postgresql.sql and sqlite.sql. Each creates
// the tables as far as they are missing.
//
//go:embed *.sql
var Scripts embed.FS
