package distribution

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"strings"

	"oras.land/oras-go/v2/registry"

	"github.com/westworld-charter/charter/internal/release"
)

type kind int

const (
	kindRegistry kind = iota + 1 // a repository of an OCI registry
	kindServer                   // an archive on an HTTP server
	kindArchive                  // an archive in a file
	kindDir                      // an OCI image layout in a directory
	kindTar                      // an OCI image layout in a tar file
)

// Ref names a release, or where one is to go. The zero value names nothing. Refs can
// be compared.
type Ref struct {
	kind     kind
	location string // HOST/REPOSITORY, URL or path
	tag      string
	digest   string
}

// defaultTag is meant when a reference into a registry names nothing.
const defaultTag = "latest"

// maxRef bounds a reference in bytes.
const maxRef = 2048

var tagPattern = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$`)

// ParseRef reads a reference:
//
//	oci://HOST[:PORT]/REPOSITORY[:TAG][@DIGEST]   a registry
//	https://HOST/PATH, http://…                   an archive on a server
//	FILE.tar.gz, FILE.tgz                         an archive
//	DIRECTORY[:TAG][@DIGEST]                      an OCI image layout
//	FILE.tar[:TAG][@DIGEST]                       the same, packed
//
// A DIGEST is sha256: and 64 hex digits. Of a registry without either, the tag latest
// is meant, of a layout the only release in it. It fails with the code bad_reference.
func ParseRef(text string) (Ref, error) {
	bad := func(format string, args ...any) (Ref, error) {
		return Ref{}, &Error{CodeBadReference, fmt.Sprintf("reference %.200q", text), fmt.Errorf(format, args...)}
	}
	if text == "" || len(text) > maxRef || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f || r == 0xfffd }) {
		return bad("want oci://HOST/REPOSITORY:TAG, https://HOST/PATH, FILE.tar.gz, or a directory or FILE.tar with an OCI image layout")
	}
	scheme, rest, ok := strings.Cut(text, "://")
	if !ok {
		return parsePath(text, bad)
	}
	switch scheme {
	case "oci":
		return parseRegistry(rest, bad)
	case "http", "https":
		return parseServer(text, bad)
	case "docker", "docker-daemon", "containerd":
		return bad("want oci://%s", rest)
	}
	return bad("the scheme %s is not one of oci, https and http", scheme)
}

type refuse = func(format string, args ...any) (Ref, error)

func parseRegistry(text string, bad refuse) (Ref, error) {
	name, tag, digest, err := split(text)
	if err != nil {
		return bad("%w", err)
	}
	host, repository, _ := strings.Cut(name, "/")
	name = host + "/" + repository
	parsed := registry.Reference{Registry: host, Repository: repository}
	if host == "" || parsed.Validate() != nil || strings.ContainsAny(host, "@?#%") {
		return bad("want oci://HOST[:PORT]/REPOSITORY, the repository in lower case")
	}
	return Ref{kindRegistry, name, tag, digest}, nil
}

func parseServer(text string, bad refuse) (Ref, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return bad("%w", err)
	case u.Host == "" || u.Path == "" || strings.HasSuffix(u.Path, "/") || u.Fragment != "":
		return bad("want the URL of an archive, such as https://charter.example.org/bundles/charter")
	case u.User != nil:
		return bad("credentials do not belong into a URL: use a token file or a client certificate")
	}
	return Ref{kind: kindServer, location: u.String()}, nil
}

func parsePath(text string, bad refuse) (Ref, error) {
	if path := strings.ToLower(text); strings.HasSuffix(path, ".tar.gz") || strings.HasSuffix(path, ".tgz") {
		return Ref{kind: kindArchive, location: text}, nil
	}
	path, tag, digest, err := split(text)
	switch {
	case err != nil:
		return bad("%w", err)
	case path == "":
		return bad("a path is missing")
	case strings.HasSuffix(path, ".tar"):
		return Ref{kindTar, path, tag, digest}, nil
	}
	return Ref{kindDir, path, tag, digest}, nil
}

// split takes :TAG and @DIGEST off a name. A colon before the last slash belongs to
// the name, and so does an @ that no digest follows.
func split(text string) (name, tag, digest string, err error) {
	name = text
	if i := strings.LastIndex(name, "@"); i >= 0 && strings.Contains(name[i:], ":") {
		if name, digest = name[:i], name[i+1:]; !release.ValidDigest(digest) {
			return "", "", "", fmt.Errorf("%q is not sha256: and 64 hex digits", digest)
		}
	}
	if i := strings.LastIndexByte(name, ':'); i > strings.LastIndexByte(name, '/') {
		if name, tag = name[:i], name[i+1:]; !tagPattern.MatchString(tag) {
			return "", "", "", fmt.Errorf("%q is not a tag: 1 to 128 letters, digits, _, . and -", tag)
		}
	}
	return name, tag, digest, nil
}

// String returns the reference as [ParseRef] reads it.
func (r Ref) String() string {
	text := r.location
	if r.kind == kindRegistry {
		text = "oci://" + text
	}
	if r.tag != "" {
		text += ":" + r.tag
	}
	if r.digest != "" {
		text += "@" + r.digest
	}
	return text
}

// Tag returns the tag that the reference names, "" when it names none.
func (r Ref) Tag() string { return r.tag }

// Digest returns the release digest that the reference pins, "" when it pins none.
func (r Ref) Digest() string { return r.digest }

// WithTag returns the reference with that tag and no digest. References to archives
// have no tags and are returned as they are.
func (r Ref) WithTag(tag string) Ref {
	if r.tagged() {
		r.tag, r.digest = tag, ""
	}
	return r
}

// WithDigest returns the reference pinned to a release digest. References to archives
// cannot be pinned and are returned as they are.
func (r Ref) WithDigest(digest string) Ref {
	if r.tagged() {
		r.digest = digest
	}
	return r
}

func (r Ref) tagged() bool {
	return r.kind == kindRegistry || r.kind == kindDir || r.kind == kindTar
}

// host returns the HOST[:PORT] of a registry or server.
func (r Ref) host() string {
	if r.kind == kindServer {
		if u, err := url.Parse(r.location); err == nil {
			return u.Host
		}
	}
	host, _, _ := strings.Cut(r.location, "/")
	return host
}

// loopback reports whether a HOST[:PORT] is this machine.
func loopback(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = strings.Trim(hostport, "[]")
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}

// StatementsPath returns where the statements about an archive in a file are.
func StatementsPath(file string) string { return file + statementsSuffix }

const statementsSuffix = ".sigstore.json"
