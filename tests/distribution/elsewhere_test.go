package distribution

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// elsewhere builds and signs inside, with the key that lies there.
const elsewhere = `umask 077
charter-admin bundle build charter.yaml -o bundle.tar.gz &&
charter-admin sign --key release.key --opa-jwt -o opa.tar.gz bundle.tar.gz &&
charter-admin inspect --format json bundle.tar.gz`

// Two machines make the same bytes of a charter: the bundle, the manifest over it, and
// the archive for stock opa. So people elsewhere can check what they sign and vote on.
func TestSameBytesElsewhere(t *testing.T) {
	t.Parallel()
	here, there := newWorld(t), newWorld(t)
	bundle := here.build(t, 1, "node_load1")
	here.admin(t, "sign", "--key", "release.key", "--opa-jwt", "-o", "opa.tar.gz", bundle)
	want := field(t, here.admin(t, "inspect", "--format", "json", bundle), "release_digest")

	for _, name := range []string{"charter.yaml", "release.key"} {
		there.write(t, name, here.read(t, name))
	}
	// The programs of a test are for its user alone: another one needs a copy.
	program := copyProgram(t, there)
	cmd := exec.CommandContext(t.Context(), "sh", "-c", elsewhere)
	cmd.Dir = there.dir
	cmd.Env = append(append(os.Environ(), there.env...), "PATH="+filepath.Dir(program)+":"+os.Getenv("PATH"), "TZ=Pacific/Kiritimati", "LANG=tr_TR.UTF-8", "LC_ALL=tr_TR.UTF-8",
		"GOMAXPROCS=1", "USER=nobody", "SOURCE_DATE_EPOCH=1")
	if os.Getuid() == 0 {
		const nobody = 65534
		if err := os.Chmod(filepath.Dir(there.dir), 0o711); err != nil {
			t.Fatal(err)
		}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		for _, path := range []string{there.dir, there.path("charter.yaml"), there.path("release.key"), there.path("release.pub"), there.path("trust.yaml")} {
			if err := os.Chown(path, nobody, nobody); err != nil {
				t.Fatal(err)
			}
		}
	}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s%s", err, out, &stderr)
	}
	text := string(out)
	if got := field(t, text[strings.Index(text, "{"):], "release_digest"); got != want {
		t.Errorf("release digest %s, here %s", got, want)
	}
	for theirs, ours := range map[string]string{"bundle.tar.gz": bundle, "opa.tar.gz": "opa.tar.gz"} {
		if there.read(t, theirs) != here.read(t, ours) {
			t.Errorf("%s is not the same there", theirs)
		}
	}
}

func copyProgram(t *testing.T, w *world) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	from, err := os.Open(self)
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close() //nolint:errcheck // was read
	path := w.path("charter-admin")
	to, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(to, from); err != nil {
		t.Fatal(err)
	}
	if err := to.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}
