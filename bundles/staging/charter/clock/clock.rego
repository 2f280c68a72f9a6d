# METADATA
# title: Clock
# description: |
#   The only clock is input.time. A time is RFC 3339 or a bare date, which means
#   its first instant in UTC; intervals are half-open.
package charter.clock

# METADATA
# title: Now
# description: input.time in nanoseconds since 1970; undefined when it is absent or cannot be read.
now_ns := ns(input.time)

# METADATA
# title: Nanoseconds
# description: A time in nanoseconds since 1970; undefined when it cannot be read.
ns(text) := time.parse_rfc3339_ns(text) if {
	contains(text, "T")
} else := time.parse_rfc3339_ns(concat("", [text, "T00:00:00Z"]))

# METADATA
# title: Passed
# description: The instant has come, and that is certain.
default passed(_) := false

passed(instant_ns) if now_ns >= instant_ns

# METADATA
# title: Ended
# description: A restriction until that time is over. One without an end, or whose end cannot be read, is not.
default ended(_) := false

ended(until) if passed(ns(until))

# METADATA
# title: Ahead
# description: The instant is still to come, and that is certain.
default ahead(_) := false

ahead(until) if now_ns < ns(until)

# METADATA
# title: Running
# description: A grant from and until those times holds now. Bounds that cannot be read grant nothing.
default running(_, _) := false

running(from, until) if {
	now_ns >= ns(from)
	now_ns < ns(until)
}
