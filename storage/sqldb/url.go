package sqldb

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
)

// DSN makes the DSN of a Config from the settings that Seata's users have: the
// database's type, its JDBC URL, the user and the password. A URL without the
// "jdbc:" is understood as well. Of the URL's parameters those are taken over that
// mean something to the Go driver: useSSL, sslMode, connectTimeout and
// socketTimeout for MySQL, sslmode and those of libpq for PostgreSQL; the others
// are the Java driver's own.
func DSN(kind, address, user, password string) (string, error) {
	u, err := url.Parse(strings.TrimPrefix(address, "jdbc:"))
	switch {
	case err != nil:
		var parse *url.Error
		if errors.As(err, &parse) {
			err = parse.Err // which does not repeat the URL
		}
		return "", fmt.Errorf("%w: the URL of the database: %w", ErrConfig, err)
	case u.User != nil:
		return "", fmt.Errorf("%w: the URL of the database holds a user; give user and password by settings of their own", ErrConfig)
	case u.Host == "" || strings.Trim(u.Path, "/") == "":
		return "", fmt.Errorf("%w: %q: want jdbc:%s://host:port/database", ErrConfig, address, kind)
	case strings.Contains(u.Host, ","):
		return "", fmt.Errorf("%w: %q names several hosts; name one: an address that follows the primary", ErrConfig, address)
	}
	d := dialects[kind]
	if d == nil || dialects[u.Scheme] != d && !(u.Scheme == "postgres" && d == postgresqlDialect) {
		return "", fmt.Errorf("%w: %q is no URL for a database of type %q; want jdbc:mysql://…, jdbc:mariadb://… or jdbc:postgresql://…",
			ErrConfig, address, kind)
	}
	if d == postgresqlDialect {
		return postgresqlDSN(u, user, password), nil
	}
	return mysqlDSN(u, user, password)
}

func mysqlDSN(u *url.URL, user, password string) (string, error) {
	cfg := mysql.NewConfig()
	cfg.User, cfg.Passwd, cfg.Net, cfg.DBName = user, password, "tcp", strings.Trim(u.Path, "/")
	cfg.Addr = withPort(u.Host, "3306")
	query := u.Query()
	switch {
	case strings.EqualFold(query.Get("sslMode"), "VERIFY_CA"), strings.EqualFold(query.Get("sslMode"), "VERIFY_IDENTITY"):
		cfg.TLSConfig = "true"
	case strings.EqualFold(query.Get("sslMode"), "REQUIRED"):
		cfg.TLSConfig = "skip-verify"
	case strings.EqualFold(query.Get("useSSL"), "true"), strings.EqualFold(query.Get("sslMode"), "PREFERRED"):
		cfg.TLSConfig = "preferred"
	}
	for name, field := range map[string]*time.Duration{"connectTimeout": &cfg.Timeout, "socketTimeout": &cfg.ReadTimeout} {
		if text := query.Get(name); text != "" {
			d, err := time.ParseDuration(text + "ms")
			if err != nil || d < 0 {
				return "", fmt.Errorf("%w: %s=%s in the URL of the database: want milliseconds", ErrConfig, name, text)
			}
			*field = d
		}
	}
	return cfg.FormatDSN(), nil
}

func postgresqlDSN(u *url.URL, user, password string) string {
	dsn := url.URL{Scheme: "postgres", Host: withPort(u.Host, "5432"), Path: u.Path, User: url.UserPassword(user, password)}
	kept := url.Values{}
	for name, values := range u.Query() {
		switch name {
		case "sslmode", "sslrootcert", "sslcert", "sslkey", "connect_timeout", "application_name", "options", "target_session_attrs":
			kept[name] = values
		case "currentSchema":
			kept["search_path"] = values
		}
	}
	dsn.RawQuery = kept.Encode()
	return dsn.String()
}

func withPort(host, port string) string {
	if _, _, err := net.SplitHostPort(host); err == nil {
		return host
	}
	return net.JoinHostPort(strings.Trim(host, "[]"), port)
}
