package diag

import (
	"fmt"
	"strings"
)

// github renders workflow commands of GitHub Actions, one line a finding. See
// "Workflow commands for GitHub Actions", and toolkit/packages/core/src/command.ts
// for the escaping.
func github(l List, src *sources) []byte {
	var b strings.Builder
	for _, d := range l {
		command := "error"
		if d.Severity == Warning {
			command = "warning"
		}
		properties := []string{"file=" + escapeProperty(d.Pos.File)}
		if d.Pos.Line > 0 {
			properties = append(properties, fmt.Sprintf("line=%d", d.Pos.Line))
		}
		if d.Pos.Col > 0 {
			properties = append(properties, fmt.Sprintf("col=%d", src.characters(d.Pos)))
		}
		properties = append(properties, "title="+escapeProperty(d.Code))
		message := d.Message
		if d.Fix != "" {
			message += " (fix: " + d.Fix + ")"
		}
		for _, r := range d.Related {
			message += fmt.Sprintf("\n%s: %s", r.Pos, r.Message)
		}
		fmt.Fprintf(&b, "::%s %s::%s\n", command, strings.Join(properties, ","), escapeData(message))
	}
	return []byte(b.String())
}

func escapeData(s string) string {
	return visible(strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A").Replace(s))
}

func escapeProperty(s string) string {
	return visible(strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C").Replace(s))
}
