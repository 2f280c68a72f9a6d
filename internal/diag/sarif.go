package diag

import (
	"net/url"
	"path/filepath"
	"slices"
	"strings"
)

// The types below are the part of SARIF 2.1.0 (OASIS, sections 3.13 to 3.30)
// that a list of findings needs.
type (
	sarifLog struct {
		Schema  string     `json:"$schema"`
		Version string     `json:"version"`
		Runs    []sarifRun `json:"runs"`
	}
	sarifRun struct {
		Tool       sarifTool     `json:"tool"`
		ColumnKind string        `json:"columnKind"`
		Results    []sarifResult `json:"results"`
	}
	sarifTool struct {
		Driver sarifDriver `json:"driver"`
	}
	sarifDriver struct {
		Name    string      `json:"name"`
		Version string      `json:"version,omitempty"`
		Rules   []sarifRule `json:"rules"`
	}
	sarifRule struct {
		ID string `json:"id"`
	}
	sarifResult struct {
		RuleID    string          `json:"ruleId"`
		RuleIndex int             `json:"ruleIndex"`
		Level     string          `json:"level"`
		Message   sarifMessage    `json:"message"`
		Locations []sarifLocation `json:"locations"`
		Related   []sarifLocation `json:"relatedLocations,omitempty"`
	}
	sarifMessage struct {
		Text string `json:"text"`
	}
	sarifLocation struct {
		ID       *int          `json:"id,omitempty"`
		Physical sarifPhysical `json:"physicalLocation"`
		Message  *sarifMessage `json:"message,omitempty"`
	}
	sarifPhysical struct {
		Artifact sarifArtifact `json:"artifactLocation"`
		Region   *sarifRegion  `json:"region,omitempty"`
	}
	sarifArtifact struct {
		URI string `json:"uri"`
	}
	sarifRegion struct {
		Line int `json:"startLine"`
		Col  int `json:"startColumn,omitempty"`
	}
)

func sarif(l List, src *sources, opts Options) ([]byte, error) {
	var codes []string
	for _, d := range l {
		codes = append(codes, d.Code)
	}
	slices.Sort(codes)
	codes = slices.Compact(codes)
	rules := make([]sarifRule, 0, len(codes))
	for _, code := range codes {
		rules = append(rules, sarifRule{ID: code})
	}
	tool := opts.Tool
	if tool == "" {
		tool = "charter-admin"
	}
	run := sarifRun{
		Tool:       sarifTool{Driver: sarifDriver{Name: tool, Version: opts.Version, Rules: rules}},
		ColumnKind: "unicodeCodePoints",
		Results:    make([]sarifResult, 0, len(l)),
	}
	for _, d := range l {
		index, _ := slices.BinarySearch(codes, d.Code)
		run.Results = append(run.Results, result(d, index, src))
	}
	return indented(sarifLog{
		Schema:  "https://json.schemastore.org/sarif-2.1.0.json",
		Version: "2.1.0",
		Runs:    []sarifRun{run},
	})
}

func result(d Diagnostic, index int, src *sources) sarifResult {
	text := d.Message
	if d.Fix != "" {
		text += " (fix: " + d.Fix + ")"
	}
	r := sarifResult{
		RuleID: d.Code, RuleIndex: index, Level: string(d.Severity), Message: sarifMessage{Text: text},
		Locations: []sarifLocation{location(d.Pos, src)},
	}
	for i, related := range d.Related {
		loc := location(related.Pos, src)
		loc.ID, loc.Message = &i, &sarifMessage{Text: related.Message}
		r.Related = append(r.Related, loc)
	}
	return r
}

func location(pos Pos, src *sources) sarifLocation {
	uri := (&url.URL{Path: strings.TrimPrefix(filepath.ToSlash(pos.File), "./")}).String()
	loc := sarifLocation{Physical: sarifPhysical{Artifact: sarifArtifact{URI: uri}}}
	if pos.Line > 0 {
		loc.Physical.Region = &sarifRegion{Line: pos.Line, Col: src.characters(pos)}
	}
	return loc
}
