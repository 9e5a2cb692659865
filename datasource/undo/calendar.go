package undo

import (
	"fmt"
	"strings"
	"time"
)

// pgjdbc's moments for PostgreSQL's infinity, in milliseconds.
var (
	endlessMillis = map[string]int64{"infinity": 9223372036825200000, "-infinity": -9223372036832400000}
	endlessText   = map[int64]string{9223372036825200000: "infinity", -9223372036832400000: "-infinity"}
)

// gregory is the first day that Java's java.sql classes take for Gregorian.
var gregory = time.Date(1582, 10, 15, 0, 0, 0, 0, time.UTC)

// sqlText writes a moment that Java holds in a class of java.sql as the text
// that it was read from. Before October 1582 these classes count in Julian
// days, and years before Christ need their mark.
func sqlText(t time.Time, layout string) string {
	_, offset := t.Zone()
	local := t.Unix() + int64(offset)
	if local >= gregory.Unix() {
		return t.Format(layout)
	}
	const secondsPerDay = 24 * 60 * 60
	days := local / secondsPerDay
	if local%secondsPerDay < 0 {
		days--
	}
	year, month, day := julian(days)
	era := ""
	if year <= 0 {
		year, era = 1-year, " BC"
	}
	_, clock, _ := strings.Cut(t.Format(layout), " ")
	return strings.TrimSpace(fmt.Sprintf("%04d-%02d-%02d %s", year, month, day, clock)) + era
}

// julian is the date in the Julian calendar of a day counted from 1970-01-01.
func julian(days int64) (year, month, day int64) {
	const epoch = 2440588 + 32082 // the Julian day number, counted from 1 March 4801 BC
	c := days + epoch
	d := floor(4*c+3, 1461)
	e := c - floor(1461*d, 4)
	m := (5*e + 2) / 153
	return d - 4800 + m/10, m + 3 - 12*(m/10), e - (153*m+2)/5 + 1
}

// floor divides and rounds down.
func floor(a, b int64) int64 {
	if q := a / b; a%b >= 0 {
		return q
	}
	return a/b - 1
}
