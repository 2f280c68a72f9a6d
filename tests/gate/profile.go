package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
)

// coverage counts the statements of a package.
type coverage struct{ covered, statements int }

func (c coverage) percent() float64 {
	return 100 * float64(c.covered) / float64(c.statements)
}

// block is a run of statements that are executed together.
type block struct {
	statements int
	covered    bool
}

// profile holds the blocks of all profiles that were read, by their place.
type profile map[string]block

// read adds a cover profile (go doc cmd/cover). One without statements is an
// error: it would pass any minimum.
func (p profile) read(r io.Reader) error {
	found := false
	lines := bufio.NewScanner(r)
	for number := 1; lines.Scan(); number++ {
		if strings.HasPrefix(lines.Text(), "mode: ") {
			continue
		}
		place, b, err := parseBlock(lines.Text())
		if err != nil {
			return fmt.Errorf("line %d: %w", number, err)
		}
		b.covered = b.covered || p[place].covered
		p[place] = b
		found = true
	}
	if err := lines.Err(); err != nil {
		return err
	}
	if !found {
		return errors.New("no statements")
	}
	return nil
}

// packages counts by package path.
func (p profile) packages() map[string]coverage {
	packages := make(map[string]coverage)
	for place, b := range p {
		pkg := path.Dir(place[:strings.LastIndexByte(place, ':')])
		c := packages[pkg]
		c.statements += b.statements
		if b.covered {
			c.covered += b.statements
		}
		packages[pkg] = c
	}
	return packages
}

// parseBlock reads "import/path/file.go:12.2,14.16 STATEMENTS COUNT".
func parseBlock(line string) (place string, b block, err error) {
	fields := strings.Fields(line)
	if len(fields) != 3 || !strings.Contains(fields[0], ":") {
		return "", block{}, fmt.Errorf("not a block of a cover profile: %q", line)
	}
	if b.statements, err = strconv.Atoi(fields[1]); err != nil {
		return "", block{}, err
	}
	b.covered = fields[2] != "0"
	return fields[0], b, nil
}

// report writes a line for each package and one for the total, which it returns in percent.
func report(w io.Writer, packages map[string]coverage) float64 {
	var total coverage
	for _, name := range slices.Sorted(maps.Keys(packages)) {
		c := packages[name]
		total.covered += c.covered
		total.statements += c.statements
		if c.statements > 0 {
			fmt.Fprintf(w, "%6.1f%%  %5d statements  %s\n", c.percent(), c.statements, name)
		}
	}
	fmt.Fprintf(w, "%6.1f%%  %5d statements  total\n", total.percent(), total.statements)
	return total.percent()
}
