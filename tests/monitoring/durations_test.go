package monitoring

import (
	"regexp"
	"strconv"
	"time"
)

// faster is by how much durations of the shipped files are divided: the shortest
// that matters, 5 minutes, is 5 seconds then.
const faster = 60

// durations are those of rules and of Alertmanager: in brackets, after offset, for
// and the settings of groups.
var durations = regexp.MustCompile(`(\[|offset |for: |group_wait: |group_interval: |repeat_interval: |resolve_timeout: |_interval: |scrape_timeout: )(\d+)([smhd])\b`)

// shorten divides every duration in a file by faster; none gets below a second.
func shorten(text string) string {
	unit := map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour, "d": 24 * time.Hour}
	return durations.ReplaceAllStringFunc(text, func(found string) string {
		m := durations.FindStringSubmatch(found)
		n, _ := strconv.Atoi(m[2]) // digits
		d := max(time.Duration(n)*unit[m[3]]/faster, time.Second)
		return m[1] + strconv.Itoa(int(d/time.Second)) + "s"
	})
}
