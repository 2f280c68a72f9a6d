package decision_test

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/westworld-charter/charter/internal/decision"
)

// Clients switch on these texts: none may be lost, doubled or renamed unseen.
func TestClosedLists(t *testing.T) {
	codes := decision.Codes()
	if len(codes) != 29 || codes[0] != "unknown_field" || codes[len(codes)-1] != "undetermined" {
		t.Errorf("the list of reason codes changed: %v", codes)
	}
	slices.Sort(codes)
	if len(slices.Compact(codes)) != 29 {
		t.Error("a reason code is there twice")
	}
	var tags []string
	for f := range reflect.TypeFor[decision.Input]().Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		tags = append(tags, name)
	}
	slices.Sort(tags)
	if !slices.Equal(tags, decision.Fields()) {
		t.Errorf("Fields %v, Input has %v", decision.Fields(), tags)
	}
}

// Every document that Go makes by itself must deny and name a clause.
func TestDocumentsDeny(t *testing.T) {
	_, err := decision.ParseInput([]byte(`{"metrc":1}`))
	fe, _ := err.(*decision.FieldError) //nolint:errorlint // as documented
	for name, tc := range map[string]struct {
		got  decision.Decision
		want string
	}{
		"invalid": {decision.Invalid(fe, "r-1"), `{"allow":false,"outcome":"invalid_request","revision":"r-1","clause":"request","severity":"low","reasons":[` +
			`{"code":"unknown_field","clause":"request","severity":"low","message":"unknown field \"metrc\", did you mean \"metric\"?","field":"metrc"},` +
			`{"code":"missing_field","clause":"request","severity":"low","message":"field \"metric\" is required","field":"metric"},` +
			`{"code":"missing_field","clause":"request","severity":"low","message":"field \"operation\" is required","field":"operation"},` +
			`{"code":"missing_field","clause":"request","severity":"low","message":"field \"role\" is required","field":"role"}],"obligations":{},"mode":"enforce"}`},
		"no policy": {decision.Unloaded(), `{"allow":false,"outcome":"no_policy","revision":"","clause":"default","severity":"high","reasons":[` +
			`{"code":"undetermined","clause":"default","severity":"high","message":"no policy is loaded"}],"obligations":{},"mode":"enforce"}`},
		"undetermined": {decision.Undetermined("r-1", "too slow"), `{"allow":false,"outcome":"denied","revision":"r-1","clause":"default","severity":"high","reasons":[` +
			`{"code":"undetermined","clause":"default","severity":"high","message":"too slow"}],"obligations":{},"mode":"enforce"}`},
	} {
		var text strings.Builder
		enc := json.NewEncoder(&text)
		if err := enc.Encode(tc.got); err != nil {
			t.Fatal(err)
		}
		if strings.TrimSpace(text.String()) != tc.want {
			t.Errorf("%s:\n got %s\nwant %s", name, text.String(), tc.want)
		}
	}
}

func TestObligationsEmpty(t *testing.T) {
	if !(decision.Obligations{}).Empty() {
		t.Error("no obligations must be empty")
	}
	for _, o := range []decision.Obligations{
		{Retention: "30d"}, {DropLabels: []string{"a"}}, {HashLabels: []string{"a"}}, {ForbidLabels: []string{"a"}}, {Rates: []string{"1/1m"}},
	} {
		if o.Empty() {
			t.Errorf("%+v would be lost on a caller that asks whether anything is left to do", o)
		}
	}
}
