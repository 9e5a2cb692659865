package xa

import (
	"encoding/json"
	"strings"
)

// origin is what a branch's application data says about where phase one ran.
// Whoever is told to roll back a branch that the database does not know finds
// out with it whether the branch may still appear: not when that session is
// gone. Java keeps application data as it is and does not look at it.
type origin struct {
	// Process names the process, or rather its data source, and Branch the
	// branch within it.
	Process string `json:"process"`
	Branch  uint64 `json:"branch"`
	place
}

// place names a session of the database so that it can be looked for.
type place struct {
	// Session is the server's number of it.
	Session int64 `json:"session"`
	// Server and User are as the server calls itself and the user: MySQL shows a
	// user nobody else's sessions.
	Server string `json:"server,omitempty"`
	User   string `json:"user,omitempty"`
	// Since tells apart the sessions that have a number in turn. On PostgreSQL it
	// is when the session began, in microseconds of the Unix epoch; on MySQL, which
	// counts from 1 after a restart, when the server started, in seconds.
	Since int64 `json:"since"`
}

func (o origin) String() string {
	text, _ := json.Marshal(map[string]origin{"qiao-xa": o}) // numbers and strings always encode
	return string(text)
}

// originOf reads application data; ok is false for that of others.
func originOf(data string) (o origin, ok bool) {
	if !strings.HasPrefix(data, `{"qiao-xa":`) {
		return origin{}, false
	}
	var box struct {
		Origin origin `json:"qiao-xa"`
	}
	if err := json.Unmarshal([]byte(data), &box); err != nil || box.Origin.Process == "" {
		return origin{}, false
	}
	return box.Origin, true
}
