package policytest

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"
	"time"
)

// The types below are the JUnit XML that CI systems read: the common subset of
// what Jenkins, GitLab and GitHub actions accept.

type junitSuites struct {
	XMLName  xml.Name     `xml:"testsuites"`
	Name     string       `xml:"name,attr"`
	Tests    int          `xml:"tests,attr"`
	Failures int          `xml:"failures,attr"`
	Errors   int          `xml:"errors,attr"`
	Skipped  int          `xml:"skipped,attr"`
	Time     string       `xml:"time,attr"`
	Suites   []junitSuite `xml:"testsuite"`
}

type junitSuite struct {
	Name     string      `xml:"name,attr"`
	Tests    int         `xml:"tests,attr"`
	Failures int         `xml:"failures,attr"`
	Errors   int         `xml:"errors,attr"`
	Skipped  int         `xml:"skipped,attr"`
	Time     string      `xml:"time,attr"`
	Cases    []junitCase `xml:"testcase"`
}

type junitCase struct {
	Name      string        `xml:"name,attr"`
	ClassName string        `xml:"classname,attr"`
	File      string        `xml:"file,attr,omitempty"`
	Line      int           `xml:"line,attr,omitempty"`
	Time      string        `xml:"time,attr"`
	Failure   *junitProblem `xml:"failure"`
	Error     *junitProblem `xml:"error"`
	Skipped   *struct{}     `xml:"skipped"`
	Output    string        `xml:"system-out,omitempty"`
}

type junitProblem struct {
	Message string `xml:"message,attr"`
	Text    string `xml:",chardata"`
}

// writeJUnit renders every reason for which a run fails as a test case, so that
// a CI system that reads nothing else turns red as well.
func writeJUnit(w io.Writer, rep *Report) error {
	doc := junitSuites{Name: "charter", Time: seconds(rep.Seconds)}
	for _, s := range rep.Suites {
		doc.add(junitOf(s))
	}
	if len(rep.Problems) > 0 {
		run := junitSuite{Name: "run"}
		for _, problem := range rep.Problems {
			run.Cases = append(run.Cases, junitCase{
				Name: problem, ClassName: "run", Time: seconds(0), Failure: &junitProblem{Message: problem},
			})
		}
		doc.add(run)
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	enc := xml.NewEncoder(w)
	enc.Indent("", "  ")
	if err := enc.Encode(doc); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

// add counts the cases of s and appends it.
func (doc *junitSuites) add(s junitSuite) {
	for _, c := range s.Cases {
		s.Tests++
		switch {
		case c.Failure != nil:
			s.Failures++
		case c.Error != nil:
			s.Errors++
		case c.Skipped != nil:
			s.Skipped++
		}
	}
	doc.Tests += s.Tests
	doc.Failures += s.Failures
	doc.Errors += s.Errors
	doc.Skipped += s.Skipped
	doc.Suites = append(doc.Suites, s)
}

func junitOf(s *Suite) junitSuite {
	suite := junitSuite{Name: s.Name}
	var total time.Duration
	for _, d := range s.Findings {
		text := oneLine(d)
		c := junitCase{Name: text, ClassName: s.Name, File: d.Pos.File, Line: d.Pos.Line, Time: seconds(0)}
		if d.Severity == "error" {
			c.Error = &junitProblem{Message: d.Message, Text: text}
			suite.Cases = append(suite.Cases, c)
		}
	}
	for _, res := range s.Results {
		total += time.Duration(res.Duration)
		suite.Cases = append(suite.Cases, junitCaseOf(res))
	}
	suite.Time = seconds(total.Seconds())
	return suite
}

func junitCaseOf(res Result) junitCase {
	c := junitCase{
		Name: strings.TrimLeft(strings.TrimPrefix(res.Name, res.group), "./"), ClassName: res.group, File: res.Pos.File, Line: res.Pos.Line,
		Time: seconds(time.Duration(res.Duration).Seconds()), Output: res.Output,
	}
	switch res.Outcome {
	case Fail:
		c.Failure = &junitProblem{Message: res.Message, Text: detail(res)}
	case Error:
		c.Error = &junitProblem{Message: res.Message, Text: detail(res)}
	case Skip:
		c.Skipped = &struct{}{}
	case Pass:
	}
	return c
}

// detail is what the pretty format shows below a result.
func detail(res Result) string {
	p := &printer{}
	p.result(res)
	return p.String()
}

func seconds(s float64) string { return fmt.Sprintf("%.6f", s) }
