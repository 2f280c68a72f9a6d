package app

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// setting is one option under its three names. The flag is the first of them:
// the environment variable is CHARTER_ and the flag in capitals, key is the
// dotted path in the configuration file.
type setting struct {
	flag  string
	key   string
	arg   string // what the value is, for the help; "" for a switch
	usage string
	def   string // the default, in the form a user would write
	set   func(o *Options, value string) error
	// path says that a relative value in a file counts from that file.
	path bool
}

func (s setting) env() string {
	return "CHARTER_" + strings.ToUpper(strings.ReplaceAll(s.flag, "-", "_"))
}

// settings is the one list from which flags, environment, configuration file
// and help are made.
func settings() []setting {
	return []setting{
		{flag: "charter", key: "charter", arg: "FILE", usage: "the charter to serve", path: true, set: text(func(o *Options) *string { return &o.Charter })},
		{flag: "bundle", key: "bundle", arg: "PATH", usage: "the bundle to serve instead: a directory or a .tar.gz file", path: true, set: text(func(o *Options) *string { return &o.Bundle })},
		{flag: "listen", key: "listen", arg: "HOST:PORT", usage: "where to serve; port 0 takes a free one", def: "127.0.0.1:8000", set: text(func(o *Options) *string { return &o.Listen })},
		{flag: "data", key: "data", arg: "DIR", usage: "where to keep what must survive a restart; made when needed", def: "./charter-data", path: true, set: text(func(o *Options) *string { return &o.Data })},
		{flag: "state", key: "state", arg: "FILE", usage: "JSON document of standings, revocations and overrides", path: true, set: text(func(o *Options) *string { return &o.State })},
		{flag: "insecure-self-asserted", key: "insecure_self_asserted", usage: "believe the role, node and claims of every caller; loopback only", set: toggle(func(o *Options) *bool { return &o.InsecureSelfAsserted })},
		{flag: "log-level", key: "log.level", arg: "LEVEL", usage: "debug, info, warn or error", def: "info", set: text(func(o *Options) *string { return &o.LogLevel })},
		{flag: "log-format", key: "log.format", arg: "FORMAT", usage: "json, text, or auto: text on a terminal, else json", def: "auto", set: text(func(o *Options) *string { return &o.LogFormat })},
		{flag: "max-body", key: "limits.body", arg: "SIZE", usage: "of any request body, such as 1MiB", def: "1MiB", set: size(func(o *Options) *int64 { return &o.MaxBody })},
		{flag: "max-check-body", key: "limits.check_body", arg: "SIZE", usage: "of one question", def: "64KiB", set: size(func(o *Options) *int64 { return &o.MaxCheckBody })},
		{flag: "timeout-read-header", key: "timeouts.read_header", arg: "DURATION", usage: "for the header of a request", def: "5s", set: duration(func(o *Options) *time.Duration { return &o.Timeouts.ReadHeader })},
		{flag: "timeout-read", key: "timeouts.read", arg: "DURATION", usage: "for a whole request", def: "10s", set: duration(func(o *Options) *time.Duration { return &o.Timeouts.Read })},
		{flag: "timeout-write", key: "timeouts.write", arg: "DURATION", usage: "for an answer", def: "30s", set: duration(func(o *Options) *time.Duration { return &o.Timeouts.Write })},
		{flag: "timeout-idle", key: "timeouts.idle", arg: "DURATION", usage: "between requests of one connection", def: "2m", set: duration(func(o *Options) *time.Duration { return &o.Timeouts.Idle })},
		{flag: "timeout-decide", key: "timeouts.decide", arg: "DURATION", usage: "for one decision", def: "5s", set: duration(func(o *Options) *time.Duration { return &o.Timeouts.Decide })},
		{flag: "timeout-shutdown", key: "timeouts.shutdown", arg: "DURATION", usage: "for requests under way when the server is told to stop", def: "10s", set: duration(func(o *Options) *time.Duration { return &o.Timeouts.Shutdown })},
	}
}

func text(field func(*Options) *string) func(*Options, string) error {
	return func(o *Options, value string) error {
		*field(o) = value
		return nil
	}
}

func toggle(field func(*Options) *bool) func(*Options, string) error {
	return func(o *Options, value string) error {
		switch value {
		case "true":
			*field(o) = true
		case "false":
			*field(o) = false
		default:
			return fmt.Errorf("%q is not true or false", value)
		}
		return nil
	}
}

func duration(field func(*Options) *time.Duration) func(*Options, string) error {
	return func(o *Options, value string) error {
		d, err := time.ParseDuration(value)
		if err != nil || d <= 0 || d > 24*time.Hour {
			return fmt.Errorf("%q is not a duration between 0 and 24h, such as 5s or 2m", value)
		}
		*field(o) = d
		return nil
	}
}

// maxSize bounds sizes: bodies are read into memory.
const maxSize = 64 << 20

func size(field func(*Options) *int64) func(*Options, string) error {
	return func(o *Options, value string) error {
		n, err := parseSize(value)
		if err != nil {
			return fmt.Errorf("%q is not a size from 1 to 64MiB, such as 65536, 64KiB or 1MiB", value)
		}
		*field(o) = n
		return nil
	}
}

func parseSize(value string) (int64, error) {
	number, unit := value, int64(1)
	if n, ok := strings.CutSuffix(value, "KiB"); ok {
		number, unit = n, 1<<10
	} else if n, ok := strings.CutSuffix(value, "MiB"); ok {
		number, unit = n, 1<<20
	}
	n, err := strconv.ParseInt(number, 10, 32)
	if err == nil && (n <= 0 || n*unit > maxSize) {
		err = errors.New("out of range")
	}
	return n * unit, err
}
