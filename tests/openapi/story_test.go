package openapi_test

import (
	"crypto/rand"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/westworld-charter/charter/internal/app"
	"github.com/westworld-charter/charter/internal/committee"
	charterapi "github.com/westworld-charter/charter/internal/httpapi/charter"
	"github.com/westworld-charter/charter/tests/openapi/document"
)

const around = "../../internal/httpapi/charter/openapi.yaml"

// scene is one example of the document of the Charter API: the examples are one story.
type scene struct {
	example
	step   int
	as     string
	params map[string]*yaml.Node // where parameters are, by name
}

// scenes returns the examples in the order of the story.
func (d spec) scenes(t *testing.T) []scene {
	t.Helper()
	found := map[string]*scene{}
	note := func(op operation, name string, e *yaml.Node) {
		step := document.At(e, "x-step")
		if step == nil {
			return
		}
		n, err := strconv.Atoi(step.Value)
		if err != nil || found[op.path+op.method+name] != nil {
			t.Fatalf("%s %s: the step is no number, or given twice", op.path, name)
		}
		found[op.path+op.method+name] = &scene{step: n, as: document.At(e, "x-as").Value}
	}
	for _, op := range d.operations() {
		document.Each(document.At(op.node, "requestBody", "content"), func(_ string, content *yaml.Node) {
			document.Each(document.At(content, "examples"), func(name string, e *yaml.Node) { note(op, name, e) })
		})
		document.Each(document.At(op.node, "responses"), func(_ string, response *yaml.Node) {
			document.Each(document.At(response, "content"), func(_ string, content *yaml.Node) {
				document.Each(document.At(content, "examples"), func(name string, e *yaml.Node) { note(op, name, e) })
			})
		})
	}
	var list []scene
	for _, x := range d.examples(t) {
		s := found[x.path+x.method+x.name]
		if s == nil {
			t.Fatalf("%s %s: the example has no step", x.path, x.name)
		}
		s.example, s.params = x, map[string]*yaml.Node{}
		if parameters := document.At(x.node, "parameters"); parameters != nil {
			for _, p := range parameters.Content {
				if name := document.At(p, "name"); name != nil {
					s.params[name.Value] = document.At(p, "in")
				}
			}
		}
		list = append(list, *s)
	}
	slices.SortFunc(list, func(a, b scene) int { return a.step - b.step })
	return list
}

// village is the server of the story.
func village(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("village.yaml")
	if err != nil {
		t.Fatal(err)
	}
	s := serve(t, func(o *app.Options) {
		put(t, "charter.yaml", string(text))
	})
	return s.url
}

// cast replaces what is new every time: ids, hashes, times, indices.
type cast struct {
	actual map[string]string // by what is documented
}

// fresh are the shapes of such texts.
func fresh() []*regexp.Regexp {
	return []*regexp.Regexp{
		regexp.MustCompile(`^i?r[0-9a-f]{20}$`), regexp.MustCompile(`^o-[0-9a-f]{32}$`), regexp.MustCompile(`^[0-9a-f]{64}$`), regexp.MustCompile(`^[0-9a-f]{32}$`),
		regexp.MustCompile(`^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$`), regexp.MustCompile(`^\{"request":`),
	}
}

// stands returns what the document has for a text of an answer: i is its shape.
func (c cast) stands(i int, got string) string {
	switch i {
	case 0: // ids come back later in the story
		if rest, ok := strings.CutPrefix(got, "i"); ok {
			id := "i" + c.stands(0, rest)
			c.actual[id] = got
			return id
		}
		return c.name("r"+strings.Repeat("0", 19), "abcdef", got)
	case 1:
		return c.name("o-"+strings.Repeat("0", 31), "12345", got)
	case 2, 3:
		return strings.Repeat("0", len(got))
	case 4:
		return "2026-06-01T12:00:00Z"
	default:
		return `{"request":…}`
	}
}

// name is what the document calls an id, which is numbered as it appears.
func (c cast) name(prefix, numbers, got string) string {
	for _, n := range numbers {
		id := prefix + string(n)
		if c.actual[id] == "" {
			c.actual[id] = got
		}
		if c.actual[id] == got {
			return id
		}
	}
	return got
}

// normal is an answer as the document has it.
func (c cast) normal(got any) any {
	switch got := got.(type) {
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(got)) {
			got[name] = c.normal(got[name])
			if name == "entry" {
				got[name] = json.Number("0")
			}
		}
		return got
	case []any:
		for i, v := range got {
			got[i] = c.normal(v)
		}
		return got
	case string:
		for i, shape := range fresh() {
			if shape.MatchString(got) {
				return c.stands(i, got)
			}
		}
		for _, documented := range slices.Sorted(maps.Keys(c.actual)) {
			got = strings.ReplaceAll(got, c.actual[documented], documented)
		}
		return got
	default:
		return got
	}
}

// bind puts the ids of this run into what is sent.
func (c cast) bind(text string) string {
	names := make([]string, 0, len(c.actual))
	for k := range c.actual {
		names = append(names, k)
	}
	slices.SortFunc(names, func(a, b string) int { return len(b) - len(a) })
	for _, k := range names {
		text = strings.ReplaceAll(text, k, c.actual[k])
	}
	return text
}

// sign makes a request of the committee what it would be now.
func sign(t *testing.T, body string) string {
	t.Helper()
	var s committee.Signed
	if err := json.Unmarshal([]byte(body), &s); err != nil || s.Request.Kind == "" {
		return body
	}
	nonce, err := committee.NewNonce(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().UTC().Truncate(time.Second)
	s.Request.Nonce, s.Request.Expires, s.Signatures = nonce, now.Add(time.Hour), nil
	if !s.Request.Until.IsZero() {
		s.Request.Until = now.Add(time.Hour)
	}
	if !s.Request.From.IsZero() {
		s.Request.From = now
	}
	for i := range 2 {
		key, err := committee.ParseKey([]byte(strings.Repeat("0", 63)+strconv.Itoa(i+1)), nil)
		if err != nil {
			t.Fatal(err)
		}
		sig, err := key.Sign(s.Request)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Add(sig); err != nil {
			t.Fatal(err)
		}
	}
	text, err := s.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Whoever copies the requests of the document gets the answers beside them, from the
// first to the last, and every route has an example or says why not.
func TestStory(t *testing.T) {
	d := readSpec(t, around)
	list := d.scenes(t)
	base, c := village(t), cast{map[string]string{}}
	if len(list) < 35 {
		t.Fatalf("only %d examples", len(list))
	}
	for _, x := range list {
		name := strconv.Itoa(x.step) + " " + x.method + " " + x.path + " " + x.name
		x.perform(t, d, base, c, name)
	}
	if *update {
		d.Write(t)
	}
}

// perform sends the request of a scene and compares the answer.
func (x *scene) perform(t *testing.T, d spec, base string, c cast, name string) {
	t.Helper()
	x.header = http.Header{}
	if x.as != "nobody" {
		x.bear(x.as)
	}
	if x.media == "application/json" {
		d.checkRequest(t, x.example)
		x.body = sign(t, c.bind(x.body))
	}
	documentedPath := x.path
	query := url.Values{}
	for param, values := range x.query {
		switch x.params[param].Value {
		case "path":
			x.path = strings.ReplaceAll(x.path, "{"+param+"}", c.bind(values[0]))
		case "header":
			x.header.Set(param, values[0])
		default:
			query[param] = values
		}
	}
	x.query = query
	status, media, body := send(t, base, x.example)
	x.path = documentedPath
	if want := statusText(t, x.status); status != want || media != x.answers {
		t.Fatalf("%s: %s %s, documented are %s %s: %s", name, status, media, want, x.answers, body)
	}
	if err := d.Fits(t, document.Decode(t, body), x.response...); err != nil {
		t.Errorf("%s: %s: %v", name, body, err)
	}
	want := document.Plain(t, x.answer)
	got := c.normal(document.Decode(t, body))
	raw, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		d.Replace(x.answer, string(raw))
		return
	}
	if documented, err := json.Marshal(want); err != nil || string(documented) != string(raw) {
		t.Errorf("%s: the answer is not the documented one:\n%s\n%s", name, raw, documented)
	}
}

// What is documented is served and what is served is documented, for whom it says.
func TestCharterRoutes(t *testing.T) {
	d := readSpec(t, around)
	base := village(t)
	for _, op := range d.operations() {
		path := regexp.MustCompile(`\{\w+\}`).ReplaceAllString(op.path, "x")
		r, err := http.NewRequestWithContext(t.Context(), http.MethodOptions, base+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if !slices.Contains(strings.Split(res.Header.Get("Allow"), ", "), op.method) {
			t.Errorf("%s %s is not served: %q", op.method, op.path, res.Header.Get("Allow"))
		}
		// Nobody gets past the scope, but where everybody may.
		x := example{operation: operation{path: path, method: op.method}, header: http.Header{}}
		status, _, _ := send(t, base, x)
		scopes := document.At(op.node, "x-scopes").Content
		if guest := scopes[0].Value == "guest"; guest == (status == http.StatusText(http.StatusUnauthorized)) {
			t.Errorf("%s %s: x-scopes is %s, and nobody gets %s", op.method, op.path, scopes[0].Value, status)
		}
	}
	if string(charterapi.Specification()) != d.Text() {
		t.Error("the served document is another one")
	}
}
