// Package exposition reads Prometheus text expositions: what a target hands out
// under /metrics, from a file or over HTTP. It answers which series there are,
// one entry per sample line and in the order of the lines, under the names and
// labels that a collector would see: the _bucket, _sum and _count lines of a
// histogram are series of their own, with their le label.
//
// [Open] reads a file or a URL, [Parse] a stream. Both are bounded by [Limits]
// and report the line that is at fault ([Error]). Sample values are checked and
// thrown away: a charter speaks of names, not of values.
package exposition

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// Series is one sample line.
type Series struct {
	Metric string
	// Labels is nil when the line has none. Empty values are kept as written.
	Labels map[string]string
	// Line counts from 1.
	Line int
}

// Limits bound what is read. A zero field stands for the field of
// [DefaultLimits].
type Limits struct {
	Bytes     int64 // after decompression
	LineBytes int
	Labels    int // per line
	Series    int
}

// DefaultLimits is far above the largest targets known and keeps a hostile one
// from filling the memory.
func DefaultLimits() Limits {
	return Limits{Bytes: 64 << 20, LineBytes: 64 << 10, Labels: 128, Series: 500_000}
}

func (l Limits) withDefaults() Limits {
	d := DefaultLimits()
	if l.Bytes > 0 {
		d.Bytes = l.Bytes
	}
	if l.LineBytes > 0 {
		d.LineBytes = l.LineBytes
	}
	if l.Labels > 0 {
		d.Labels = l.Labels
	}
	if l.Series > 0 {
		d.Series = l.Series
	}
	return d
}

// Error is an exposition refused at one line.
type Error struct {
	Line    int
	Message string
}

func (e *Error) Error() string { return fmt.Sprintf("line %d: %s", e.Line, e.Message) }

// Parse reads the text format 0.0.4 and 1.0.0 (quoted UTF-8 names). The first
// malformed line ends it with an [*Error]. A last line without a line feed is
// malformed, because a truncated exposition would hide series.
func Parse(r io.Reader, limits Limits) ([]Series, error) {
	p := parser{limits: limits.withDefaults(), text: expfmt.NewTextParser(model.UTF8Validation)}
	// One byte more than allowed tells a full exposition from one that is too long.
	bounded := &io.LimitedReader{R: r, N: p.limits.Bytes + 1}
	lines := bufio.NewReaderSize(bounded, p.limits.LineBytes+1)
	for {
		line, err := lines.ReadSlice('\n')
		if len(line) > 0 {
			p.line++
		}
		switch {
		case errors.Is(err, io.EOF) && bounded.N == 0:
			return nil, p.errorf("the exposition has more than %d bytes", p.limits.Bytes)
		case errors.Is(err, bufio.ErrBufferFull) || len(line) > p.limits.LineBytes:
			return nil, p.errorf("the line has more than %d bytes", p.limits.LineBytes)
		case errors.Is(err, io.EOF) && len(line) > 0:
			return nil, p.errorf("the last line has no line feed; the exposition may be cut off")
		case errors.Is(err, io.EOF):
			return p.series, nil
		case err != nil:
			return nil, fmt.Errorf("read exposition: %w", err)
		}
		if err := p.sample(line); err != nil {
			return nil, err
		}
	}
}

type parser struct {
	limits Limits
	text   expfmt.TextParser
	line   int
	series []Series
}

func (p *parser) errorf(format string, args ...any) *Error {
	return &Error{Line: p.line, Message: fmt.Sprintf(format, args...)}
}

// sample hands one line to expfmt. Alone, without the TYPE line of its family,
// a line is an untyped sample that keeps the name and all the labels it was
// written with, which is what a collector stores.
func (p *parser) sample(line []byte) error {
	trimmed := bytes.TrimLeft(line, " \t")
	if trimmed[0] == '#' || trimmed[0] == '\n' {
		return nil
	}
	// expfmt compares each label with all before it.
	if n := countLabels(line); n > p.limits.Labels {
		return p.errorf("the series has %d labels, more than %d", n, p.limits.Labels)
	}
	families, err := p.text.TextToMetricFamilies(bytes.NewReader(line))
	if err != nil {
		return p.errorf("%s", message(err))
	}
	for name, family := range families {
		for _, m := range family.GetMetric() {
			if len(p.series) == p.limits.Series {
				return p.errorf("the exposition has more than %d series", p.limits.Series)
			}
			s := Series{Metric: name, Line: p.line}
			if pairs := m.GetLabel(); len(pairs) > 0 {
				s.Labels = make(map[string]string, len(pairs))
				for _, pair := range pairs {
					s.Labels[pair.GetName()] = pair.GetValue()
				}
			}
			p.series = append(p.series, s)
		}
	}
	return nil
}

// message drops the line number that expfmt counts for the single line.
func message(err error) string {
	var parse expfmt.ParseError
	if errors.As(err, &parse) {
		return parse.Msg
	}
	return err.Error()
}

// countLabels counts the equal signs outside quoted strings.
func countLabels(line []byte) int {
	n, quoted := 0, false
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case c == '=' && !quoted:
			n++
		}
	}
	return n
}
