package charter

import (
	"net"
	"net/url"
	"strings"

	"github.com/westworld-charter/charter/internal/diag"
)

// receivers checks where notifications go.
func (k *checker) receivers() {
	for i := range k.Notify {
		r := &k.Notify[i]
		k.receiverKind(r)
		if s := r.Slack; s != nil {
			k.oneSecret(s.Source, "url_file", "url_env", true)
		}
		if w := r.Webhook; w != nil {
			k.oneSecret(w.Source, "secret_file", "secret_env", false)
			k.webhookURL(w)
		}
	}
}

// receiverKind checks that a receiver is exactly one thing.
func (k *checker) receiverKind(r *Receiver) {
	var kinds []string
	for _, kind := range []string{"slack", "email", "webhook"} {
		if r.Has(kind) {
			kinds = append(kinds, kind)
		}
	}
	switch {
	case len(kinds) == 0 && !k.broken["notify"]:
		k.list.Errorf(r.Pos(), codeReceiverKind, "the receiver %q does not say where it sends to", r.Name).Fix = "add slack, email or webhook"
	case len(kinds) > 1:
		d := k.list.Errorf(r.Field(kinds[1]), codeReceiverKind, "the receiver %q is both %s", r.Name, strings.Join(kinds, " and "))
		d.Fix = "write one receiver for each"
		d.Related = []diag.Related{{Pos: r.Field(kinds[0]), Message: "already " + kinds[0]}}
	}
}

// oneSecret checks that a secret is named in one way.
func (k *checker) oneSecret(s Source, file, env string, needed bool) {
	switch {
	case s.Has(file) && s.Has(env):
		d := k.list.Errorf(s.Field(env), codeReceiverSecret, "the secret is named twice, by %s and %s", file, env)
		d.Fix = "keep one of the two"
		d.Related = []diag.Related{{Pos: s.Field(file), Message: "named here too"}}
	case needed && !s.Has(file) && !s.Has(env) && !k.broken["notify"]:
		k.list.Errorf(s.Pos(), codeReceiverSecret, "the address of the incoming webhook is missing").
			Fix = "name a file or variable that holds it: " + file + " or " + env
	}
}

// webhookURL refuses secrets within the URL and warns of plain HTTP.
func (k *checker) webhookURL(w *Webhook) {
	u, err := url.Parse(w.URL)
	if err != nil || w.URL == "" {
		return
	}
	if u.User != nil || secretQuery(u.Query()) {
		k.list.Errorf(w.Field("url"), codeInlineSecret, "the URL holds a secret").
			Fix = "secrets are not written into a charter: name a file or variable with secret_file or secret_env"
	}
	if u.Scheme == "http" && !loopback(u.Hostname()) {
		k.list.Warnf(w.Field("url"), codeInsecureURL, "notifications to %s travel unencrypted", u.Host).Fix = "use https"
	}
}

func secretQuery(q url.Values) bool {
	for name := range q {
		if secretWord(name) {
			return true
		}
	}
	return false
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
