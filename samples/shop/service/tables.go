package service

// StepTable is the table that each service needs in mode saga; see step.
const StepTable = `CREATE TABLE saga_step (
	order_number BIGINT      NOT NULL,
	operation    VARCHAR(10) NOT NULL,
	state        VARCHAR(10) NOT NULL,
	PRIMARY KEY (order_number, operation))`

// Tables holds each service's own table, in SQL that MySQL and SQLite
// understand. Beside it a service's database has the undo table (AT), the
// fence table (TCC) or StepTable (saga).
func Tables() map[string]string {
	return map[string]string{
		"order": `CREATE TABLE orders (
			number   BIGINT      NOT NULL PRIMARY KEY,
			customer VARCHAR(40) NOT NULL,
			item     VARCHAR(40) NOT NULL,
			quantity BIGINT      NOT NULL,
			price    BIGINT      NOT NULL,
			pending  BIGINT      NOT NULL DEFAULT 0)`, // 1 between try and confirm
		"stock": `CREATE TABLE stock (
			item     VARCHAR(40) NOT NULL PRIMARY KEY,
			quantity BIGINT      NOT NULL,
			reserved BIGINT      NOT NULL DEFAULT 0)`,
		"account": `CREATE TABLE account (
			customer VARCHAR(40) NOT NULL PRIMARY KEY,
			balance  BIGINT      NOT NULL,
			reserved BIGINT      NOT NULL DEFAULT 0)`,
		"points": `CREATE TABLE points (
			customer VARCHAR(40) NOT NULL PRIMARY KEY,
			points   BIGINT      NOT NULL,
			reserved BIGINT      NOT NULL DEFAULT 0)`,
	}
}
