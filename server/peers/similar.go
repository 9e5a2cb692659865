package peers

import (
	"net"
	"strings"
)

// warnOfSimilar speaks up when a new resource id looks like another spelling of
// one that is served: branches of the two would not see each other's row locks.
// The lock is held.
func (r *Registry) warnOfSimilar(resource, application string) {
	database, ok := databaseOf(resource)
	if !ok {
		return
	}
	for other := range r.resources {
		if d, ok := databaseOf(other); ok && d == database {
			r.logger.Warn("two resource ids look like one database; their branches do not see each other's row locks: "+
				"let all services write the id alike, or set it explicitly",
				"resource", resource, "application", application, "other", other)
		}
	}
}

// database is what several spellings of a resource id have in common.
type database struct{ family, host, port, name string }

// families are the URL schemes that lead to servers of one kind, with the port
// that may be left out.
var families = map[string]struct{ family, port string }{
	"mysql":      {"mysql", "3306"},
	"mariadb":    {"mysql", "3306"},
	"postgresql": {"postgresql", "5432"},
	"postgres":   {"postgresql", "5432"},
	"oracle":     {"oracle", "1521"},
	"sqlserver":  {"sqlserver", "1433"},
}

// databaseOf reads ids of the form [jdbc:]scheme://[user@]host[:port]/name. It
// answers false for others, such as names of TCC actions.
func databaseOf(resource string) (database, bool) {
	scheme, rest, ok := strings.Cut(strings.TrimPrefix(strings.ToLower(resource), "jdbc:"), "://")
	known, isKnown := families[scheme]
	if !ok || !isKnown {
		return database{}, false
	}
	address, _, ok := strings.Cut(rest, "/")
	if !ok {
		return database{}, false
	}
	// The name of a database may differ from another's in letter case alone.
	name := resource[strings.LastIndexByte(resource, '/')+1:]
	address = address[strings.LastIndexByte(address, '@')+1:]
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		host, port = strings.Trim(address, "[]"), known.port
	}
	host = strings.TrimSuffix(host, ".")
	if host == "127.0.0.1" || host == "::1" {
		host = "localhost"
	}
	return database{known.family, host, port, name}, true
}
