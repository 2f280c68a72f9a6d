package app

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// setting is one option under its three names. The flag is the first of them: the
// environment variable is the prefix of the program and the flag in capitals, key is
// the dotted path in the configuration file.
type setting struct {
	flag  string
	key   string
	arg   string // what the value is, for the help; "" for a switch
	usage string
	def   string // the default, in the form a user would write
	access
	// path says that a relative value in a file counts from that file.
	path bool
	list bool // what is given again is added, after a comma
}

// serverSettings is the one list from which flags, environment, configuration file
// and help of charter-server are made.
func serverSettings() []setting {
	return append([]setting{
		{flag: "charter", key: "charter", arg: "FILE", usage: "the charter to serve", path: true, access: text(func(o *Options) *string { return &o.Charter })},
		{flag: "bundle", key: "bundle", arg: "REF", usage: "the bundle to serve instead: a directory or a .tar.gz file, or with --trust a signed release such as oci://HOST/REPOSITORY:TAG", path: true, access: ref(func(o *Options) *string { return &o.Bundle })},
		{flag: "allow-apply", key: "allow_apply", usage: "let callers with the scope admin replace the file of --charter or --bundle over HTTP", access: toggle(func(o *Options) *bool { return &o.AllowApply })},
		{flag: "opa-bundle", key: "opa_bundle", arg: "FILE", usage: "archive of charter-admin sign --opa-jwt, served to stock opa as /bundles/charter-opa", path: true, access: text(func(o *Options) *string { return &o.OPABundle })},
		{flag: "candidate", key: "candidate.path", arg: "PATH", usage: "a charter or bundle to try beside the one that is served", path: true, access: text(func(o *Options) *string { return &o.Candidate.Path })},
		{flag: "candidate-percent", key: "candidate.percent", arg: "NUMBER", usage: "percent of node ids that the candidate answers; 0 only compares", def: "0", access: percentage(func(o *Options) *int { return &o.Candidate.Percent })},
		{flag: "candidate-sample", key: "candidate.sample", arg: "NUMBER", usage: "percent of other questions that are put to the candidate for comparison", def: "100", access: percentage(func(o *Options) *int { return &o.Candidate.Sample })},
		{flag: "candidate-stop-on", key: "candidate.stop_on", arg: "LIST", usage: "differences that count towards stopping it: widened, narrowed, obligations, explanation", def: "widened", access: differences(func(o *Options) *string { return &o.Candidate.StopOn })},
		{flag: "candidate-stop-rate", key: "candidate.stop_rate", arg: "SHARE", usage: "share of these among the questions compared above which it stops, 0 to 1; 1 never", def: "0.01", access: share(func(o *Options) *float64 { return &o.Candidate.StopRate })},
		{flag: "candidate-stop-count", key: "candidate.stop_count", arg: "NUMBER", usage: "how many of these there must be before it stops", def: "10", access: count(func(o *Options) *int { return &o.Candidate.StopCount })},
		{flag: "candidate-stop-window", key: "candidate.stop_window", arg: "DURATION", usage: "how long a question counts towards stopping", def: "5m", access: duration(func(o *Options) *time.Duration { return &o.Candidate.StopWindow })},
		{flag: "watch", key: "watch", arg: "DURATION", usage: "how often to look for changes of all files that were loaded; 0 never looks", def: "2s", access: interval(func(o *Options) *time.Duration { return &o.Watch })},
		{flag: "listen", key: "listen", arg: "HOST:PORT", usage: "where to serve; port 0 takes a free one", def: "127.0.0.1:8000", access: text(func(o *Options) *string { return &o.Listen })},
		{flag: "public-url", key: "public_url", arg: "URL", usage: "where callers reach the server, told by the AuthZEN discovery document; else the address they used", access: text(func(o *Options) *string { return &o.PublicURL })},
		{flag: "data", key: "data", arg: "DIR", usage: "where to keep what must survive a restart: the ledger and its key", def: "./charter-data", path: true, access: text(func(o *Options) *string { return &o.Data })},
		{flag: "ledger", key: "ledger", arg: "PATH", usage: "where decisions are recorded: a directory, or postgres://…; else ledger in --data", path: true, access: ledgerRef()},
		{flag: "ledger-origin", key: "ledger_origin", arg: "NAME", usage: "name of a new ledger and its key, such as example.org/ledger; else charter.local/HOSTNAME, of a node charter.local/NAME/node", access: text(func(o *Options) *string { return &o.Ledger.Origin })},
		{flag: "witness-policy", key: "witness_policy", arg: "FILE", usage: "witnesses that cosign the ledger, and how many are enough (C2SP tlog-policy)", path: true, access: text(func(o *Options) *string { return &o.Ledger.WitnessPolicy })},
		{flag: "witness-logs", key: "witness_logs", arg: "FILE", usage: "keys of the ledgers of others that this server witnesses (C2SP tlog-policy)", path: true, access: text(func(o *Options) *string { return &o.WitnessLogs })},
		{flag: "witness-name", key: "witness_name", arg: "NAME", usage: "name of a new witness key, such as witness.example.org/1; else the default of --ledger-origin and /witness", access: text(func(o *Options) *string { return &o.WitnessName })},
		{flag: "quiet-period", key: "enforcement.quiet_period", arg: "DURATION", usage: "for how long after a denial further ones of that node and clause belong to the same incident", def: "1h", access: span(func(o *Options) *time.Duration { return &o.Enforcement.Quiet })},
		{flag: "investigation-sla", key: "enforcement.investigation_sla", arg: "DURATION", usage: "how long an investigation may take", def: "72h", access: span(func(o *Options) *time.Duration { return &o.Enforcement.SLA })},
		{flag: "evidence", key: "enforcement.evidence", arg: "DIR", usage: "where to keep what people report; else evidence in --data", path: true, access: text(func(o *Options) *string { return &o.Enforcement.Evidence })},
		{flag: "fleet-grace", key: "fleet.grace", arg: "DURATION", usage: "how long a node may run an older release than it is offered before it counts as behind", def: "2m", access: duration(func(o *Options) *time.Duration { return &o.FleetGrace })},
		{flag: "insecure-no-ledger", key: "insecure_no_ledger", usage: "decide without recording anything", access: toggle(func(o *Options) *bool { return &o.Ledger.InsecureNone })},
		{flag: "state", key: "state", arg: "FILE", usage: "JSON document of standings, revocations and overrides", path: true, access: text(func(o *Options) *string { return &o.State })},
		{flag: "smtp", key: "smtp.server", arg: "HOST:PORT", usage: "mail server for receivers of the charter that are reached by e-mail", access: text(func(o *Options) *string { return &o.Notify.SMTP.Server })},
		{flag: "smtp-from", key: "smtp.from", arg: "ADDRESS", usage: "mailbox that notifications are from", access: text(func(o *Options) *string { return &o.Notify.SMTP.From })},
		{flag: "smtp-user", key: "smtp.user", arg: "NAME", usage: "who logs in at the mail server; nobody by default", access: text(func(o *Options) *string { return &o.Notify.SMTP.User })},
		{flag: "smtp-password-file", key: "smtp.password_file", arg: "FILE", usage: "file with the password, read for each message", path: true, access: text(func(o *Options) *string { return &o.Notify.SMTP.PasswordFile })},
		{flag: "smtp-password-env", key: "smtp.password_env", arg: "NAME", usage: "environment variable with the password instead", access: text(func(o *Options) *string { return &o.Notify.SMTP.PasswordEnv })},
		{flag: "smtp-tls", key: "smtp.tls", arg: "MODE", usage: "starttls, implicit (port 465), or insecure-plain", def: "starttls", access: text(func(o *Options) *string { return (*string)(&o.Notify.SMTP.TLS) })},
		{flag: "notify-public-only", key: "notify_public_only", usage: "send notifications to no private address and not to this machine", access: toggle(func(o *Options) *bool { return &o.Notify.PublicOnly })},
		{flag: "insecure-self-asserted", key: "insecure_self_asserted", usage: "believe the role, node and claims of every caller; loopback only", access: toggle(func(o *Options) *bool { return &o.InsecureSelfAsserted })},
		{flag: "insecure-plain-http", key: "insecure_plain_http", usage: "allow HTTP without TLS beyond loopback, for a network or proxy that protects it", access: toggle(func(o *Options) *bool { return &o.InsecurePlainHTTP })},
		{flag: "tls-cert", key: "tls.cert", arg: "FILE", usage: "certificate of the server with its intermediates, PEM", path: true, access: text(func(o *Options) *string { return &o.TLS.Cert })},
		{flag: "tls-key", key: "tls.key", arg: "FILE", usage: "its private key, PEM", path: true, access: text(func(o *Options) *string { return &o.TLS.Key })},
		{flag: "tls-client-ca", key: "tls.client_ca", arg: "FILE", usage: "authorities whose client certificates are believed, PEM", path: true, access: text(func(o *Options) *string { return &o.TLS.ClientCA })},
		{flag: "tls-client-roles", key: "tls.client_roles", arg: "LIST", usage: "roles that a client certificate without roles of its own may name", def: "node_operator", access: text(func(o *Options) *string { return &o.TLS.ClientRoles })},
		{flag: "tls-client-claims", key: "tls.client_claims", arg: "LIST", usage: "claims that client certificates may name; mtls needs no mention", access: text(func(o *Options) *string { return &o.TLS.ClientClaims })},
		{flag: "tls-assert-roles", key: "tls.assert_roles", arg: "LIST", usage: "roles whose client certificates may ask for any node, role and claims", access: text(func(o *Options) *string { return &o.TLS.AssertRoles })},
		{flag: "token-file", key: "token_file", arg: "FILE", usage: "bearer tokens that are accepted, as digests, YAML", path: true, access: text(func(o *Options) *string { return &o.TokenFile })},
		{flag: "diagnostics", key: "diagnostics", arg: "HOST:PORT", usage: "where to serve /metrics, pprof, /v1/config and /v1/status; then /metrics is served nowhere else", access: text(func(o *Options) *string { return &o.Diagnostics })},
		{flag: "otlp-endpoint", key: "tracing.otlp_endpoint", arg: "URL", usage: "OpenTelemetry collector that takes spans over OTLP/HTTP, such as http://127.0.0.1:4318", access: text(func(o *Options) *string { return &o.Tracing.Endpoint })},
		{flag: "trace-ratio", key: "tracing.ratio", arg: "SHARE", usage: "share of the requests without a parent that are recorded, 0 to 1; others are when their parent is", def: "1", access: share(func(o *Options) *float64 { return &o.Tracing.Ratio })},
		{flag: "log-level", key: "log.level", arg: "LEVEL", usage: "debug, info, warn or error", def: "info", access: text(func(o *Options) *string { return &o.LogLevel })},
		{flag: "log-format", key: "log.format", arg: "FORMAT", usage: "json, text, or auto: text on a terminal, else json", def: "auto", access: text(func(o *Options) *string { return &o.LogFormat })},
		{flag: "max-body", key: "limits.body", arg: "SIZE", usage: "of any request body, such as 1MiB", def: "1MiB", access: size(func(o *Options) *int64 { return &o.MaxBody })},
		{flag: "max-check-body", key: "limits.check_body", arg: "SIZE", usage: "of one question", def: "64KiB", access: size(func(o *Options) *int64 { return &o.MaxCheckBody })},
		{flag: "max-batch-body", key: "limits.batch_body", arg: "SIZE", usage: "of a batch of questions", def: "16MiB", access: size(func(o *Options) *int64 { return &o.MaxBatchBody })},
		{flag: "cache-size", key: "limits.cache", arg: "NUMBER", usage: "decisions that are kept, of about a kilobyte each; 0 keeps none", def: "65536", access: count(func(o *Options) *int { return &o.Cache })},
		{flag: "rate-limit", key: "limits.rate", arg: "NUMBER", usage: "questions a second of one identity; 0 is no limit", def: "10000", access: count(func(o *Options) *int { return &o.Rate })},
		{flag: "timeout-read-header", key: "timeouts.read_header", arg: "DURATION", usage: "for the header of a request", def: "5s", access: duration(func(o *Options) *time.Duration { return &o.Timeouts.ReadHeader })},
		{flag: "timeout-read", key: "timeouts.read", arg: "DURATION", usage: "for a whole request", def: "10s", access: duration(func(o *Options) *time.Duration { return &o.Timeouts.Read })},
		{flag: "timeout-write", key: "timeouts.write", arg: "DURATION", usage: "for an answer", def: "30s", access: duration(func(o *Options) *time.Duration { return &o.Timeouts.Write })},
		{flag: "timeout-idle", key: "timeouts.idle", arg: "DURATION", usage: "between requests of one connection", def: "2m", access: duration(func(o *Options) *time.Duration { return &o.Timeouts.Idle })},
		{flag: "timeout-decide", key: "timeouts.decide", arg: "DURATION", usage: "for one decision", def: "5s", access: duration(func(o *Options) *time.Duration { return &o.Timeouts.Decide })},
		{flag: "timeout-batch", key: "timeouts.batch", arg: "DURATION", usage: "for all decisions of one batch together", def: "20s", access: duration(func(o *Options) *time.Duration { return &o.Timeouts.Batch })},
		{flag: "timeout-stream", key: "timeouts.stream", arg: "DURATION", usage: "between two lines of a stream of questions", def: "30s", access: duration(func(o *Options) *time.Duration { return &o.Timeouts.Stream })},
		{flag: "timeout-shutdown", key: "timeouts.shutdown", arg: "DURATION", usage: "for requests under way when the server is told to stop", def: "10s", access: duration(func(o *Options) *time.Duration { return &o.Timeouts.Shutdown })},
	}, append(releaseSettings(), stateBundleSettings()...)...)
}

// access is how a setting is read and written, in the form a user would write.
type access struct {
	set func(o *Options, value string) error
	get func(o Options) string
}

func text(field func(*Options) *string) access {
	return access{
		set: func(o *Options, value string) error {
			*field(o) = value
			return nil
		},
		get: func(o Options) string { return *field(&o) },
	}
}

func toggle(field func(*Options) *bool) access {
	return access{
		set: func(o *Options, value string) error {
			switch value {
			case "true":
				*field(o) = true
			case "false":
				*field(o) = false
			default:
				return fmt.Errorf("%q is not true or false", value)
			}
			return nil
		},
		get: func(o Options) string { return strconv.FormatBool(*field(&o)) },
	}
}

func duration(field func(*Options) *time.Duration) access {
	return access{
		set: func(o *Options, value string) error {
			d, err := time.ParseDuration(value)
			if err != nil || d <= 0 || d > 24*time.Hour {
				return fmt.Errorf("%q is not a duration between 0 and 24h, such as 5s or 2m", value)
			}
			*field(o) = d
			return nil
		},
		get: func(o Options) string { return field(&o).String() },
	}
}

// span is a duration of up to a year.
func span(field func(*Options) *time.Duration) access {
	const most = 8760 * time.Hour
	return access{
		set: func(o *Options, value string) error {
			d, err := time.ParseDuration(value)
			if err != nil || d <= 0 || d > most {
				return fmt.Errorf("%q is not a duration between 0 and 8760h, such as 1h or 72h", value)
			}
			*field(o) = d
			return nil
		},
		get: func(o Options) string { return field(&o).String() },
	}
}

// ledgerRef is shown without a password.
func ledgerRef() access {
	return access{
		set: func(o *Options, value string) error {
			o.Ledger.Ref = value
			return nil
		},
		get: func(o Options) string { return redactedRef(o.Ledger.Ref) },
	}
}

// interval is a duration that can be 0.
func interval(field func(*Options) *time.Duration) access {
	positive := duration(field)
	return access{
		set: func(o *Options, value string) error {
			if d, err := time.ParseDuration(value); err == nil && d == 0 {
				*field(o) = 0
				return nil
			}
			return positive.set(o, value)
		},
		get: positive.get,
	}
}

// maxRate bounds rates, so that they stay exact as floating-point numbers.
const maxRate = 1_000_000_000

func count(field func(*Options) *int) access {
	return access{
		set: func(o *Options, value string) error {
			n, err := strconv.Atoi(value)
			if err != nil || n < 0 || n > maxRate {
				return fmt.Errorf("%q is not a number from 0 to %d", value, maxRate)
			}
			*field(o) = n
			return nil
		},
		get: func(o Options) string { return strconv.Itoa(*field(&o)) },
	}
}

// maxSize bounds sizes: bodies are read into memory.
const maxSize = 64 << 20

func size(field func(*Options) *int64) access {
	return access{
		set: func(o *Options, value string) error {
			n, err := parseSize(value)
			if err != nil {
				return fmt.Errorf("%q is not a size from 1 to 64MiB, such as 65536, 64KiB or 1MiB", value)
			}
			*field(o) = n
			return nil
		},
		get: func(o Options) string { return strconv.FormatInt(*field(&o), 10) },
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
