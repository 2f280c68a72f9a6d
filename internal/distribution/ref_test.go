package distribution

import (
	"strings"
	"testing"
)

const someDigest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

func TestParseRef(t *testing.T) {
	for text, want := range map[string]Ref{
		"oci://registry.example.org/charter":                           {kindRegistry, "registry.example.org/charter", "", ""},
		"oci://registry.example.org/charter:production":                {kindRegistry, "registry.example.org/charter", "production", ""},
		"oci://registry.example.org:5000/a/b/charter:v1@" + someDigest: {kindRegistry, "registry.example.org:5000/a/b/charter", "v1", someDigest},
		"oci://registry.example.org:5000/charter@" + someDigest:        {kindRegistry, "registry.example.org:5000/charter", "", someDigest},
		"oci://[::1]:5000/charter":                                     {kindRegistry, "[::1]:5000/charter", "", ""},
		"https://charter.example.org/bundles/charter":                  {kindServer, "https://charter.example.org/bundles/charter", "", ""},
		"http://127.0.0.1:8000/charter.tar.gz?x=1":                     {kindServer, "http://127.0.0.1:8000/charter.tar.gz?x=1", "", ""},
		"charter.tar.gz":                       {kindArchive, "charter.tar.gz", "", ""},
		"../a b/Charter.TGZ":                   {kindArchive, "../a b/Charter.TGZ", "", ""},
		"layout":                               {kindDir, "layout", "", ""},
		"/srv/layout:production":               {kindDir, "/srv/layout", "production", ""},
		"/srv/a:b/layout":                      {kindDir, "/srv/a:b/layout", "", ""},
		"/srv/me@home/layout":                  {kindDir, "/srv/me@home/layout", "", ""},
		"release.tar":                          {kindTar, "release.tar", "", ""},
		"release.tar:production@" + someDigest: {kindTar, "release.tar", "production", someDigest},
		"./release.tar@" + someDigest:          {kindTar, "./release.tar", "", someDigest},
	} {
		got, err := ParseRef(text)
		if err != nil || got != want {
			t.Errorf("%s: %+v, %v; want %+v", text, got, err, want)
		}
		if got.String() != text {
			t.Errorf("%s is written %s", text, got)
		}
	}
}

func TestBadReferences(t *testing.T) {
	for text, says := range map[string]string{
		"":                            "want oci://",
		"a\nb":                        "want oci://",
		strings.Repeat("a", 3000):     "want oci://",
		"oci://":                      "want oci://HOST",
		"oci://charter":               "want oci://HOST",
		"oci:///charter":              "want oci://HOST",
		"oci://host/":                 "want oci://HOST",
		"oci://host/Charter":          "lower case",
		"oci://user@host/charter":     "want oci://HOST",
		"oci://host/charter:":         "not a tag",
		"layout:":                     "not a tag",
		"a::":                         "not a tag",
		"oci://host/charter:a b":      "tag",
		"oci://host/charter@sha256:1": "64 hex",
		"oci://host/charter@sha512:" + strings.Repeat("0", 128): "64 hex",
		"oci://host/charter:" + strings.Repeat("a", 129):        "128",
		"docker://host/charter":                                 "want oci://host/charter",
		"ftp://host/charter":                                    "scheme ftp",
		"https://host":                                          "URL of an archive",
		"https://host/":                                         "URL of an archive",
		"https:///charter":                                      "URL of an archive",
		"https://host/a#b":                                      "URL of an archive",
		"https://user:secret@host/charter":                      "token file",
		"https://host/%zz":                                      "",
		":production":                                           "path",
		"a/:b:":                                                 "not a tag",
		"layout:a/b:-x":                                         "tag",
		"release.tar@sha256:1":                                  "64 hex",
	} {
		ref, err := ParseRef(text)
		if err == nil {
			t.Errorf("%q was read as %+v", text, ref)
			continue
		}
		wantCode(t, err, CodeBadReference)
		if !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v; want it to say %q", text, err, says)
		}
		if strings.Contains(err.Error(), "secret") && !strings.Contains(text, "secret") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestRefIsChanged(t *testing.T) {
	ref := mustRef(t, "oci://host/charter:production")
	if got := ref.WithDigest(someDigest); got.String() != "oci://host/charter:production@"+someDigest || got.Digest() != someDigest || got.Tag() != "production" {
		t.Errorf("pinned: %s", got)
	}
	if got := ref.WithDigest(someDigest).WithTag("staging"); got.String() != "oci://host/charter:staging" {
		t.Errorf("another tag: %s", got)
	}
	if got := mustRef(t, "a.tar.gz").WithTag("x").WithDigest(someDigest); got.String() != "a.tar.gz" {
		t.Errorf("an archive has no tags: %s", got)
	}
}

func FuzzParseRef(f *testing.F) {
	for _, s := range []string{
		"oci://registry.example.org:5000/a/b:v1@" + someDigest, "https://h/p?q=1", "http://[::1]:1/a", "a/b.tar.gz", "dir:tag", "x.tar@" + someDigest, "oci://h/a:", "a@b:c",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		ref, err := ParseRef(text)
		if err != nil {
			wantCode(t, err, CodeBadReference)
			return
		}
		again, err := ParseRef(ref.String())
		if err != nil || again != ref {
			t.Errorf("%q is %+v, written %q and then %+v (%v)", text, ref, ref, again, err)
		}
		if ref.kind == kindRegistry && strings.ContainsAny(ref.location, "@?# \\") {
			t.Errorf("%q has the location %q", text, ref.location)
		}
	})
}
