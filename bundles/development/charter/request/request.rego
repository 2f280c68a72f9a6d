# METADATA
# title: Request
# description: |
#   Whether the question is one that can be asked. A misspelt field is refused by
#   name; it never becomes a silent deny. An empty optional text counts as absent.
package charter.request

import data.charter.clock

# Every field, as it is when it was not sent.
blank := {
	"claims": [],
	"labels": {},
	"metric": "",
	"node": "",
	"operation": "",
	"purpose": "",
	"retention": "",
	"role": "",
	"time": "",
}

fields := object.keys(blank)

required := {"metric", "operation", "role"}

operations := {"collect", "export", "read"}

texts := fields - {"claims", "labels"}

# METADATA
# title: Asked
# description: The question with every field; undefined when the input is not an object.
asked := object.union(blank, input)

# METADATA
# title: Valid
# description: The question has every field it needs, no unknown one, and each is well formed.
default valid := false

# concat is undefined unless all it is given are strings; builtins on local values
# cost far less than a rule or a loop each.
valid if {
	count(asked) == 9
	concat("", [asked.metric, asked.node, asked.purpose, asked.retention, asked.role, asked.time]) != ""
	asked.metric != ""
	asked.role != ""
	asked.operation in {"collect", "export", "read"}
	node_given
	is_object(asked.labels)
	concat("", [value | some value in asked.labels]) >= ""
	is_array(asked.claims)
	concat("", asked.claims) >= ""
	retention_formed
	time_formed
}

# METADATA
# title: Active labels
# description: The names of the labels sent with a value; an empty value means absent, as in Prometheus.
labels := {name | some name, value in asked.labels; value != ""}

# Standing gates collecting and exporting, so the node must be known.
default node_given := false

node_given if asked.operation == "read"

node_given if asked.node != ""

default labels_formed := false

labels_formed if {
	is_object(asked.labels)
	every value in asked.labels { is_string(value) }
}

default claims_formed := false

claims_formed if {
	is_array(asked.claims)
	every claim in asked.claims { is_string(claim) }
}

default retention_formed := false

retention_formed if regex.match(`^([1-9][0-9]{0,5}[smhdwy])?$`, asked.retention)

default time_formed := false

time_formed if asked.time == ""

time_formed if is_number(clock.now_ns)

# METADATA
# title: Problems
# description: What is wrong with the question, one reason per field.
problems contains problem("wrong_type", "input", "the input must be an object") if not object_given

problems contains problem("unknown_field", field, sprintf("unknown field %q", [field])) if {
	object_given
	some field in (object.keys(input) - fields)
}

problems contains problem("missing_field", field, sprintf("field %q is required", [field])) if {
	object_given
	some field in required
	object.get(input, field, "") == ""
}

problems contains problem("missing_field", "node", `field "node" is required to collect and export`) if {
	object.get(input, "operation", "") in {"collect", "export"}
	not node_given
}

problems contains problem("wrong_type", field, sprintf("field %q must be a string", [field])) if {
	object_given
	some field in texts
	type_name(object.get(input, field, "")) != "string"
}

problems contains problem("wrong_type", "labels", `field "labels" must be an object of strings`) if {
	object_given
	not labels_formed
}

problems contains problem("wrong_type", "claims", `field "claims" must be an array of strings`) if {
	object_given
	not claims_formed
}

problems contains problem("invalid_value", "operation", message) if {
	is_string(input.operation)
	input.operation != ""
	count({input.operation} - operations) == 1
	message := sprintf("operation %q is none of collect, export, read", [input.operation])
}

problems contains problem("invalid_value", "retention", message) if {
	is_string(input.retention)
	not retention_formed
	message := sprintf("retention %q is not a duration such as 30d", [input.retention])
}

problems contains problem("invalid_value", "time", message) if {
	is_string(input.time)
	not time_formed
	message := sprintf("time %q is neither RFC 3339 nor a date", [input.time])
}

default object_given := false

object_given if is_object(input)

problem(code, field, message) := {
	"code": code,
	"clause": "request",
	"severity": "low",
	"message": message,
	"field": field,
}
