package readme

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/westworld-charter/charter/tests/internal/judge"
	"github.com/westworld-charter/charter/tests/internal/standin"
)

func TestMain(m *testing.M) { standin.Main(m) }

// Each document is one session from top to bottom, in a copy of what a reader
// has after cloning the repository. Each command has a shell of its own, with what
// was exported before.
func TestDocumentedSessions(t *testing.T) {
	root := judge.Root(t)
	commands := 0
	for _, document := range documents(t, root) {
		text, err := os.ReadFile(filepath.Join(root, document))
		if err != nil {
			t.Fatal(err)
		}
		session := Sessions(string(text))
		commands += len(session)
		if len(session) == 0 {
			continue
		}
		t.Run(filepath.ToSlash(document), func(t *testing.T) {
			dir := t.TempDir()
			for _, name := range []string{"policies", "rego", "bundles"} {
				if err := os.CopyFS(filepath.Join(dir, name), os.DirFS(filepath.Join(root, name))); err != nil {
					t.Fatal(err)
				}
			}
			env := os.Environ()
			for _, c := range session {
				if variable, ok := strings.CutPrefix(c.Text, "export "); ok {
					env = append(env, variable)
					continue
				}
				check(t, document, dir, env, c)
			}
		})
	}
	if commands == 0 {
		t.Error("no document shows a session: the marker of the blocks must have changed")
	}
}

func check(t *testing.T, document, dir string, env []string, c Command) {
	t.Helper()
	cmd := exec.Command("sh", "-c", c.Text)
	cmd.Dir, cmd.Env = dir, env
	output, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if !Match(c.Output, string(output)) {
		t.Errorf("%s:%d: $ %s\nprints (%v)\n%s\nthe document shows\n%s", document, c.Line, c.Text, err, output, c.Output)
		return
	}
	if err != nil {
		t.Errorf("%s:%d: $ %s\n%v; show such a command as `COMMAND; echo \"exit $?\"`", document, c.Line, c.Text, err)
	}
}

// A reader who follows a link to another file of the repository finds it.
func TestLinksResolve(t *testing.T) {
	root := judge.Root(t)
	link := regexp.MustCompile(`\]\(([^)#\s]+)[^)]*\)`)
	names := append(documents(t, root), "CONTRIBUTING.md", "CHANGELOG.md", "internal/README.md", "deploy/README.md")
	for _, document := range names {
		text, err := os.ReadFile(filepath.Join(root, document))
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range link.FindAllStringSubmatch(string(text), -1) {
			if strings.Contains(match[1], "://") {
				continue
			}
			if _, err := os.Stat(filepath.Join(root, filepath.Dir(document), match[1])); err != nil {
				t.Errorf("%s: link to %s: %v", document, match[1], err)
			}
		}
	}
}

// documents returns README.md and all of docs/, from the root of the repository.
func documents(t *testing.T, root string) []string {
	t.Helper()
	names := []string{"README.md"}
	err := filepath.WalkDir(filepath.Join(root, "docs"), func(path string, _ os.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".md") {
			return err
		}
		name, err := filepath.Rel(root, path)
		names = append(names, name)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}
