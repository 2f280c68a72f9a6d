package ledgerdb

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// place is where in PostgreSQL a ledger is.
type place struct {
	schema   string
	database string
	host     string
}

func (l place) String() string {
	return fmt.Sprintf("schema %s of database %s on %s", l.schema, l.database, l.host)
}

// quoted returns the schema for use in SQL.
func (l place) quoted() string { return pgx.Identifier{l.schema}.Sanitize() }

const defaultSchema = "charter_ledger"

var schemaName = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,62}$`)

// parsePostgres reads a URL. Its errors never have the password.
func parsePostgres(ref string) (*pgxpool.Config, place, error) {
	base, query, _ := strings.Cut(ref, "?")
	values, err := url.ParseQuery(query)
	if err != nil {
		return nil, place{}, errors.New("the URL is malformed after its question mark")
	}
	schema := cmp.Or(values.Get("schema"), defaultSchema)
	values.Del("schema")
	if !schemaName.MatchString(schema) || strings.HasPrefix(schema, "pg_") {
		return nil, place{}, fmt.Errorf("schema %q: a name has lower-case letters, digits and _, up to 63, and does not begin with pg_", schema)
	}
	if values.Has("search_path") {
		return nil, place{}, errors.New("search_path: name the schema of the ledger with the parameter schema instead")
	}
	// pgx does not take + for a space.
	join := func() string { return base + "?" + strings.ReplaceAll(values.Encode(), "+", "%20") }
	config, err := pgxpool.ParseConfig(join())
	if err != nil {
		return nil, place{}, err // pgx takes passwords out
	}
	if !values.Has("sslmode") && !values.Has("service") && os.Getenv("PGSSLMODE") == "" && os.Getenv("PGSERVICE") == "" && remote(config.ConnConfig) {
		values.Set("sslmode", "verify-full")
		if config, err = pgxpool.ParseConfig(join()); err != nil {
			return nil, place{}, err
		}
	}
	c := config.ConnConfig
	return config, place{schema, c.Database, net.JoinHostPort(c.Host, strconv.Itoa(int(c.Port)))}, nil
}

// remote tells whether a connection would leave the machine.
func remote(c *pgx.ConnConfig) bool {
	hosts := []string{c.Host}
	for _, f := range c.Fallbacks {
		hosts = append(hosts, f.Host)
	}
	for _, host := range hosts {
		if ip := net.ParseIP(host); !filepath.IsAbs(host) && !strings.HasPrefix(host, "@") && host != "localhost" && (ip == nil || !ip.IsLoopback()) {
			return true
		}
	}
	return false
}

// applicationName tells operators of the database who writes.
func applicationName() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown host"
	}
	name := fmt.Sprintf("charter ledger, process %d on %s", os.Getpid(), host)
	return name[:min(len(name), 63)]
}

func milliseconds(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }
