package distribution

import (
	"testing"

	"github.com/westworld-charter/charter/tests/internal/judge"
	"github.com/westworld-charter/charter/tests/internal/process"
)

// skopeo copies a release from registry to registry and into a layout, and its digest
// stays what was signed. What is stated about a release it leaves behind: save and load
// bring that along.
func TestSkopeoCopies(t *testing.T) {
	t.Parallel()
	skopeo := judge.Path(t, "skopeo")
	eachRegistry(t, func(t *testing.T, host string) {
		w := newWorld(t)
		image := host + "/policy/charter:production"
		file := w.release(t, "oci://"+image, 1, "node_load1")
		signed := field(t, w.admin(t, "inspect", "--format", "json", file), "release_digest")

		process.Output(t, w.options(), skopeo, "copy", "--src-tls-verify=false", "--dest-tls-verify=false", "docker://"+image, "docker://"+host+"/copy/charter:production")
		process.Output(t, w.options(), skopeo, "copy", "--src-tls-verify=false", "docker://"+image, "oci:layout:production")
		for _, ref := range []string{"oci://" + host + "/copy/charter:production", "layout:production"} {
			if got := field(t, w.admin(t, "inspect", "--format", "json", ref), "release_digest"); got != signed {
				t.Errorf("%s: digest %s, want %s", ref, got, signed)
			}
		}
		if r := process.Run(t, w.options(), "charter-admin", "verify", "--trust", "trust.yaml", "layout:production"); r.Code != 6 {
			t.Errorf("a copy without its statements: %+v", r)
		}
		// The statements are about the manifest, wherever it is.
		w.admin(t, "push", file, "oci://"+host+"/copy/charter:production")
		w.admin(t, "verify", "--trust", "trust.yaml", "oci://"+host+"/copy/charter:production")

		// And back: skopeo reads what save writes.
		w.admin(t, "save", "oci://"+image, "-o", "release.tar")
		process.Output(t, w.options(), skopeo, "copy", "--dest-tls-verify=false", "oci-archive:release.tar:production", "docker://"+host+"/back/charter:production")
		if got := field(t, w.admin(t, "inspect", "--format", "json", "oci://"+host+"/back/charter:production"), "release_digest"); got != signed {
			t.Errorf("back: digest %s, want %s", got, signed)
		}
	})
}
