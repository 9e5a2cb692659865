// Package db holds the tables of a coordinator's store in a database.
//
// Job: the DDL, as files for people and as text for storage/sqldb.
// Owner: whoever runs a coordinator on a database.
// It must not know: what is stored in the tables.
package db

import _ "embed" // for the files

// MySQL creates the tables in MySQL 8 and MariaDB, as far as they are missing.
//
//go:embed mysql.sql
var MySQL string

// PostgreSQL creates the tables in PostgreSQL, as far as they are missing.
//
//go:embed postgresql.sql
var PostgreSQL string
