package engine

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

// plainObject is decodeObject as the standard library does it.
func plainObject(text []byte) (map[string]any, error) {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	var data map[string]any
	if err := dec.Decode(&data); err != nil {
		return nil, err
	}
	if data == nil {
		return nil, errors.New("not an object")
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("more than one JSON value")
	}
	return data, nil
}

// disputed reports whether readers may see different values in a text that the
// standard library accepts: it is not UTF-8, escapes half a character, or has a
// name twice in one object.
func disputed(text []byte) bool {
	if !utf8.Valid(text) || strings.Contains(strings.ToLower(string(text)), `\ud`) {
		return true
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	return anyTwice(dec)
}

func anyTwice(dec *json.Decoder) bool {
	start, err := dec.Token()
	if err != nil || start != json.Delim('{') && start != json.Delim('[') {
		return false
	}
	twice, names := false, map[json.Token]bool{}
	for dec.More() {
		if start == json.Delim('{') {
			name, err := dec.Token()
			if err != nil {
				return twice
			}
			twice = twice || names[name]
			names[name] = true
		}
		twice = anyTwice(dec) || twice
	}
	_, _ = dec.Token() // the end
	return twice
}

// judgeDecoding fails when decodeObject finds anything but what the standard
// library does, or refuses more than what readers could disagree about.
func judgeDecoding(t interface {
	Helper()
	Fatalf(format string, args ...any)
}, text []byte,
) {
	t.Helper()
	kept := bytes.Clone(text)
	got, err := decodeObject(text)
	want, plainErr := plainObject(text)
	switch {
	case !bytes.Equal(text, kept):
		t.Fatalf("decoding changed the text %q to %q", kept, text)
	case err == nil && plainErr != nil:
		t.Fatalf("accepted %q, which the standard library refuses: %v", text, plainErr)
	case err == nil && !reflect.DeepEqual(got, want):
		t.Fatalf("decoded %q\nto   %v\nwant %v", text, got, want)
	case err == nil && disputed(text) && !bytes.Contains(bytes.ToLower(text), []byte(`\ud`)):
		t.Fatalf("accepted %q, about which readers disagree", text)
	case err != nil && plainErr == nil && !disputed(text):
		t.Fatalf("refused %q: %v", text, err)
	}
}

// drawJSON writes a value, deep enough to have rows, with texts that repeat.
func drawJSON(t *rapid.T, out *strings.Builder, depth int) {
	blank := func() { out.WriteString(rapid.SampledFrom([]string{"", "", "", " ", "\n\t"}).Draw(t, "blank")) }
	text := func() {
		out.WriteString(rapid.SampledFrom([]string{
			`"a"`, `"b"`, `"only"`, `""`, `"\u0061"`, `"\""`, `"\ud83d\ude00"`, `"é"`, `"a\/b\\\n"`, `"` + strings.Repeat("n", usualName) + `"`,
		}).Draw(t, "text"))
	}
	blank()
	defer blank()
	kinds := 6
	if depth < rowDepth+1 {
		kinds = 12 // objects more often, so that there are rows
	}
	if depth == 0 {
		kinds = 100
	}
	switch kind := rapid.IntRange(0, kinds).Draw(t, "kind"); {
	case depth > rowDepth+3 || kind < 3:
		out.WriteString(rapid.SampledFrom([]string{"null", "true", "false", "0", "-0", "1.50", "1E+400", "12345678901234567890"}).Draw(t, "scalar"))
	case kind < 4:
		text()
	case kind < 5:
		out.WriteByte('[')
		for i := range rapid.IntRange(0, 3).Draw(t, "items") {
			out.WriteString(strings.Repeat(",", min(i, 1)))
			drawJSON(t, out, depth+1)
		}
		out.WriteByte(']')
	default:
		out.WriteByte('{')
		for i := range rapid.IntRange(0, 3).Draw(t, "members") {
			out.WriteString(strings.Repeat(",", min(i, 1)))
			blank()
			text()
			blank()
			out.WriteByte(':')
			drawJSON(t, out, depth+1)
		}
		out.WriteByte('}')
	}
}

func TestDecodingIsThatOfTheStandardLibrary(t *testing.T) {
	accepted := 0
	rapid.Check(t, func(t *rapid.T) {
		var out strings.Builder
		drawJSON(t, &out, 0)
		text := []byte(out.String())
		judgeDecoding(t, text)
		if _, err := decodeObject(text); err == nil {
			accepted++
		}
		for range 10 {
			damaged := bytes.Clone(text)
			at := rapid.IntRange(0, len(text)-1).Draw(t, "at")
			switch rapid.IntRange(0, 2).Draw(t, "damage") {
			case 0:
				damaged[at] = rapid.SampledFrom([]byte("{}[],:\"\\0a -e.u\x00\x80\xff")).Draw(t, "byte")
			case 1:
				damaged = append(damaged[:at], damaged[at+1:]...)
			default:
				damaged = damaged[:at]
			}
			judgeDecoding(t, damaged)
		}
	})
	if accepted == 0 {
		t.Error("no text was accepted: nothing was compared")
	}
}

func FuzzDecodeObject(f *testing.F) {
	f.Add([]byte(tables(`"m":{"only":"c","clauses":{"c":true}},"n":{"only":"c","clauses":{"c":true}}`)))
	f.Add([]byte(`{"a":[1,-2.5e3,"\ud83d\ude00",null,{}],"b":{"c":{"d":{"e":{"f":[{"g":1}]}}}}}`))
	f.Add([]byte(`{"a":"\ud800"}`))
	f.Add([]byte("{\"a\":\"\xff\"} "))
	f.Add([]byte(`{"a":1,"a":2}`))
	f.Add([]byte(`{} {}`))
	f.Fuzz(func(t *testing.T, text []byte) { judgeDecoding(t, text) })
}

// tables puts rows into a table.
func tables(rows string) string { return `{"charter":{"tables":{"exact":{` + rows + `}}}}` }

// What a damaged row is refused for, and where it lies.
func TestDecodingSaysWhere(t *testing.T) {
	for _, tc := range []struct{ name, text, want string }{
		{"cut off", tables(`"m":{"only":`)[:40], "unexpected EOF"},
		{"name twice", `{"charter":{"a":1,"a":2}}`, `object at "/charter" has two members "a"`},
		{"name twice by escape", `{"charter":{"a":1,"\u0061":2}}`, `object at "/charter" has two members "a"`},
		{"metric twice", tables(`"m":{},"m":{}`), `object at "/charter/tables/exact" has two members "m"`},
		{"field of a row twice", tables(`"k":{"a":1},"m":{"a":1,"b":{},"a":1}`), `object at "/charter/tables/exact/m" has two members "a"`},
		{"below a row", tables(`"m":{"a":{"b":1,"b":1}}`), `object at "/charter/tables/exact/m/a" has two members "b"`},
		{"not UTF-8", tables(`"m":{"a":"` + "\xff" + `"}`), "/charter/tables/exact/m/a"},
		{"no object", `[]`, "not an object"},
		{"null", `null`, "not an object"},
		{"two", `{} {}`, "more than one JSON value"},
		{"deep", strings.Repeat(`{"a":`, 20_000), "depth"},
	} {
		if _, err := decodeObject([]byte(tc.text)); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %s", tc.name, err, tc.want)
		}
	}
}

// The memory of a large charter follows the rows that differ.
func TestEqualRowsAreShared(t *testing.T) {
	long := fmt.Sprintf(`{"a":%q}`, strings.Repeat("x", usualRowText))
	data, err := decodeObject([]byte(tables(`"k":{"a":1},"l":{"a":1},"m":{"a":2},"n":` + long + `,"o":` + long)))
	if err != nil {
		t.Fatal(err)
	}
	rows := data["charter"].(map[string]any)["tables"].(map[string]any)["exact"].(map[string]any)
	same := func(a, b string) bool {
		return reflect.ValueOf(rows[a]).UnsafePointer() == reflect.ValueOf(rows[b]).UnsafePointer()
	}
	if !same("k", "l") || same("k", "m") || same("n", "o") {
		t.Errorf("shared: k and l %t, k and m %t, long ones %t", same("k", "l"), same("k", "m"), same("n", "o"))
	}
}

// A table whose rows differ is decoded like any other, also behind the point where
// its rows are no longer compared.
func TestDecodingManyRows(t *testing.T) {
	var rows strings.Builder
	for i := range 3 * manyRows {
		fmt.Fprintf(&rows, `,"m%d":{"only":"c%d"}`, i, i)
	}
	text := tables(rows.String()[1:])
	judgeDecoding(t, []byte(text))
	judgeDecoding(t, []byte(strings.Replace(text, `"c20000"}`, `"c20000","only":1}`, 1)))
	judgeDecoding(t, []byte(strings.Replace(text, `}}}}`, `},"patterns":{"g":{"only":"c0"},"h":{"only":"c0"}}}}`, 1)))
}

// BenchmarkDecodeObject decodes 100,000 rows: 20 metrics of a clause have the same
// row, or each has its own. Compare with the lines ending in json, which are the
// standard library's.
func BenchmarkDecodeObject(b *testing.B) {
	for name, size := range map[string]int{"alike": 20, "distinct": 1} {
		var rows strings.Builder
		for i := range 100_000 {
			clause := fmt.Sprint("exact.c", i/size)
			fmt.Fprintf(&rows, `,"sub%d_m%06d_total": {"only":%q,"free":true,"clauses":{%q:true}}`, rand.IntN(50), i, clause, clause)
		}
		text := []byte(tables(rows.String()[1:]))
		for name, decode := range map[string]func([]byte) (map[string]any, error){name: decodeObject, name + "/json": plainObject} {
			b.Run(name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if _, err := decode(text); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
