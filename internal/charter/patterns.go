package charter

import (
	"fmt"
	"net/url"
	"strings"
	"unicode"
)

// Limits of single values, in bytes.
const (
	maxName     = 64
	maxID       = 128
	maxNodeName = 253
	maxGlob     = 512
	maxStars    = 8
	maxText     = 16 << 10
)

// GroupPrefix marks a reference to a group of nodes, as in "group:edge".
const GroupPrefix = "group:"

// pattern is a kind of text value. Check returns what is wrong with a value,
// "" when nothing is; expr is the same rule for the JSON Schema, at times
// laxer, never stricter.
type pattern struct {
	code  string
	what  string // "a duration"
	help  string // how to write one
	expr  string
	check func(string) string
}

// patterns are the kinds of values that tags can name.
func patterns() map[string]*pattern {
	return map[string]*pattern{
		"name": {
			code: "bad_name", what: "a name", help: "lower-case letters, digits, - and _, such as node_operator",
			expr: `^[a-z0-9][a-z0-9_-]{0,63}$`, check: func(s string) string { return word(s, maxName, "_-") },
		},
		"id": {
			code: "bad_id", what: "an id", help: "lower-case letters, digits, and . - _, such as net.latency",
			expr: `^[a-z0-9][a-z0-9._-]{0,127}$`, check: func(s string) string { return word(s, maxID, "._-") },
		},
		"label": {
			code: "bad_label", what: "a label name", help: "the exact name of a label, without patterns, such as instance or host.name",
			expr: `^[A-Za-z_][A-Za-z0-9_.:/-]{0,255}$`, check: checkLabel,
		},
		"semver": {
			code: "bad_version", what: "a version", help: "three numbers, such as 1.2.0 or 1.2.0-rc.1",
			expr:  `^(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)(-[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?$`,
			check: checkVersion,
		},
		"duration": {
			code: "bad_duration", what: "a duration", help: "one whole number and one unit of s, m, h, d, w, y, such as 30d",
			expr:  `^[1-9][0-9]{0,5}[smhdwy]$`,
			check: checkDuration,
		},
		"time": {
			code: "bad_time", what: "a time", help: "a date such as 2026-01-31, or RFC 3339 such as 2026-01-31T12:00:00Z",
			expr:  `^[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?(Z|[+-][0-9]{2}:[0-9]{2}))?$`,
			check: checkTime,
		},
		"email": {
			code: "bad_email", what: "a mail address", help: "an address such as ana@example.org",
			expr: `^[^@\s]+@[^@\s]+$`, check: checkEmail,
		},
		"address": {
			code: "bad_address", what: "an Ethereum address", help: "0x and 40 hexadecimal digits, in quotes",
			expr: `^0x[0-9a-fA-F]{40}$`, check: checkAddress,
		},
		"url": {
			code: "bad_url", what: "a URL", help: "a URL such as https://example.org/hook",
			expr: `^https?://[^\s]+$`, check: checkURL,
		},
		"rate": {
			code: "bad_rate", what: "a rate", help: "a count, a slash and a duration, such as 100/1m",
			expr: `^[1-9][0-9]{0,8}/[1-9][0-9]{0,5}[smhdwy]$`, check: checkRate,
		},
		"glob": {
			code: "bad_glob", what: "a pattern", help: "an exact name, or one with up to 8 stars, such as node_cpu_*",
			expr: `^[^?\[\]{}!\\]{1,512}$`, check: checkGlob,
		},
		"node": {
			code: "bad_node", what: "a node", help: "the name of a node, a pattern such as edge-*, or group:NAME",
			expr: `^[^?\[\]{}!\\]{1,512}$`, check: checkNode,
		},
		"nodename": {
			code: "bad_node", what: "the name of a node", help: "letters, digits, and . _ : @ / -, such as edge-7",
			expr: `^[A-Za-z0-9][A-Za-z0-9._:@/-]{0,252}$`, check: checkNodeName,
		},
		"path": {
			code: "bad_path", what: "a path", help: "a relative path with slashes, such as ../base/charter.yaml",
			expr: `^[^/\\:][^\\:]*$`, check: checkPath,
		},
	}
}

func checkDuration(s string) string {
	_, problem := readDuration(s)
	return problem
}

func checkTime(s string) string {
	_, problem := readTime(s)
	return problem
}

// word checks a name of lower-case letters, digits and the extra characters.
func word(s string, limit int, extra string) string {
	if len(s) > limit {
		return fmt.Sprintf("it is longer than %d characters", limit)
	}
	for i := range len(s) {
		c := s[i]
		if c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || i > 0 && strings.IndexByte(extra, c) >= 0 {
			continue
		}
		return charProblem(s, i)
	}
	return ""
}

// charProblem names the character at byte i of s.
func charProblem(s string, i int) string {
	for j, r := range s {
		if j == i {
			if i == 0 {
				return fmt.Sprintf("it begins with %q", r)
			}
			return fmt.Sprintf("it contains %q", r)
		}
	}
	return "it contains a character that is not allowed"
}

// alnum checks a value of letters, digits and the extra characters.
func alnum(s string, limit int, first, extra string) string {
	if len(s) > limit {
		return fmt.Sprintf("it is longer than %d characters", limit)
	}
	for i := range len(s) {
		c := s[i]
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		digit := c >= '0' && c <= '9'
		if letter || i == 0 && strings.IndexByte(first, c) >= 0 || i > 0 && (digit || strings.IndexByte(extra, c) >= 0) {
			continue
		}
		return charProblem(s, i)
	}
	return ""
}

func checkLabel(s string) string { return alnum(s, 256, "_", "_.:/-") }

func checkNodeName(s string) string {
	if strings.HasPrefix(s, GroupPrefix) {
		return "it names a group"
	}
	return alnum(s, maxNodeName, "0123456789", "._:@/-")
}

func checkVersion(s string) string {
	core, pre, hasPre := strings.Cut(s, "-")
	parts := strings.Split(core, ".")
	if len(parts) != 3 {
		return "it does not have three numbers"
	}
	for _, p := range parts {
		if p == "" || len(p) > 9 || strings.Trim(p, "0123456789") != "" {
			return fmt.Sprintf("%q is not a number", p)
		}
		if len(p) > 1 && p[0] == '0' {
			return fmt.Sprintf("%q has a leading zero", p)
		}
	}
	if !hasPre {
		return ""
	}
	if len(pre) > maxName {
		return fmt.Sprintf("its pre-release is longer than %d characters", maxName)
	}
	for p := range strings.SplitSeq(pre, ".") {
		if p == "" {
			return "its pre-release has an empty part"
		}
		if msg := alnum(p, maxName, "0123456789-", "-"); msg != "" {
			return msg
		}
	}
	return ""
}

func checkEmail(s string) string {
	local, domain, found := strings.Cut(s, "@")
	switch {
	case !found:
		return "it has no @"
	case local == "" || len(local) > 64:
		return "nothing usable stands before the @"
	case domain == "" || len(domain) > 253 || strings.HasPrefix(domain, ".") || strings.HasSuffix(domain, ".") || strings.Contains(domain, ".."):
		return "the part after the @ is no host"
	}
	if msg := alnum(local, 64, "0123456789!#$%&'*+/=?^_`{|}~-", "!#$%&'*+/=?^_`{|}~.-"); msg != "" {
		return msg
	}
	return alnum(domain, 253, "0123456789", ".-")
}

func checkAddress(s string) string {
	if len(s) != 42 || s[:2] != "0x" {
		return "it is not 0x and 40 digits"
	}
	for i := 2; i < len(s); i++ {
		c := s[i]
		if c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F' {
			continue
		}
		return charProblem(s, i)
	}
	return ""
}

func checkURL(s string) string {
	u, err := url.Parse(s)
	switch {
	case err != nil || strings.ContainsFunc(s, unicode.IsSpace):
		return "it cannot be read"
	case u.Scheme != "https" && u.Scheme != "http":
		return "it does not begin with https://"
	case u.Hostname() == "":
		return "it names no host"
	case u.Fragment != "" || strings.HasSuffix(s, "#"):
		return "it has a fragment"
	}
	return ""
}

func checkRate(s string) string {
	count, per, found := strings.Cut(s, "/")
	if !found {
		return "it has no slash"
	}
	if count == "" || len(count) > 9 || count[0] == '0' || strings.Trim(count, "0123456789") != "" {
		return fmt.Sprintf("%q is not a count", count)
	}
	if checkDuration(per) != "" {
		return fmt.Sprintf("%q is not a duration", per)
	}
	return ""
}

// checkGlob checks an exact name, or a pattern with stars.
func checkGlob(s string) string {
	if len(s) > maxGlob {
		return fmt.Sprintf("it is longer than %d bytes", maxGlob)
	}
	stars := 0
	for i := range len(s) {
		switch c := s[i]; {
		case c|0x20 >= 'a' && c|0x20 <= 'z', c >= '0' && c <= '9', c == '_': // nearly all
		case c == '*':
			stars++
			if i > 0 && s[i-1] == '*' {
				return `it contains "**"`
			}
		case c < ' ' || c == 0x7f || strings.IndexByte(`?[]{}!\`, c) >= 0:
			return charProblem(s, i) + "; * is the only special character"
		}
	}
	if stars > maxStars {
		return fmt.Sprintf("it has %d stars, more than %d", stars, maxStars)
	}
	if s[0] == ' ' || s[len(s)-1] == ' ' {
		return "it begins or ends with a space"
	}
	return ""
}

func checkNode(s string) string {
	if group, found := strings.CutPrefix(s, GroupPrefix); found {
		if group == "" {
			return "the name of the group is missing"
		}
		return word(group, maxName, "_-")
	}
	if strings.Contains(s, "*") {
		return checkGlob(s)
	}
	return checkNodeName(s)
}

func checkPath(s string) string {
	switch {
	case strings.Contains(s, "://"):
		return "it is a URL"
	case strings.ContainsFunc(s, unicode.IsControl):
		return "it contains a control character"
	case s[0] == '/' || s[0] == '~' || len(s) > 1 && s[1] == ':':
		return "it is absolute"
	case strings.Contains(s, `\`):
		return "it contains a backslash"
	case strings.Contains(s, ":"):
		return "it contains a colon"
	case strings.HasSuffix(s, "/") || s == "." || s == ".." || strings.HasSuffix(s, "/.."):
		return "it names a directory"
	}
	return ""
}
