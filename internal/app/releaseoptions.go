package app

import (
	"net/url"
	"strings"
	"time"

	"github.com/westworld-charter/charter/internal/distribution"
)

// ReleaseOptions say how signed releases are followed, and with what this process
// proves who it is where they come from.
type ReleaseOptions struct {
	StateBundle    string        // reference of a signed state bundle; "" is none
	MaxState       int64         // bytes of one, decompressed
	Poll           time.Duration // between two looks at what is released
	LongPoll       time.Duration // that a server may wait with its answer until something else is released; 0 asks for no such thing
	RegistryConfig string        // credentials for registries (config.json of Docker); "" is the usual place
	Mirrors        string        // references to copies of the bundle, between commas
	PlainRegistry  bool          // fetch without TLS also beyond this machine
	// Server proves who we are to an HTTP server: the one of --server, else that of
	// the bundle.
	Server ServerOptions
}

// ServerOptions are about an HTTP server that this process is a client of.
type ServerOptions struct {
	CA        string // PEM; of registries, too; "" is those of this machine
	Cert, Key string // PEM; both or neither
	TokenFile string // with a bearer token alone
}

func defaultReleases() ReleaseOptions {
	return ReleaseOptions{Poll: 30 * time.Second, LongPoll: time.Minute}
}

// mirrors are the references among them.
func (o ReleaseOptions) mirrors() []string {
	return strings.FieldsFunc(o.Mirrors, func(r rune) bool { return r == ',' || r == ' ' })
}

// followsReleases reports whether the bundle has to be signed by somebody trusted.
// What lies on the disk of a charter-server may be there on the word of its operator.
func (o Options) followsReleases() bool {
	return o.Bundle != "" && (o.Trust != "" || strings.Contains(o.Bundle, "://"))
}

// minState is what a state bundle may have, in bytes, at least.
const minState = 64 << 10

func (o Options) validateReleases(fault func(string, ...any)) {
	r := o.Releases
	if o.followsReleases() && o.Trust == "" {
		fault("--bundle %s needs --trust FILE, which says whose signatures on it count: nobody is trusted by default", redactedRef(o.Bundle))
	}
	if o.followsReleases() {
		for flag, text := range map[string]string{"--bundle": o.Bundle, "--state-bundle": r.StateBundle} {
			if _, err := distribution.ParseRef(text); text != "" && err != nil {
				fault("%s: %w", flag, err)
			}
		}
		if o.Candidate.Path != "" || o.AllowApply {
			fault("--candidate and --allow-apply would have something decide that nobody signed; they need a policy that is not verified with --trust")
		}
	}
	if r.StateBundle != "" && r.MaxState < minState {
		fault("--max-state: %d bytes at least", minState)
	}
	if (r.Server.Cert == "") != (r.Server.Key == "") {
		fault("--server-cert and --server-key need each other")
	}
}

// sameOrigin reports whether two URLs are of one scheme, host and port.
func sameOrigin(a, b string) bool {
	x, err := url.Parse(a)
	y, err2 := url.Parse(b)
	return err == nil && err2 == nil && x.Host != "" && strings.EqualFold(x.Scheme, y.Scheme) && strings.EqualFold(x.Host, y.Host)
}

// releaseSettings are those about following releases.
func releaseSettings() []setting {
	return []setting{
		{flag: "trust", key: "trust", arg: "FILE", usage: "whose signatures on bundles count; then what --bundle names is verified", path: true, access: text(func(o *Options) *string { return &o.Trust })},
		{flag: "poll", key: "releases.poll", arg: "DURATION", usage: "how often to ask what is released", def: "30s", access: duration(func(o *Options) *time.Duration { return &o.Releases.Poll })},
		{flag: "long-poll", key: "releases.long_poll", arg: "DURATION", usage: "how long an HTTP server may wait until something else is released; 0 asks for an answer at once", def: "1m", access: interval(func(o *Options) *time.Duration { return &o.Releases.LongPoll })},
		{flag: "registry-config", key: "releases.registry_config", arg: "FILE", usage: "credentials for registries, config.json of Docker; else where Docker has it", path: true, access: text(func(o *Options) *string { return &o.Releases.RegistryConfig })},
		{flag: "mirror", key: "releases.mirrors", arg: "REF", usage: "a copy of what --bundle names, asked first for archives, and for the rest when that does not answer; again, or between commas, for more", list: true, access: text(func(o *Options) *string { return &o.Releases.Mirrors })},
		{flag: "insecure-plain-registry", key: "releases.insecure_plain_registry", usage: "fetch without TLS from other machines; signatures are verified all the same", access: toggle(func(o *Options) *bool { return &o.Releases.PlainRegistry })},
		{flag: "server-ca", key: "server.ca", arg: "FILE", usage: "authorities of the servers and registries that are asked, PEM; else those of this machine", path: true, access: text(func(o *Options) *string { return &o.Releases.Server.CA })},
		{flag: "server-cert", key: "server.cert", arg: "FILE", usage: "certificate that proves who asks, PEM", path: true, access: text(func(o *Options) *string { return &o.Releases.Server.Cert })},
		{flag: "server-key", key: "server.key", arg: "FILE", usage: "its private key, PEM", path: true, access: text(func(o *Options) *string { return &o.Releases.Server.Key })},
		{flag: "server-token-file", key: "server.token_file", arg: "FILE", usage: "file with the bearer token that proves who asks, read each time", path: true, access: text(func(o *Options) *string { return &o.Releases.Server.TokenFile })},
	}
}
