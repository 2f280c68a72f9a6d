package charter

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

const (
	day  = 24 * time.Hour
	week = 7 * day
	year = 365 * day

	maxDigits = 6
	// Times outside this range have no nanosecond count in Rego.
	firstYear, lastYear = 1970, 2261
)

// ParseDuration reads a duration of the charter language: one whole number of
// 1 to 6 digits without a leading zero, and one unit: s, m, h, d (24 h), w (7 d)
// or y (365 d), such as "30d". Durations beyond 292 years are refused.
func ParseDuration(s string) (time.Duration, error) {
	d, problem := readDuration(s)
	if problem != "" {
		return 0, fmt.Errorf("duration %q: %s", s, problem)
	}
	return d, nil
}

// readDuration is [ParseDuration] with what is wrong as a clause, "" when
// nothing is.
func readDuration(s string) (d time.Duration, problem string) {
	const shape = "it is not one whole number and one unit of s, m, h, d, w, y"
	if len(s) < 2 || len(s) > maxDigits+1 {
		return 0, shape
	}
	unit := unitOf(s[len(s)-1])
	if unit == 0 {
		return 0, shape
	}
	var n int64
	for i := range len(s) - 1 {
		if s[i] < '0' || s[i] > '9' {
			return 0, shape
		}
		n = n*10 + int64(s[i]-'0')
	}
	if s[0] == '0' {
		return 0, "it begins with a zero"
	}
	if n > int64(1<<63-1)/int64(unit) {
		return 0, "it is longer than 292 years"
	}
	return time.Duration(n) * unit, ""
}

// unitOf returns the length of a unit letter, 0 when it is none.
func unitOf(c byte) time.Duration {
	switch c {
	case 's':
		return time.Second
	case 'm':
		return time.Minute
	case 'h':
		return time.Hour
	case 'd':
		return day
	case 'w':
		return week
	case 'y':
		return year
	}
	return 0
}

// ParseTime reads a point in time: RFC 3339 such as "2026-01-31T12:00:00Z", or
// a bare date, which means 00:00 UTC of that day. The year must lie between 1970
// and 2261, the range that Rego can count in nanoseconds.
func ParseTime(s string) (time.Time, error) {
	t, problem := readTime(s)
	if problem != "" {
		return time.Time{}, fmt.Errorf("time %q: %s", s, problem)
	}
	return t, nil
}

// readTime is [ParseTime] with what is wrong as a clause, "" when nothing is.
func readTime(s string) (t time.Time, problem string) {
	layout := time.RFC3339Nano
	if len(s) == len(time.DateOnly) {
		layout = time.DateOnly
	}
	t, err := time.Parse(layout, s)
	if err != nil || !strictTime(s) {
		return time.Time{}, "it is neither RFC 3339 nor a date such as 2026-01-31"
	}
	if y := t.UTC().Year(); y < firstYear || y > lastYear {
		return time.Time{}, fmt.Sprintf("its year is not between %d and %d", firstYear, lastYear)
	}
	return t, ""
}

// strictTime refuses what time.Parse accepts beyond RFC 3339: hours of one
// digit, a comma before the fraction, offsets beyond a day.
func strictTime(s string) bool {
	if len(s) == len(time.DateOnly) {
		return true
	}
	if len(s) < len("2006-01-02T15:04:05Z") || s[13] != ':' || strings.Contains(s, ",") {
		return false
	}
	if s[len(s)-1] == 'Z' {
		return true
	}
	offset := s[len(s)-len("+00:00"):]
	hours, err := strconv.Atoi(offset[1:3])
	minutes, err2 := strconv.Atoi(offset[4:])
	return err == nil && err2 == nil && hours < 24 && minutes < 60
}
