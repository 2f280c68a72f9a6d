package distribution

import (
	"net/http"
	"time"

	"github.com/westworld-charter/charter/internal/release"
)

// Options say how to reach what a reference names. The zero value asks anonymously,
// or as the configuration of Docker says. Proxies are taken from the environment
// (HTTPS_PROXY, HTTP_PROXY, NO_PROXY).
type Options struct {
	// Mirrors are references to copies: for layers they are asked first, in order; for
	// what a name means only when what the reference names does not answer. A mirror
	// without tag and digest takes those of the reference; oci://HOST alone has the same
	// repository.
	Mirrors []string
	// DockerConfig is the path of a config.json with credentials or credential
	// helpers for registries; "" is $DOCKER_CONFIG/config.json or ~/.docker/config.json.
	DockerConfig string
	// TokenFile holds a bearer token for what the reference names, not for mirrors. It
	// is read again for each request, or when a registry asks for it anew.
	TokenFile string
	// CAFile holds certificates in PEM that servers are checked against; "" are those
	// of the system.
	CAFile string
	// CertFile and KeyFile hold a client certificate and its key in PEM; they are read
	// again for each connection.
	CertFile, KeyFile string
	// InsecurePlainHTTP allows HTTP without TLS to other machines, and uses it for all
	// registries. Loopback registries are asked by plain HTTP unless CAFile or
	// CertFile is given.
	InsecurePlainHTTP bool
	// UserAgent names the program, "" for charter.
	UserAgent string
	// Header is sent to the HTTP server that the reference names: who is asking.
	Header http.Header
	// Limits bound what is accepted.
	Limits Limits
	// Progress, if not nil, is called now and then while something large is moved:
	// "download" or "upload", and how many of how many bytes, -1 when a server does not
	// say. It must be fast.
	Progress func(what string, done, total int64)
}

// Limits bound what is accepted from others. Zero fields take the values of
// [DefaultLimits].
type Limits struct {
	Layer      int64         // bytes of an archive
	Index      int64         // bytes of one page of referrers, or of the index of a layout
	Statement  int64         // bytes of one Sigstore bundle
	Statements int64         // bytes of all statements about one release
	Referrers  int           // what may refer to one release, of any kind; also statements in a file
	Layout     int64         // bytes of a packed layout
	Stall      time.Duration // without a single byte
	Total      time.Duration // for one call of a [Source], long polling not counted
	Retries    int           // of a request that met a server in trouble; -1 for none
}

// DefaultLimits hold a release with a hundred statements on a slow line.
func DefaultLimits() Limits {
	return Limits{
		Layer: release.MaxLayer, Index: 1 << 20, Statement: 1 << 20, Statements: 16 << 20, Referrers: 200, Layout: 512 << 20,
		Stall: 30 * time.Second, Total: 10 * time.Minute, Retries: 2,
	}
}

func (l Limits) orDefault() Limits {
	d := DefaultLimits()
	for _, v := range []struct{ have, want *int64 }{
		{&l.Layer, &d.Layer}, {&l.Index, &d.Index}, {&l.Statement, &d.Statement}, {&l.Statements, &d.Statements}, {&l.Layout, &d.Layout},
	} {
		if *v.have <= 0 {
			*v.have = *v.want
		}
	}
	if l.Referrers <= 0 {
		l.Referrers = d.Referrers
	}
	if l.Stall <= 0 {
		l.Stall = d.Stall
	}
	if l.Total <= 0 {
		l.Total = d.Total
	}
	switch {
	case l.Retries == 0:
		l.Retries = d.Retries
	case l.Retries < 0:
		l.Retries = 0
	}
	return l
}

// progress returns a function that counts bytes of a transfer.
func (o Options) progress(what string, total int64) func(n int) {
	if o.Progress == nil {
		return func(int) {}
	}
	var done int64
	o.Progress(what, 0, total)
	return func(n int) {
		done += int64(n)
		o.Progress(what, done, total)
	}
}
