package registry

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"github.com/westworld-charter/charter/internal/distribution"
	"github.com/westworld-charter/charter/tests/internal/file"
	"github.com/westworld-charter/charter/tests/internal/judge"
	"github.com/westworld-charter/charter/tests/internal/process"
	"github.com/westworld-charter/charter/tests/releases"
)

// dockerRegistry starts one that wants a password, and returns its address and how to
// reach it.
func dockerRegistry(t *testing.T) (host string, o distribution.Options) {
	t.Helper()
	program := judge.Path(t, "docker-registry")
	dir := t.TempDir()
	hash, err := bcrypt.GenerateFromPassword([]byte("secret"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	users := file.Write(t, filepath.Join(dir, "htpasswd"), "alice:"+string(hash)+"\n")
	host = process.FreeAddress(t)
	config := file.Write(t, filepath.Join(dir, "config.yml"), fmt.Sprintf(
		"version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: %s}}\nhttp: {addr: %q}\nauth: {htpasswd: {realm: test, path: %s}}\n",
		filepath.Join(dir, "data"), host, users))
	process.Start(t, process.Options{}, program, "serve", config).Ready(t, func() error {
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", host)
		if err == nil {
			_ = conn.Close()
		}
		return err
	})
	return host, distribution.Options{DockerConfig: login(t, host)}
}

// login writes a config.json for hosts and returns its path.
func login(t *testing.T, hosts ...string) string {
	t.Helper()
	auth := base64.StdEncoding.EncodeToString([]byte("alice:secret"))
	var entries []string
	for _, host := range hosts {
		entries = append(entries, fmt.Sprintf("%q:{\"auth\":%q}", host, auth))
	}
	return file.Write(t, filepath.Join(t.TempDir(), "config.json"), `{"auths":{`+strings.Join(entries, ",")+`}}`)
}

func ref(t *testing.T, text string) distribution.Ref {
	t.Helper()
	r, err := distribution.ParseRef(text)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func made(t *testing.T, version int) *releases.Made {
	t.Helper()
	return releases.Release{Version: version, Sequence: int64(version), Key: releases.TrustedKey(t)}.Make(t)
}

func push(t *testing.T, to distribution.Ref, m *releases.Made, o distribution.Options) distribution.Result {
	t.Helper()
	result, err := distribution.Push(t.Context(), to, m.Manifest, m.Archive, m.Statements, o)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

// holds checks that a reference holds a release and so many statements.
func holds(t *testing.T, from distribution.Ref, m *releases.Made, statements int, o distribution.Options) {
	t.Helper()
	got, err := distribution.Fetch(t.Context(), from, o)
	if err != nil {
		t.Fatal(err)
	}
	if got.Manifest.Digest() != m.Digest() || !bytes.Equal(got.Layer, m.Archive) || len(got.Statements) != statements {
		t.Errorf("%s holds %s with %d statements, want %s with %d", from, got.Manifest.Digest(), len(got.Statements), m.Digest(), statements)
	}
}

func TestDockerRegistry(t *testing.T) {
	host, o := dockerRegistry(t)
	first, second := made(t, 1), made(t, 2)
	to := ref(t, "oci://"+host+"/policy/charter:production")
	if _, err := distribution.Push(t.Context(), to, first.Manifest, first.Archive, nil, distribution.Options{DockerConfig: filepath.Join(t.TempDir(), "none")}); err == nil {
		t.Error("pushed without a password")
	}
	if result := push(t, to, first, o); result.Attached != len(first.Statements) || !result.Moved {
		t.Errorf("first push: %+v", result)
	}
	holds(t, to, first, len(first.Statements), o)
	if result := push(t, to, first, o); result.Uploaded != 0 || result.Attached != 0 || result.Moved {
		t.Errorf("pushing again: %+v", result)
	}
	push(t, to, second, o)
	holds(t, to, second, len(second.Statements), o)
	holds(t, to.WithDigest(first.Digest()), first, len(first.Statements), o)

	var saved bytes.Buffer
	if err := distribution.Save(t.Context(), &saved, o, to, to.WithTag("rollback").WithDigest(first.Digest())); err != nil {
		t.Fatal(err)
	}
	elsewhere := ref(t, "oci://"+host+"/elsewhere/charter")
	if _, err := distribution.Load(t.Context(), bytes.NewReader(saved.Bytes()), int64(saved.Len()), elsewhere, o); err != nil {
		t.Fatal(err)
	}
	holds(t, elsewhere.WithTag("production"), second, len(second.Statements), o)
	holds(t, elsewhere.WithTag("rollback"), first, len(first.Statements), o)
	if _, err := distribution.Fetch(t.Context(), to.WithTag("missing"), o); err == nil || !strings.Contains(err.Error(), "[not_found]") {
		t.Errorf("a tag that is not there: %v", err)
	}
}

// Two who attach to one release at the same time change one list, where there is no
// referrers API.
func TestAttachingAtTheSameTime(t *testing.T) {
	host, o := dockerRegistry(t)
	m := made(t, 1)
	to := ref(t, "oci://"+host+"/charter:production")
	if _, err := distribution.Push(t.Context(), to, m.Manifest, m.Archive, nil, o); err != nil {
		t.Fatal(err)
	}
	const people = 4
	var wg sync.WaitGroup
	for range people {
		statement := releases.TrustedKey(t).State(t, m.Digest(), "https://example.org/reviewed/v1", struct{}{})
		wg.Go(func() {
			if _, err := distribution.Attach(t.Context(), to, m.Digest(), [][]byte{statement}, o); err != nil {
				t.Errorf("attach: %v", err)
			}
		})
	}
	wg.Wait()
	got, err := distribution.Fetch(t.Context(), to, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d of %d statements are listed", len(got.Statements), people)
	if len(got.Statements) == 0 {
		t.Error("none is listed")
	}
}

// What a poll costs at the registry that most people run.
func TestAnUnchangedPollOfDockerRegistry(t *testing.T) {
	host, _ := dockerRegistry(t)
	target, err := url.Parse("http://" + host)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var requests []string
	proxy := httputil.NewSingleHostReverseProxy(target)
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		requests = append(requests, r.Method+" "+r.URL.Path)
		mu.Unlock()
		r.Host = target.Host // where uploads are sent to
		proxy.ServeHTTP(w, r)
	}))
	defer front.Close()
	frontHost := strings.TrimPrefix(front.URL, "http://")
	o := distribution.Options{DockerConfig: login(t, host, frontHost)}
	m := made(t, 1)
	push(t, ref(t, "oci://"+host+"/charter:production"), m, o)

	source, err := distribution.Open(ref(t, "oci://"+frontHost+"/charter:production"), o)
	if err != nil {
		t.Fatal(err)
	}
	first, err := source.Resolve(t.Context(), distribution.Resolved{}, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := source.Layer(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	requests = nil
	second, err := source.Resolve(t.Context(), first, 0)
	if err != nil || !second.Unchanged {
		t.Fatalf("unchanged %t, %v", second.Unchanged, err)
	}
	for _, r := range requests {
		if strings.Contains(r, "/blobs/") {
			t.Errorf("a blob was asked for: %s", r)
		}
	}
	if len(requests) > 3 {
		t.Errorf("an unchanged poll took %d requests: %q", len(requests), requests)
	}
}

// run runs a judge.
func run(t *testing.T, program string, args ...string) string {
	t.Helper()
	return process.Output(t, process.Options{}, program, args...)
}

func TestSkopeo(t *testing.T) {
	skopeo := judge.Path(t, "skopeo")
	host, o := dockerRegistry(t)
	m, dir := made(t, 1), t.TempDir()
	image := host + "/charter:production"
	push(t, ref(t, "oci://"+image), m, o)
	auth := "--authfile=" + o.DockerConfig

	// From a registry where we put it, to what we read.
	layout, archive := filepath.Join(dir, "layout"), filepath.Join(dir, "archive.tar")
	run(t, skopeo, "copy", auth, "--src-tls-verify=false", "docker://"+image, "oci:"+layout+":production")
	holds(t, ref(t, layout+":production"), m, 0, o)
	run(t, skopeo, "copy", auth, "--src-tls-verify=false", "docker://"+image, "oci-archive:"+archive+":production")
	holds(t, ref(t, archive+":production"), m, 0, o)
	run(t, skopeo, "copy", auth, "--src-tls-verify=false", "--dest-tls-verify=false", "docker://"+image, "docker://"+host+"/copy:production")
	holds(t, ref(t, "oci://"+host+"/copy:production"), m, 0, o)

	// What refers to it is copied like any manifest: by digest, and the list by its tag.
	list := "sha256-" + strings.TrimPrefix(m.Digest(), "sha256:")
	run(t, skopeo, "copy", "--all", auth, "--src-tls-verify=false", "--dest-tls-verify=false", "docker://"+host+"/charter:"+list, "docker://"+host+"/copy:"+list)
	holds(t, ref(t, "oci://"+host+"/copy:production"), m, len(m.Statements), o)

	// From what we write, to a registry.
	saved := filepath.Join(dir, "saved.tar")
	f, err := os.Create(saved)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // checked by reading it
	if err := distribution.Save(t.Context(), f, o, ref(t, "oci://"+image)); err != nil {
		t.Fatal(err)
	}
	run(t, skopeo, "copy", auth, "--dest-tls-verify=false", "oci-archive:"+saved+":production", "docker://"+host+"/back:production")
	holds(t, ref(t, "oci://"+host+"/back:production"), m, 0, o)
	written := filepath.Join(dir, "written")
	push(t, ref(t, written+":production"), m, o)
	run(t, skopeo, "copy", auth, "--dest-tls-verify=false", "oci:"+written+":production", "docker://"+host+"/written:production")
	holds(t, ref(t, "oci://"+host+"/written:production"), m, 0, o)
	if out := run(t, skopeo, "inspect", "--raw", "oci-archive:"+saved+":production"); out != string(m.Manifest.Bytes()) {
		t.Errorf("skopeo reads the manifest %s", out)
	}
}

func TestCosign(t *testing.T) {
	cosign := judge.Path(t, "cosign")
	host, o := dockerRegistry(t)
	m, dir := made(t, 1), t.TempDir()
	to := ref(t, "oci://"+host+"/charter:production")
	push(t, to, m, o)
	t.Setenv("DOCKER_CONFIG", filepath.Dir(o.DockerConfig))
	t.Setenv("HOME", dir)
	key := file.Write(t, filepath.Join(dir, "release.pub"), string(releases.TrustedKey(t).Public()))

	if tree := run(t, cosign, "tree", host+"/charter:production"); strings.Count(tree, "sha256:") < len(m.Statements) {
		t.Errorf("cosign does not find all %d statements:\n%s", len(m.Statements), tree)
	}
	run(t, cosign, "verify", "--key", key, "--insecure-ignore-tlog=true", host+"/charter:production")

	// Its copy leaves statements behind, and the image under the tag where they are
	// listed; they are put back.
	run(t, cosign, "copy", host+"/charter:production", host+"/copied:production")
	result := push(t, ref(t, "oci://"+host+"/copied:production"), m, o)
	if result.Attached != len(m.Statements) {
		t.Errorf("attached to a copy: %+v", result)
	}
	run(t, cosign, "verify", "--key", key, "--insecure-ignore-tlog=true", host+"/copied:production")
}
