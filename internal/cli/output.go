package cli

import (
	"bufio"
	"errors"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"
	"unicode"
)

// output buffers stdout and remembers the first error, so that a full disk
// turns into an exit code although nobody checks each print.
type output struct {
	*bufio.Writer
}

func newOutput(w io.Writer) *output { return &output{bufio.NewWriter(w)} }

// after writes to stderr what stands behind the output so far: on a terminal,
// and where both streams go to one file, the count comes below what it counts.
type after struct {
	out *output
	w   io.Writer
}

func (a after) Write(data []byte) (int, error) {
	_ = a.out.Flush() // the buffer keeps the error for the end
	return a.w.Write(data)
}

// brokenPipe reports whether err is the reader of our output having gone away.
func brokenPipe(err error) bool {
	return errors.Is(err, syscall.EPIPE) || errors.Is(err, io.ErrClosedPipe)
}

// colors says which streams take colours.
type colors struct{ stdout, stderr bool }

// detectColors follows https://no-color.org.
func detectColors(stdout, stderr io.Writer, getenv func(string) string) colors {
	if getenv("NO_COLOR") != "" || getenv("TERM") == "dumb" {
		return colors{}
	}
	return colors{stdout: terminal(stdout), stderr: terminal(stderr)}
}

func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&fs.ModeCharDevice != 0
}

// printable makes text that others wrote harmless for a terminal: control
// characters and marks that change the direction of writing are escaped.
func printable(s string) string {
	if !strings.ContainsFunc(s, unprintable) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if unprintable(r) {
			quoted := strconv.QuoteRuneToASCII(r)
			b.WriteString(quoted[1 : len(quoted)-1])
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

func unprintable(r rune) bool {
	return r != '\n' && !unicode.IsPrint(r) || r == unicode.ReplacementChar
}
