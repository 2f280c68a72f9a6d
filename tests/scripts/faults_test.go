package scripts

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"github.com/westworld-charter/charter/internal/cli"
)

// fault is an entry of tests/faults, see its README; what the command line
// cannot change is checked where charters are read.
type fault struct {
	Name    string `yaml:"fault"`
	Replace string `yaml:"replace"`
	By      string `yaml:"by"`
	Append  string `yaml:"append"`
	Charter string `yaml:"charter"`
	Repeat  struct {
		Text  string `yaml:"text"`
		Times int    `yaml:"times"`
	} `yaml:"repeat"`
	Files    map[string]string `yaml:"files"`
	Code     string            `yaml:"code"`
	Severity string            `yaml:"severity"`
}

// TestValidateFaults: whatever is wrong with a charter, validate names it and
// exits with 3, so that no pipeline goes on with it.
func TestValidateFaults(t *testing.T) {
	const dir = "../faults"
	good := read(t, filepath.Join(dir, "good.yaml"))
	lists, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	faults := 0
	for _, list := range lists {
		if filepath.Base(list) == "good.yaml" {
			continue
		}
		var entries []fault
		if err := yaml.Unmarshal([]byte(read(t, list)), &entries); err != nil {
			t.Fatalf("%s: %v", list, err)
		}
		faults += len(entries)
		for _, f := range entries {
			t.Run(f.Name, func(t *testing.T) { f.check(t, good) })
		}
	}
	if faults < 200 {
		t.Errorf("only %d faults, want 200", faults)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func (f fault) check(t *testing.T, good string) {
	text := f.Charter
	if text == "" {
		text = good
		if f.Replace != "" {
			text = strings.Replace(text, f.Replace, f.By, 1)
		}
		text += f.Append + strings.Repeat(f.Repeat.Text, f.Repeat.Times)
	}
	dir := filepath.Join(t.TempDir(), "charter")
	files := map[string]string{"good.yaml": good, "charter.yaml": text}
	for name, content := range f.Files {
		files[name] = content
	}
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(dir, "charter.yaml")
	var stdout, stderr bytes.Buffer
	code := cli.Main(t.Context(), []string{"validate", "--format", "json", path}, nil, &stdout, &stderr, os.Getenv)
	var report struct {
		Diagnostics []struct{ Severity, Code string }
		Errors      int
	}
	if err := json.Unmarshal(stdout.Bytes(), &report); err != nil {
		t.Fatalf("%v: %s", err, &stdout)
	}
	severity, want := "error", cli.ExitInvalid
	if f.Severity == "warning" {
		severity = "warning"
		if report.Errors == 0 { // what the clauses mean together may be wrong besides
			want = cli.ExitOK
		}
	}
	if code != want {
		t.Errorf("exit code %d, want %d: %s%s", code, want, &stdout, &stderr)
	}
	for _, d := range report.Diagnostics {
		if d.Code == f.Code && d.Severity == severity {
			return
		}
	}
	t.Errorf("no %s[%s] in %s", severity, f.Code, &stdout)
}
