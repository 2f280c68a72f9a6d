# METADATA
# title: Durations
# description: A duration is one number and one unit, such as 30d. A year is 365 days.
package charter.durations

unit_seconds := {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800, "y": 31536000}

# METADATA
# title: Seconds
# description: The length of a duration in seconds; undefined when it is not one.
seconds(text) := to_number(substring(text, 0, digits)) * unit_seconds[substring(text, digits, 1)] if {
	regex.match(`^[1-9][0-9]{0,5}[smhdwy]$`, text)
	digits := count(text) - 1
}
