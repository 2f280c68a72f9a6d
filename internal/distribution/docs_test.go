package distribution

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/westworld-charter/charter/internal/release"
)

const page = "../../docs/distribution.md"

func readPage(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Every code is explained, and no other.
func TestPageExplainsTheCodes(t *testing.T) {
	_, section, _ := strings.Cut(readPage(t), "\n## Codes\n")
	var explained []string
	for line := range strings.Lines(section) {
		if rest, ok := strings.CutPrefix(line, "| `"); ok {
			code, _, _ := strings.Cut(rest, "`")
			explained = append(explained, code)
		}
	}
	if !slices.Equal(explained, Codes()) || !slices.IsSorted(explained) {
		t.Errorf("%s explains %q, the package has %q", page, explained, Codes())
	}
}

func TestPageNamesTheLimits(t *testing.T) {
	text, d := readPage(t), DefaultLimits()
	for _, row := range []string{
		fmt.Sprintf("| manifest | %d KiB |", release.MaxManifest>>10),
		fmt.Sprintf("| archive | %d MiB |", d.Layer>>20),
		fmt.Sprintf("| one page of referrers, index of a layout | %d MiB |", d.Index>>20),
		fmt.Sprintf("| what refers to one release; statements in a file | %d |", d.Referrers),
		fmt.Sprintf("| one statement | %d MiB |", d.Statement>>20),
		fmt.Sprintf("| all statements about a release | %d MiB |", d.Statements>>20),
		fmt.Sprintf("| packed layout | %d MiB, with at most %d releases |", d.Layout>>20, maxReleases),
		fmt.Sprintf("| what else refers to a release, when it is saved | %d MiB |", d.Layer>>20),
		fmt.Sprintf("| without a single byte | %.0f s |", d.Stall.Seconds()),
		fmt.Sprintf("| one poll, or one download | %.0f min;", d.Total.Minutes()),
		fmt.Sprintf("| tries of a request | %d,", d.Retries+1),
		fmt.Sprintf("| redirects | %d |", maxRedirects),
	} {
		if !strings.Contains(text, "\n"+row) {
			t.Errorf("%s does not say %s", page, row)
		}
	}
}

// The manifests on the page have the media types and annotations that are written.
func TestPageShowsWhatIsWritten(t *testing.T) {
	text, r := readPage(t), newRelease(t, "r1", 1)
	referrer := newReferrer(subjectOf(r.Manifest), r.Statements[0])
	var m referrerManifest
	decode(t, referrer.manifest, &m)
	shown := []string{m.MediaType, m.ArtifactType, m.Config.MediaType, m.Layers[0].MediaType, r.Manifest.Config.MediaType, r.Manifest.Layer.MediaType, referrersTag("sha256:HEX")}
	for key, value := range m.Annotations {
		shown = append(shown, fmt.Sprintf("%q:%q", key, value))
	}
	for _, s := range shown {
		if !strings.Contains(text, s) {
			t.Errorf("%s does not show %s", page, s)
		}
	}
}
