// Package readme reads the terminal sessions that the documentation shows, so
// that its tests can run them: what a reader copies must work as printed.
//
// A session is a fenced block marked console. [Sessions] finds the command
// lines and what they print; [Match] compares that with what they really print.
package readme

import (
	"regexp"
	"strings"
)

// Command is one command line of a document and the output shown below it.
type Command struct {
	Line   int    // where it begins in the document, from 1
	Text   string // without the prompts "$ " and "> "; lines that follow a backslash belong to it
	Output string // what follows up to the next prompt, "" for none
}

// Sessions returns the command lines of all blocks marked console, in order.
// Text before the first prompt of a block is ignored.
func Sessions(markdown string) []Command {
	var commands []Command
	inBlock, continued, begun := false, false, false
	for i, line := range strings.Split(markdown, "\n") {
		switch {
		case strings.HasPrefix(line, "```"):
			inBlock, continued, begun = strings.TrimSpace(line) == "```console", false, false
		case !inBlock:
		case continued:
			last := &commands[len(commands)-1]
			last.Text += "\n" + line
			continued = strings.HasSuffix(line, `\`)
		case begun && strings.HasPrefix(line, "> "):
			commands[len(commands)-1].Text += "\n" + line[len("> "):]
		case strings.HasPrefix(line, "$ "):
			commands = append(commands, Command{Line: i + 1, Text: line[len("$ "):]})
			continued, begun = strings.HasSuffix(line, `\`), true
		case begun:
			commands[len(commands)-1].Output += line + "\n"
		}
	}
	return commands
}

// Match tells whether output is what a document shows. In the document "..."
// stands for any text within its line, and alone on a line for any number of
// lines. White space at the ends of lines and of the output does not count.
func Match(shown, output string) bool {
	var pattern strings.Builder
	pattern.WriteString(`\A`)
	for line := range strings.Lines(trim(shown)) {
		line = strings.TrimRight(line, "\n")
		if line == "..." {
			pattern.WriteString(`(?:[^\n]*\n)*`)
			continue
		}
		pattern.WriteString(strings.ReplaceAll(regexp.QuoteMeta(line), `\.\.\.`, `[^\n]*`) + `\n`)
	}
	pattern.WriteString(`\z`)
	return regexp.MustCompile(pattern.String()).MatchString(trim(output))
}

// trim ends every line and the whole in exactly one newline; "" stays empty.
func trim(text string) string {
	var b strings.Builder
	for line := range strings.Lines(strings.TrimRight(text, " \t\r\n")) {
		b.WriteString(strings.TrimRight(line, " \t\r\n") + "\n")
	}
	return b.String()
}
