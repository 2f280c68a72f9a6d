package app

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/westworld-charter/charter/internal/enforcement"
	"github.com/westworld-charter/charter/internal/fleet"
	decisionapi "github.com/westworld-charter/charter/internal/httpapi/decision"
	"github.com/westworld-charter/charter/internal/notify"
)

// Options say what a [Server] serves and how. Start from [Defaults].
type Options struct {
	Charter string // path of a charter; either this or Bundle
	Bundle  string // of a bundle: a directory or a .tar.gz, or with Trust a reference to a release
	// Trust is the path of a trust policy: whose signatures on releases count.
	Trust    string
	Releases ReleaseOptions
	Node     NodeOptions // of charter-node alone
	// Candidate is a policy that is tried beside the one that is served.
	Candidate CandidateOptions
	// AllowApply lets callers with the scope admin replace the file of Charter or Bundle
	// over HTTP.
	AllowApply bool
	// OPABundle is the path of an archive with a signature inside, which stock OPA
	// verifies; "" is none.
	OPABundle string
	State     string        // path of the state document (JSON), data.charter_state; "" is none
	Listen    string        // HOST:PORT; port 0 takes a free one
	Data      string        // directory for what must survive a restart
	Ledger    LedgerOptions // where decisions are recorded
	// Enforcement is how violations get their consequences.
	Enforcement EnforcementOptions
	// StateBundle is how nodes elsewhere are told of that.
	StateBundle StateBundleOptions
	// FleetGrace is how long a node may run an older release than it is offered.
	FleetGrace time.Duration
	// Notify is how people are told of them.
	Notify NotifyOptions
	// WitnessLogs is a file with the keys of ledgers of others that this process
	// witnesses (C2SP tlog-policy); "" is none. WitnessName is for a new key; "" is
	// the default of LedgerOptions.Origin and /witness.
	WitnessLogs, WitnessName string
	Watch                    time.Duration // between two looks at all files that were loaded; 0 never looks
	// Diagnostics is HOST:PORT of a second listener for metrics, profiles and
	// status; "" is none.
	Diagnostics string
	TLS         TLSOptions
	TokenFile   string // bearer tokens that are accepted; "" accepts none
	Rate        int    // questions a second of one identity; 0 is no limit
	Cache       int    // decisions that are kept; 0 keeps none
	// InsecurePlainHTTP allows listeners beyond loopback without TLS.
	InsecurePlainHTTP bool
	// InsecureSelfAsserted believes whatever role, node and claims callers name.
	// It is refused unless Listen is loopback.
	InsecureSelfAsserted bool
	Tracing              TracingOptions
	LogLevel             string // debug, info, warn or error
	LogFormat            string // json, text, or auto: text on a terminal
	MaxBody              int64  // bytes of any request body
	MaxCheckBody         int64  // bytes of one question
	MaxBatchBody         int64  // bytes of a batch of questions
	PublicURL            string // where callers reach the server; "" is the address they used
	Timeouts             Timeouts
}

// TLSOptions are the files of TLS and what client certificates may say. Lists
// are separated by commas.
type TLSOptions struct {
	Cert, Key    string // PEM; both or neither
	ClientCA     string // PEM; "" asks for no client certificate
	ClientRoles  string // roles that a certificate without roles of its own may name
	ClientClaims string // claims that a certificate may name beside mtls
	AssertRoles  string // roles whose certificates may ask for any node
}

// Timeouts bound what a client can make the server wait for.
type Timeouts struct {
	ReadHeader time.Duration // until the request header is there
	Read       time.Duration // until the whole request is there
	Write      time.Duration // until the answer is sent, from the end of the header on
	Idle       time.Duration // between requests of one connection
	Decide     time.Duration // one decision
	Batch      time.Duration // all decisions of one batch together
	Stream     time.Duration // between two lines of a stream of questions
	Shutdown   time.Duration // requests under way, once the server was told to stop
}

// Defaults are options of charter-server that only lack a policy.
func Defaults() Options {
	return Options{
		Listen:       "127.0.0.1:8000",
		Data:         "./charter-data",
		Watch:        2 * time.Second,
		Rate:         10_000,
		Cache:        1 << 16,
		Releases:     defaultReleases(),
		Candidate:    CandidateOptions{Sample: 100, StopOn: "widened", StopRate: 0.01, StopCount: 10, StopWindow: 5 * time.Minute},
		TLS:          TLSOptions{ClientRoles: "node_operator"},
		StateBundle:  StateBundleOptions{TTL: defaultStateTTL},
		FleetGrace:   fleet.DefaultGrace,
		Enforcement:  EnforcementOptions{Quiet: enforcement.DefaultQuiet, SLA: enforcement.DefaultSLA},
		Notify:       NotifyOptions{SMTP: notify.SMTP{TLS: notify.StartTLS}},
		Tracing:      TracingOptions{Ratio: 1},
		LogLevel:     "info",
		LogFormat:    "auto",
		MaxBody:      decisionapi.DefaultMaxBody,
		MaxCheckBody: decisionapi.DefaultMaxCheckBody,
		MaxBatchBody: decisionapi.DefaultMaxBatchBody,
		Timeouts: Timeouts{
			ReadHeader: 5 * time.Second,
			Read:       10 * time.Second,
			Write:      30 * time.Second,
			Idle:       2 * time.Minute,
			Decide:     5 * time.Second,
			Batch:      20 * time.Second,
			Stream:     30 * time.Second,
			Shutdown:   10 * time.Second,
		},
	}
}

func logLevels() []string  { return []string{"debug", "info", "warn", "error"} }
func logFormats() []string { return []string{"auto", "json", "text"} }

// validateServer is what charter-server alone demands.
func (o Options) validateServer(fault func(string, ...any)) {
	switch {
	case o.Charter == "" && o.Bundle == "":
		fault("nothing to serve: give --charter FILE or --bundle REF")
	case o.Charter != "" && o.Bundle != "":
		fault("--charter and --bundle exclude each other")
	}
	o.validateReleases(fault)
	o.StateBundle.validate(fault)
	o.Candidate.validate(fault)
}

// validate reports everything that is wrong with the options at once.
func (p Program) validate(o Options) error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	p.check(o, fault)
	o.validateAccess(fault)
	o.Tracing.validate(fault)
	o.Ledger.validate(fault)
	if err := o.Notify.SMTP.Validate(); err != nil {
		faults = append(faults, err)
	}
	if o.WitnessName != "" && !originOK(o.WitnessName) {
		fault("--witness-name %q must be a name such as witness.example.org/1, without spaces and +", o.WitnessName)
	}
	o.validateListener(fault, "--listen", o.Listen)
	if o.Diagnostics != "" {
		o.validateListener(fault, "--diagnostics", o.Diagnostics)
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
	if o.MaxCheckBody > o.MaxBody || o.MaxCheckBody > o.MaxBatchBody {
		fault("--max-check-body must not exceed --max-body and --max-batch-body")
	}
	if u, err := url.Parse(o.PublicURL); o.PublicURL != "" && (err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || strings.HasSuffix(o.PublicURL, "/")) {
		fault("--public-url %q is not a URL such as https://charter.example.org, without a final slash", o.PublicURL)
	}
	return errors.Join(faults...)
}

// authenticates reports whether anybody can prove an identity.
func (o Options) authenticates() bool { return o.TokenFile != "" || o.TLS.ClientCA != "" }

func (o Options) validateAccess(fault func(string, ...any)) {
	if (o.TLS.Cert == "") != (o.TLS.Key == "") {
		fault("--tls-cert and --tls-key need each other")
	}
	if o.TLS.ClientCA != "" && o.TLS.Cert == "" {
		fault("--tls-client-ca needs --tls-cert and --tls-key")
	}
	if o.InsecureSelfAsserted && o.authenticates() {
		fault("--insecure-self-asserted believes every caller, so --token-file and --tls-client-ca would mean nothing beside it")
	}
}

// validateListener keeps what is not protected on this machine.
func (o Options) validateListener(fault func(string, ...any), flag, address string) {
	host, _, err := net.SplitHostPort(address)
	switch {
	case err != nil:
		fault("%s %q is not HOST:PORT", flag, address)
	case loopback(host):
	case o.InsecureSelfAsserted:
		fault("--insecure-self-asserted believes every caller, so %s must be loopback, such as 127.0.0.1:8000; %s is not", flag, address)
	case o.TLS.Cert == "" && !o.InsecurePlainHTTP:
		fault("%s %s is not loopback, so it needs --tls-cert and --tls-key; --insecure-plain-http does without, where a network or proxy protects it", flag, address)
	case !o.authenticates():
		fault("%s %s is not loopback, so it needs callers that can prove who they are: --token-file or --tls-client-ca", flag, address)
	}
}

// loopback reports whether a host as written names this machine alone.
func loopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}
