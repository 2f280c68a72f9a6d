package decisionapi

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/westworld-charter/charter/internal/wire"
)

// dataParams are the parameters of OPA's data API that are served here.
type dataParams struct{ metrics, provenance, explain bool }

// readDataParams reads them as OPA does: a boolean without a value is true. What
// would change the answer in a way that this server does not offer is refused
// instead of ignored; parameters that OPA does not know are ignored, as there.
func (a *api) readDataParams(c echo.Context) (dataParams, error) {
	q := c.QueryParams()
	for _, name := range []string{"instrument", "strict-builtin-errors", "rule_labels"} {
		if boolean(q, name) {
			return dataParams{}, unsupportedParameter(name, "leave it out")
		}
	}
	explain, err := a.wantsExplanation(q[explainKey])
	if err != nil {
		return dataParams{}, err
	}
	return dataParams{metrics: boolean(q, "metrics"), provenance: boolean(q, "provenance"), explain: explain}, nil
}

// boolean reads a parameter: its presence alone means true.
func boolean(q url.Values, name string) bool {
	values, ok := q[name]
	if !ok {
		return false
	}
	if len(values) == 1 && values[0] == "" {
		return true
	}
	return slices.ContainsFunc(values, func(v string) bool { return strings.EqualFold(v, "true") })
}

func unsupportedParameter(name, instead string) error {
	message := fmt.Sprintf("query parameter %q is not supported here: %s", name, instead)
	return &wire.Error{
		Status: http.StatusBadRequest, Code: codeUnsupportedParameter, Message: message,
		Errors: []wire.Problem{{Code: codeUnsupportedParameter, Message: message, Location: name}},
	}
}

// Build says which program answers; the fields are OPA's.
type Build struct {
	Version   string `json:"version"`
	Commit    string `json:"build_commit"`
	Timestamp string `json:"build_timestamp"` // RFC 3339
	Hostname  string `json:"build_hostname"`
}

// provenance is OPA's: the program and the bundle by its name and revision.
type provenance struct {
	Build
	Bundles map[string]bundleRevision `json:"bundles"`
}

type bundleRevision struct {
	Revision string `json:"revision"`
}

// provenance states which policy made a decision. The name of the bundle is that
// of the charter, which is known for the active policy only.
func (a *api) provenance(revision string) *provenance {
	p := &provenance{Build: a.Build, Bundles: map[string]bundleRevision{}}
	name := a.Reporter.Status().Charter
	if name == "" || !strings.HasPrefix(revision, name+"-") {
		name = "charter"
	}
	if revision != "" {
		p.Bundles[name] = bundleRevision{Revision: revision}
	}
	return p
}

// timers measures a request in nanoseconds under the names of OPA. The clock is
// the monotonic one, whatever Options.Now says.
func timers(start, parsed time.Time) map[string]int64 {
	now := time.Now()
	return map[string]int64{
		"timer_rego_input_parse_ns": parsed.Sub(start).Nanoseconds(),
		"timer_rego_query_eval_ns":  now.Sub(parsed).Nanoseconds(),
		"timer_server_handler_ns":   now.Sub(start).Nanoseconds(),
	}
}

// unversioned is OPA's default decision: the body is the input, the answer the
// document without an envelope, as stock OPA makes it.
func (a *api) unversioned(c echo.Context) error {
	question, err := a.readBody(c, a.MaxCheckBody)
	if err != nil {
		return err
	}
	d, err := a.decide(c, question, bare)
	if err != nil {
		return err
	}
	d.DecisionID = ""
	return respond(c, http.StatusOK, d)
}

// newID returns a UUID of version 4 (RFC 9562).
func newID() string {
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails, see crypto/rand
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80
	text := hex.EncodeToString(id[:])
	return strings.Join([]string{text[:8], text[8:12], text[12:16], text[16:20], text[20:]}, "-")
}
