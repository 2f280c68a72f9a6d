package engine

import (
	"math"
	"time"
)

const nsOfDay = int64(24 * time.Hour)

// instant reads a time of a question, RFC 3339 with an upper-case T and Z, or a
// bare date, in nanoseconds since 1970. It accepts less than the rules do and
// never anything else: years 1970 to 2261, up to nine digits of a second. It
// does not allocate, as time.Parse does for offsets.
func instant(s string) (ns int64, ok bool) {
	if len(s) == len(time.DateOnly) {
		day, ok := date(s)
		return day * nsOfDay, ok
	}
	if len(s) < len("2006-01-02T15:04:05Z") || s[10] != 'T' || s[13] != ':' || s[16] != ':' {
		return 0, false
	}
	day, ok := date(s[:10])
	hour, minute, second := pair(s, 11), pair(s, 14), pair(s, 17)
	if !ok || hour < 0 || minute < 0 || second < 0 || hour > 23 || minute > 59 || second > 59 {
		return 0, false
	}
	fraction, zone, ok := fractionOf(s[19:])
	if !ok {
		return 0, false
	}
	offset, ok := offsetOf(zone)
	seconds := int64(hour)*3600 + int64(minute)*60 + int64(second) - offset
	return day*nsOfDay + seconds*int64(time.Second) + fraction, ok
}

// date is the number of days of a date since 1970.
func date(s string) (days int64, ok bool) {
	year, month, day := 100*pair(s, 0)+pair(s, 2), pair(s, 5), pair(s, 8)
	if s[4] != '-' || s[7] != '-' || year < 1970 || year > 2261 || month < 1 || month > 12 || day < 1 || day > lastDay(year, month) {
		return 0, false
	}
	// The year is taken to begin in March: a leap day is its last, and the days of
	// its months follow a line (H. Hinnant, days_from_civil).
	if month <= 2 {
		year, month = year-1, month+12
	}
	leapDays := year/4 - year/100 + year/400
	return int64(365*year + leapDays + (153*(month-3)+2)/5 + day - 1 - marchTo1970), true
}

// marchTo1970 is how many days there are from the first of March of the year 0.
const marchTo1970 = 719468

func lastDay(year, month int) int {
	switch {
	case month == 2 && year%4 == 0 && (year%100 != 0 || year%400 == 0):
		return 29
	case month == 2:
		return 28
	case month == 4 || month == 6 || month == 9 || month == 11:
		return 30
	default:
		return 31
	}
}

// pair is the number of two digits, far below 0 when they are none.
func pair(s string, at int) int {
	tens, ones := s[at]-'0', s[at+1]-'0'
	if tens > 9 || ones > 9 {
		return math.MinInt32
	}
	return 10*int(tens) + int(ones)
}

// digits is the number that s is written as, -1 when it is not digits alone.
func digits(s string) int {
	n := 0
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return -1
		}
		n = 10*n + int(s[i]-'0')
	}
	return n
}

// fractionOf splits ".5Z" into nanoseconds and the zone.
func fractionOf(s string) (ns int64, zone string, ok bool) {
	if s[0] != '.' {
		return 0, s, true
	}
	end, unit := 1, int64(time.Second)
	for ; end < len(s) && s[end] >= '0' && s[end] <= '9'; end++ {
		unit /= 10
		ns += unit * int64(s[end]-'0')
	}
	if end == 1 || end > 10 || end == len(s) {
		return 0, "", false
	}
	return ns, s[end:], true
}

// offsetOf reads Z or +hh:mm in seconds.
func offsetOf(s string) (seconds int64, ok bool) {
	if s == "Z" {
		return 0, true
	}
	if len(s) != len("+00:00") || s[3] != ':' || s[0] != '+' && s[0] != '-' {
		return 0, false
	}
	hours, minutes := pair(s, 1), pair(s, 4)
	if hours < 0 || minutes < 0 || hours > 23 || minutes > 59 {
		return 0, false
	}
	seconds = int64(hours)*3600 + int64(minutes)*60
	if s[0] == '-' {
		seconds = -seconds
	}
	return seconds, true
}
