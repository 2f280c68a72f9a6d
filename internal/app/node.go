package app

import (
	"fmt"
	"maps"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/westworld-charter/charter/internal/decision"
)

// NodeOptions are about the node that a charter-node decides for.
type NodeOptions struct {
	Name   string // "" is the name of the machine
	Labels string // name=value, between commas
	// Server is the URL of the charter-server that gets reports; "" is none.
	Server         string
	ReportInterval time.Duration // between two reports while nothing changes
}

// CharterNode is the program that runs beside what it decides for: it follows signed
// releases, and makes no policy.
func CharterNode() Program {
	return Program{
		name: "charter-node", prefix: "CHARTER_NODE_", settings: nodeSettings(), defaults: NodeDefaults(), check: Options.validateNode,
		help: help{
			head:     nodeHelp,
			examples: nodeExamples,
			sample:   "docs/node.yaml",
			nothing:  "what to run is named with --bundle REF",
		},
		node: true,
	}
}

const nodeHelp = `charter-node answers, on the machine that asks, whether a metric may be collected, read or exported. It runs the signed
release that is published for it, and nothing else.

Usage:
  charter-node --bundle REF --trust FILE [flags]

A REF is oci://HOST/REPOSITORY:TAG, https://…, a .tar.gz file with its statements beside it, or an OCI layout (directory or .tar).
`

const nodeExamples = `  charter-node --bundle oci://registry.example.org/charter:production --trust trust.yaml --insecure-self-asserted
  charter-node --bundle https://charter.example.org/bundles/production --state-bundle https://charter.example.org/bundles/state \
    --trust trust.yaml --server https://charter.example.org --server-cert node.pem --server-key node.key --token-file tokens.yaml
  CHARTER_NODE_LOG_LEVEL=debug charter-node --config docs/node.yaml
`

// NodeDefaults are options of charter-node that only lack a bundle and whom to trust.
func NodeDefaults() Options {
	var o Options
	for _, s := range nodeSettings() {
		if s.def != "" {
			_ = s.set(&o, s.def) // a test sets each
		}
	}
	return o
}

// nodeSettings are those of charter-node. What it shares with charter-server has the
// same name there.
func nodeSettings() []setting {
	own := []setting{
		{flag: "bundle", key: "bundle", arg: "REF", usage: "the release to run", path: true, access: ref(func(o *Options) *string { return &o.Bundle })},
	}
	own = append(own, releaseSettings()...)
	own = append(own, []setting{
		{flag: "state-bundle", key: "state_bundle", arg: "REF", usage: "the signed standings, revocations and overrides to obey", path: true, access: ref(func(o *Options) *string { return &o.Releases.StateBundle })},
		{flag: "max-state", key: "limits.state", arg: "SIZE", usage: "of a state bundle, decompressed; packed a quarter of that", def: "32MiB", access: size(func(o *Options) *int64 { return &o.Releases.MaxState })},
		{flag: "node", key: "node.name", arg: "NAME", usage: "what this node is called; else the name of the machine", access: text(func(o *Options) *string { return &o.Node.Name })},
		{flag: "label", key: "node.labels", arg: "NAME=VALUE", usage: "a label of this node, told in reports; again, or between commas, for more", list: true, access: labels(func(o *Options) *string { return &o.Node.Labels })},
		{flag: "server", key: "server.url", arg: "URL", usage: "the charter-server that is told what this node runs", access: text(func(o *Options) *string { return &o.Node.Server })},
		{flag: "report-interval", key: "server.report_interval", arg: "DURATION", usage: "how often it is told, when nothing changes", def: "30s", access: duration(func(o *Options) *time.Duration { return &o.Node.ReportInterval })},
		{flag: "listen", key: "listen", arg: "HOST:PORT", usage: "where to serve; port 0 takes a free one", def: "127.0.0.1:8100", access: text(func(o *Options) *string { return &o.Listen })},
		{flag: "data", key: "data", arg: "DIR", usage: "where to keep what must survive a restart: the releases, the ledger and its key", def: "./charter-node-data", path: true, access: text(func(o *Options) *string { return &o.Data })},
	}...)
	return append(own, only(
		serverSettings(),
		"diagnostics", "watch", "public-url", "ledger", "ledger-origin", "witness-policy", "witness-logs", "witness-name", "insecure-no-ledger",
		"insecure-self-asserted", "insecure-plain-http", "tls-cert", "tls-key", "tls-client-ca", "tls-client-roles", "tls-client-claims", "tls-assert-roles",
		"token-file", "otlp-endpoint", "trace-ratio", "log-level", "log-format", "max-body", "max-check-body", "max-batch-body", "cache-size", "rate-limit",
		"timeout-read-header", "timeout-read", "timeout-write", "timeout-idle", "timeout-decide", "timeout-batch", "timeout-stream", "timeout-shutdown",
	)...)
}

// validateNode is what charter-node alone demands.
func (o Options) validateNode(fault func(string, ...any)) {
	if o.Bundle == "" {
		fault("nothing to run: give --bundle REF")
	}
	if o.Trust == "" && !o.followsReleases() { // which is told below
		fault("give --trust FILE, which says whose signatures on --bundle count: nobody is trusted by default")
	}
	o.validateReleases(fault)
	if name := o.nodeName(); name == "" || len(name) > decision.MaxNameBytes {
		fault("--node %q is not a name of 1 to %d bytes", name, decision.MaxNameBytes)
	}
	if _, err := parseLabels(o.Node.Labels); err != nil {
		fault("--label: %w", err)
	}
	if o.Node.Server == "" {
		return
	}
	u, err := url.Parse(o.Node.Server)
	switch {
	case err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || u.RawQuery != "" || strings.HasSuffix(u.Path, "/"):
		fault("--server %q is not a URL such as https://charter.example.org, without a final slash", o.Node.Server)
	case u.Scheme == "http" && !loopback(u.Hostname()) && !o.InsecurePlainHTTP:
		fault("--server %s is not loopback, so it needs https://; --insecure-plain-http does without, where a network protects it", o.Node.Server)
	}
}

// nodeName is what the node is called.
func (o Options) nodeName() string {
	host, _ := os.Hostname() // "" is refused
	return first(o.Node.Name, host)
}

// parseLabels reads NAME=VALUE, between commas.
func parseLabels(text string) (map[string]string, error) {
	list := map[string]string{}
	for one := range strings.SplitSeq(text, ",") {
		if one = strings.TrimSpace(one); one == "" {
			continue
		}
		name, value, ok := strings.Cut(one, "=")
		if _, twice := list[name]; !ok || name == "" || twice {
			return nil, fmt.Errorf("%q is not NAME=VALUE, each name once", one)
		}
		list[name] = value
	}
	return list, nil
}

// labels are kept as they are written, sorted.
func labels(field func(*Options) *string) access {
	return access{
		set: func(o *Options, value string) error {
			list, err := parseLabels(value)
			if err != nil {
				return err
			}
			var sorted []string
			for _, name := range slices.Sorted(maps.Keys(list)) {
				sorted = append(sorted, name+"="+list[name])
			}
			*field(o) = strings.Join(sorted, ",")
			return nil
		},
		get: func(o Options) string { return *field(&o) },
	}
}

// ref is a reference, shown without a password.
func ref(field func(*Options) *string) access {
	plain := text(field)
	return access{set: plain.set, get: func(o Options) string { return redactedRef(*field(&o)) }}
}
