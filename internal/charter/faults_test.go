package charter

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"github.com/westworld-charter/charter/internal/diag"
)

// faultsDir holds the corpus; its README describes the fields of fault.
const faultsDir = "../../tests/faults"

type fault struct {
	Fault   string
	Replace string
	By      string
	Append  string
	Charter string
	Repeat  struct {
		Text  string
		Times int
	}
	Files    map[string]string
	Code     string
	At       string
	Line     *int
	Related  string
	File     string
	Also     []string
	Fix      string
	Severity diag.Severity
}

// text is the faulty charter.
func (f *fault) text(good string) (string, error) {
	text := good
	switch {
	case f.Charter != "":
		text = f.Charter
	case f.Replace != "":
		if n := strings.Count(good, f.Replace); n != 1 {
			return "", fmt.Errorf("%q occurs %d times in good.yaml", f.Replace, n)
		}
		text = strings.Replace(good, f.Replace, f.By, 1)
	}
	return text + f.Append + strings.Repeat(f.Repeat.Text, f.Repeat.Times), nil
}

// line is where the fault must be reported.
func (f *fault) line(good, text, reported string) (int, error) {
	switch {
	case f.Line != nil:
		return *f.Line, nil
	case f.At != "":
		return lineOf(reported, f.At)
	case f.Charter != "":
		return 0, fmt.Errorf("a whole charter needs at or line")
	}
	i := 0
	for i < len(good) && i < len(text) && good[i] == text[i] {
		i++
	}
	return 1 + strings.Count(text[:i], "\n"), nil
}

func lineOf(text, part string) (int, error) {
	i := strings.Index(text, part)
	if i < 0 {
		return 0, fmt.Errorf("%q does not occur", part)
	}
	return 1 + strings.Count(text[:i], "\n"), nil
}

func readFaults(t *testing.T) (good string, all map[string][]fault) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(faultsDir, "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatal("no faults", err)
	}
	all = make(map[string][]fault)
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if filepath.Base(name) == "good.yaml" {
			good = string(data)
			continue
		}
		var list []fault
		dec := yaml.NewDecoder(bytes.NewReader(data))
		dec.KnownFields(true)
		if err := dec.Decode(&list); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		all[strings.TrimSuffix(filepath.Base(name), ".yaml")] = list
	}
	return good, all
}

func TestGoodCharterIsSound(t *testing.T) {
	good, _ := readFaults(t)
	c, list := Parse("good.yaml", []byte(good))
	if c == nil || len(list) > 0 {
		t.Fatalf("the charter that faults are put into is not sound: %v", list)
	}
}

// Every fault must be found at its line, under its code, without follow-ups that
// would send the author astray; and no charter may come of it.
func TestFaults(t *testing.T) {
	good, all := readFaults(t)
	count := 0
	for theme, list := range all {
		t.Run(theme, func(t *testing.T) {
			for i := range list {
				count++
				f := &list[i]
				t.Run(f.Fault, func(t *testing.T) { runFault(t, f, good) })
			}
		})
	}
	if count < 200 {
		t.Errorf("only %d faults", count)
	}
}

func runFault(t *testing.T, f *fault, good string) {
	text, err := f.text(good)
	if err != nil {
		t.Fatal(err)
	}
	if text == good {
		t.Fatal("the fault changes nothing")
	}
	files := map[string]string{"charter.yaml": text, "good.yaml": good}
	for name, content := range f.Files {
		files[name] = content
	}
	read := func(name string) ([]byte, error) {
		content, ok := files[name]
		if !ok {
			return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
		}
		return []byte(content), nil
	}
	c, list := LoadFS(read, "charter.yaml")
	if f.File == "" {
		f.File = "charter.yaml"
	}
	if f.Severity == "" {
		f.Severity = diag.Error
	}
	want, err := f.line(good, text, files[f.File])
	if err != nil {
		t.Fatal(err)
	}
	checkFault(t, f, list, files, want)
	if (c == nil) != (f.Severity == diag.Error) {
		t.Errorf("charter loaded: %t", c != nil)
	}
}

func checkFault(t *testing.T, f *fault, list diag.List, files map[string]string, line int) {
	t.Helper()
	var found *diag.Diagnostic
	for i := range list {
		d := &list[i]
		if found == nil && d.Code == f.Code && d.Pos.Line == line && d.Pos.File == f.File && d.Severity == f.Severity {
			found = d
			continue
		}
		if !slices.Contains(f.Also, d.Code) {
			t.Errorf("also reported: %s: %s[%s]: %s", d.Pos, d.Severity, d.Code, d.Message)
		}
	}
	switch {
	case found == nil:
		t.Fatalf("no %s[%s] at %s:%d", f.Severity, f.Code, f.File, line)
	case line > 0 && found.Pos.Col == 0:
		t.Error("no column")
	case !strings.Contains(found.Fix, f.Fix):
		t.Errorf("fix %q, want %q", found.Fix, f.Fix)
	case strings.HasSuffix(found.Message, ".") || found.Message == "":
		t.Errorf("message %q", found.Message)
	}
	if f.Related == "" {
		return
	}
	if len(found.Related) == 0 {
		t.Fatal("no second place")
	}
	other := found.Related[0].Pos
	if want, err := lineOf(files[other.File], f.Related); err != nil || other.Line != want {
		t.Errorf("second place %s, want line %d, %v", other, want, err)
	}
}
