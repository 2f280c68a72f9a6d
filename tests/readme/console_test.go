package readme

import (
	"slices"
	"testing"
)

func TestSessions(t *testing.T) {
	const document = "# Title\n" +
		"```sh\n$ not run\n```\n" +
		"```console\nignored\n$ one\nout 1\n\nout 2\n$ two \\\n    more\n$ three\n> 3\nout > 3\n```\n" +
		"$ outside\n" +
		"```console\n$ four\nout\n```\n"
	want := []Command{
		{7, "one", "out 1\n\nout 2\n"},
		{11, "two \\\n    more", ""},
		{13, "three\n3", "out > 3\n"},
		{19, "four", "out\n"},
	}
	if got := Sessions(document); !slices.Equal(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestMatch(t *testing.T) {
	for _, tc := range []struct {
		shown, output string
		want          bool
	}{
		{"a\nb\n", "a\nb\n", true},
		{"a\nb", "a  \nb\n\n", true},
		{"", "", true},
		{"", "a\n", false},
		{"a\n", "", false},
		{"a\n", "a\nb\n", false},
		{"a\n", "b\na\n", false},
		{"a\n...\nd\n", "a\nb\nc\nd\n", true},
		{"a\n...\nd\n", "a\nd\n", true},
		{"a\n...\nd\n", "a\nb\nc\n", false},
		{"a\n...\n", "a\nb\n", true},
		{"...\n", "", true},
		{"rev 1.2.0+... ok\n", "rev 1.2.0+ab12 ok\n", true},
		{"rev 1.2.0+... ok\n", "rev 1x2.0+ab12 ok\n", false},
		{"a...b\n", "a\nb\n", false},
	} {
		if got := Match(tc.shown, tc.output); got != tc.want {
			t.Errorf("Match(%q, %q) = %t, want %t", tc.shown, tc.output, got, tc.want)
		}
	}
}
