# What people write first: the whitelist as lists in the data document, searched
# by rules. It means what the charter of the benchmark means.
package naive

default allow := false

allow if {
	some row in matching
	row.rank == best
	permitted(row)
}

matching contains row if {
	some row in data.naive.metrics
	row.name == input.metric
}

matching contains row if {
	some row in data.naive.globs
	glob.match(row.glob, null, input.metric)
}

# The most specific row wins.
best := max([row.rank | some row in matching])

permitted(row) if {
	some role in data.naive.roles
	role.name == input.role
	entitled(role, row)
	every claim in role.requires { claim in input.claims }
	input.node in data.naive.nodes
	good_standing
	time.parse_rfc3339_ns(input.time) < time.parse_rfc3339_ns(data.naive.expires)
}

entitled(role, row) if {
	input.operation == "collect"
	row.category in role.collects
}

entitled(role, row) if {
	input.operation == "read"
	row.access in role.reads
	input.purpose in row.purposes
}

good_standing if input.operation == "read"

good_standing if not input.node in data.naive.quarantined
