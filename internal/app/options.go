package app

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	decisionapi "github.com/westworld-charter/charter/internal/httpapi/decision"
)

// Options say what a [Server] serves and how. Start from [Defaults].
type Options struct {
	Charter string // path of a charter; either this or Bundle
	Bundle  string // path of a bundle: a directory or a .tar.gz
	State   string // path of the state document (JSON), data.charter_state; "" is none
	Listen  string // HOST:PORT; port 0 takes a free one
	Data    string // directory for what must survive a restart, made when something must
	// InsecureSelfAsserted believes whatever role, node and claims callers name.
	// It is refused unless Listen is loopback.
	InsecureSelfAsserted bool
	LogLevel             string // debug, info, warn or error
	LogFormat            string // json, text, or auto: text on a terminal
	MaxBody              int64  // bytes of any request body
	MaxCheckBody         int64  // bytes of one question
	Timeouts             Timeouts
}

// Timeouts bound what a client can make the server wait for.
type Timeouts struct {
	ReadHeader time.Duration // until the request header is there
	Read       time.Duration // until the whole request is there
	Write      time.Duration // until the answer is sent, from the end of the header on
	Idle       time.Duration // between requests of one connection
	Decide     time.Duration // one decision
	Shutdown   time.Duration // requests under way, once the server was told to stop
}

// Defaults are options that only lack a policy.
func Defaults() Options {
	return Options{
		Listen:       "127.0.0.1:8000",
		Data:         "./charter-data",
		LogLevel:     "info",
		LogFormat:    "auto",
		MaxBody:      decisionapi.DefaultMaxBody,
		MaxCheckBody: decisionapi.DefaultMaxCheckBody,
		Timeouts: Timeouts{
			ReadHeader: 5 * time.Second,
			Read:       10 * time.Second,
			Write:      30 * time.Second,
			Idle:       2 * time.Minute,
			Decide:     5 * time.Second,
			Shutdown:   10 * time.Second,
		},
	}
}

func logLevels() []string  { return []string{"debug", "info", "warn", "error"} }
func logFormats() []string { return []string{"auto", "json", "text"} }

// validate reports everything that is wrong with the options at once.
func (o Options) validate() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	switch {
	case o.Charter == "" && o.Bundle == "":
		fault("nothing to serve: give --charter FILE or --bundle PATH")
	case o.Charter != "" && o.Bundle != "":
		fault("--charter and --bundle exclude each other")
	case strings.Contains(o.Bundle, "://"):
		fault("--bundle %s: only a directory or a .tar.gz file can be served", o.Bundle)
	}
	host, _, err := net.SplitHostPort(o.Listen)
	switch {
	case err != nil:
		fault("--listen %q is not HOST:PORT", o.Listen)
	case o.InsecureSelfAsserted && !loopback(host):
		fault("--insecure-self-asserted believes every caller, so --listen must be loopback, such as 127.0.0.1:8000; %s is not", o.Listen)
	}
	if o.Data == "" {
		fault("--data must name a directory")
	}
	if !slices.Contains(logLevels(), o.LogLevel) {
		fault("--log-level %q is not one of %s", o.LogLevel, strings.Join(logLevels(), ", "))
	}
	if !slices.Contains(logFormats(), o.LogFormat) {
		fault("--log-format %q is not one of %s", o.LogFormat, strings.Join(logFormats(), ", "))
	}
	if o.MaxCheckBody > o.MaxBody {
		fault("--max-check-body must not exceed --max-body")
	}
	return errors.Join(faults...)
}

// loopback reports whether a host as written names this machine alone.
func loopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}
