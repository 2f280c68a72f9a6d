package opaapi

import (
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
)

// dataPath is where documents lie; the rest of a path names one of them.
const dataPath = "/v1/data"

// dataAnswer is OPA's envelope of a document. An undefined one has no result.
type dataAnswer struct {
	Provenance *provenance    `json:"provenance,omitempty"`
	Metrics    map[string]any `json:"metrics,omitempty"`
	Result     *any           `json:"result,omitempty"`
	Warning    *warning       `json:"warning,omitempty"`

	explained
}

// provenance is OPA's: the program, and the bundle by its name and revision.
type provenance struct {
	Build
	Bundles map[string]bundleRevision `json:"bundles"`
}

type bundleRevision struct {
	Revision string `json:"revision"`
}

// warning is what OPA says of a body without an input.
type warning struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

func (c *call) dataGet() (any, error) {
	if err := c.begin(); err != nil {
		return nil, err
	}
	input, err := inputParam(c.URL.Query())
	if err != nil {
		return nil, err
	}
	return c.document(input)
}

func (c *call) dataPost() (any, error) {
	body, err := readBody(c.Request)
	if err != nil {
		return nil, err
	}
	if err := c.begin(); err != nil {
		return nil, err
	}
	// Other members are metadata, which OPA hands to plugins; there are none here.
	var request struct{ Input *any }
	if err := decode(body, &request, true); err != nil {
		return nil, err
	}
	input, err := valueOf(request.Input)
	if err != nil {
		return nil, err
	}
	answer, err := c.document(input)
	if err == nil && input == nil {
		answer.Warning = &warning{Code: "api_usage_warning", Message: "'input' key missing from the request"}
	}
	return answer, err
}

// document evaluates the document that the path names.
func (c *call) document(input ast.Value) (*dataAnswer, error) {
	c.parsed = time.Now()
	ref, err := refOf(strings.TrimPrefix(c.URL.EscapedPath(), dataPath))
	if err != nil {
		return nil, err
	}
	found, err := c.evaluate(ref.String(), input)
	if err != nil {
		return nil, err
	}
	answer := &dataAnswer{Metrics: found.Metrics, explained: explained{found.Explanation}}
	if c.provenance {
		revision := bundleRevision{Revision: c.policy.Revision()}
		answer.Provenance = &provenance{Build: c.api.Build, Bundles: map[string]bundleRevision{c.policy.Charter().Metadata.Name: revision}}
	}
	if len(found.Results) > 0 {
		answer.Result = &found.Results[0].Value
	}
	return answer, nil
}

// refOf reads a path as OPA does: segments are unescaped one by one, and those
// that are integers are numbers.
func refOf(escaped string) (ast.Ref, error) {
	ref := ast.Ref{ast.DefaultRootDocument}
	for segment := range strings.SplitSeq(escaped, "/") {
		if segment == "" {
			continue
		}
		name, err := url.PathUnescape(segment)
		if err != nil {
			name = segment
		}
		if strings.Contains(name, `"`) {
			return nil, invalidParameter("invalid path: no segment may hold a quotation mark")
		}
		if n, err := strconv.Atoi(name); err == nil {
			ref = append(ref, ast.IntNumberTerm(n))
		} else {
			ref = append(ref, ast.StringTerm(name))
		}
	}
	return ref, nil
}
