package exposition

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestParseKeepsLinesAsWritten(t *testing.T) {
	const text = `# HELP http_seconds Latency.
# TYPE http_seconds histogram
http_seconds_bucket{code="200",le="0.1"} 3
http_seconds_bucket{code="200",le="+Inf"} 4
http_seconds_sum{code="200"} 0.5
http_seconds_count{code="200"} 4

# TYPE rpc_seconds summary
rpc_seconds{quantile="0.5"} NaN 1395066363000
rpc_seconds_sum 1.7e+09
  indented{a="x\"y\\z\n",empty=""} -Inf
{"http.server.duration",tenant="a"} 1
{"quoted"} 2
# EOF
`
	got, err := Parse(strings.NewReader(text), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	want := []Series{
		{"http_seconds_bucket", map[string]string{"code": "200", "le": "0.1"}, 3},
		{"http_seconds_bucket", map[string]string{"code": "200", "le": "+Inf"}, 4},
		{"http_seconds_sum", map[string]string{"code": "200"}, 5},
		{"http_seconds_count", map[string]string{"code": "200"}, 6},
		{"rpc_seconds", map[string]string{"quantile": "0.5"}, 9},
		{"rpc_seconds_sum", nil, 10},
		{"indented", map[string]string{"a": "x\"y\\z\n", "empty": ""}, 11},
		{"http.server.duration", map[string]string{"tenant": "a"}, 12},
		{"quoted", nil, 13},
	}
	if !slices.EqualFunc(got, want, equal) {
		t.Errorf("series of a histogram, a summary and quoted names:\n got %v\nwant %v", got, want)
	}
}

func equal(a, b Series) bool {
	return a.Metric == b.Metric && a.Line == b.Line && maps.Equal(a.Labels, b.Labels)
}

func TestParseNamesTheLine(t *testing.T) {
	many := "m{" + strings.Repeat(`a="",`, 129) + "} 1\n"
	for name, tc := range map[string]struct {
		text, want string
		limits     Limits
	}{
		"value":           {text: "a 1\nb x\n", want: `line 2: expected float as value, got "x"`},
		"no value":        {text: "a 1\n\nb\n", want: "line 3: "},
		"unclosed braces": {text: "a{b=\"c\" 1\n", want: "line 1: "},
		"duplicate label": {text: "a{b=\"c\",b=\"d\"} 1\n", want: `line 1: duplicate label names for metric "a"`},
		"reserved label":  {text: "a{__name__=\"b\"} 1\n", want: `line 1: label name "__name__" is reserved`},
		"no name":         {text: "{} 1\n", want: "line 1: invalid metric name"},
		"invalid UTF-8":   {text: "a{b=\"\xff\"} 1\n", want: "line 1: invalid label value"},
		"dotted name":     {text: "a.b 1\n", want: "line 1: "},
		"cut off":         {text: "a 1\nb 1", want: "line 2: the last line has no line feed"},
		"line feed":       {text: "a{b=\"c\nd\"} 1\n", want: "line 1: "},
		"CRLF":            {text: "a 1\r\n", want: "line 1: expected float as value"},
		"exemplar":        {text: "a 1 # {trace=\"x\"} 1\n", want: "line 1: "},
		"long line":       {text: "a 1\nbbbbbbbbbbbbb 1\n", limits: Limits{LineBytes: 15}, want: "line 2: the line has more than 15 bytes"},
		"many bytes":      {text: "a 1\nb 1\n", limits: Limits{Bytes: 7}, want: "line 2: the exposition has more than 7 bytes"},
		"many series":     {text: "a 1\nb 1\nc 1\n", limits: Limits{Series: 2}, want: "line 3: the exposition has more than 2 series"},
		"many labels":     {text: many, want: "line 1: the series has 129 labels, more than 128"},
		"equal in value":  {text: "a{b=\"====\"} 1\n", limits: Limits{Labels: 1}},
		"exactly at size": {text: "a 1\nb 1\n", limits: Limits{Bytes: 8, Series: 2, LineBytes: 4}},
	} {
		t.Run(name, func(t *testing.T) {
			series, err := Parse(strings.NewReader(tc.text), tc.limits)
			if tc.want == "" {
				if err != nil {
					t.Fatalf("a valid exposition is refused: %v", err)
				}
				return
			}
			var at *Error
			if !errors.As(err, &at) || !strings.HasPrefix(err.Error(), tc.want) {
				t.Errorf("got error %v, want %s", err, tc.want)
			}
			if series != nil {
				t.Error("half an exposition is returned beside the error")
			}
		})
	}
}

func TestParsePassesReadErrorsOn(t *testing.T) {
	broken := io.MultiReader(strings.NewReader("a 1\n"), errReader{io.ErrUnexpectedEOF})
	if _, err := Parse(broken, Limits{}); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a read error is lost: %v", err)
	}
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }

// Whatever is written as a series is read back: a series that the check does
// not see is one that it does not judge.
func TestParseReadsBackWhatIsWritten(t *testing.T) {
	escape := strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)
	rapid.Check(t, func(t *rapid.T) {
		names := rapid.StringMatching(`[a-zA-Z_:][a-zA-Z0-9_:]{0,20}`)
		labels := rapid.MapOf(rapid.StringMatching(`[a-z][a-z0-9_]{0,8}`), rapid.String().Filter(func(s string) bool {
			return strings.ToValidUTF8(s, "") == s
		}))
		var text bytes.Buffer
		var want []Series
		for i := range rapid.IntRange(0, 8).Draw(t, "n") {
			s := Series{Metric: names.Draw(t, "name"), Labels: labels.Draw(t, "labels"), Line: i + 1}
			fmt.Fprintf(&text, "%s{", s.Metric)
			for k, v := range s.Labels {
				fmt.Fprintf(&text, "%s=\"%s\",", k, escape.Replace(v))
			}
			text.WriteString("} 1\n")
			want = append(want, s)
		}
		got, err := Parse(&text, Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if !slices.EqualFunc(got, want, equal) {
			t.Fatalf("got %v, want %v", got, want)
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("# TYPE a counter\na{b=\"c\"} 1 2\n"))
	f.Add([]byte("{\"a.b\",c=\"d\"} 1\n"))
	f.Add([]byte("{a=\"b\",\"c\"} 1\n{\n{}\n{,}\n{\"\"}\n"))
	f.Add([]byte("a{le=\"+Inf\"} +Inf\na_bucket{} NaN\n\x00"))
	limits := Limits{Bytes: 1 << 16, LineBytes: 1 << 12, Labels: 32, Series: 1000}
	f.Fuzz(func(t *testing.T, data []byte) {
		series, err := Parse(bytes.NewReader(data), limits)
		if err != nil && series != nil {
			t.Fatal("series beside an error")
		}
		for _, s := range series {
			if s.Metric == "" || s.Line < 1 || s.Line > bytes.Count(data, []byte{'\n'}) || len(s.Labels) > limits.Labels {
				t.Fatalf("impossible series %+v", s)
			}
		}
	})
}
