# METADATA
# title: Forbidden
# description: |
#   What must never happen, by metric name and by label name. A forbidden name
#   always wins. A clause that drops a label satisfies a forbidden label only when
#   the entry is not protected or says droppable.
package charter.forbidden

import data.charter.patterns
import data.charter.request
import data.charter.selection

# METADATA
# title: Clear
# description: Nothing forbids the series, and every table that could have said so was there.
default clear := false

clear if {
	is_object(data.charter.tables.exact)
	is_object(data.charter.tables.patterns)
	is_object(data.charter.tables.labels.exact)
	is_object(data.charter.tables.labels.prefixes)
	is_object(data.charter.tables.labels.lengths)
	every glob in patterns.metric { is_object(data.charter.tables.patterns[glob]) }
	count(names) == 0
	count(labels) == 0
}

# METADATA
# title: Names
# description: The entries that forbid the metric by its name.
names contains id if some id, _ in data.charter.tables.exact[input.metric].forbidden

names contains id if {
	some glob in patterns.metric
	some id, _ in data.charter.tables.patterns[glob].forbidden
}

# METADATA
# title: Labels
# description: "The labels that forbid the series, by entry: {id: {label}}."
labels[id] contains label if {
	some label in request.labels
	some id, _ in data.charter.tables.labels.exact[label]
	not satisfied(id, label)
}

labels[id] contains label if {
	some label in request.labels
	some length in data.charter.tables.labels.lengths
	some pattern, ids in data.charter.tables.labels.prefixes[substring(label, 0, length)]
	glob.match(pattern, null, label)
	some id, _ in ids
	not satisfied(id, label)
}

# METADATA
# title: Satisfied
# description: The selected clause drops the label, and the entry is content with that.
default satisfied(_, _) := false

satisfied(id, label) if {
	selection.clause.drop[label]
	data.charter.tables.forbidden[id].protected == false
}

satisfied(id, label) if {
	selection.clause.drop[label]
	data.charter.tables.forbidden[id].droppable == true
}

# METADATA
# title: Reasons
# description: One reason per entry that forbids the metric, and one per entry that forbids labels.
reasons contains reason("forbidden_metric", id, message) if {
	some id in names
	message := concat("", ["the metric is forbidden: ", said(id, "reason", "no reason recorded")])
}

reasons contains reason("forbidden_label", id, message) if {
	some id, names_of_labels in labels
	listed := concat(", ", sort(names_of_labels))
	message := sprintf("label %s is forbidden: %s", [listed, said(id, "reason", "no reason recorded")])
}

reason(code, id, message) := {
	"code": code,
	"clause": id,
	"severity": said(id, "severity", "critical"),
	"message": message,
}

# A hit forbids even when the entry it names is missing.
said(id, key, otherwise) := object.get(object.get(entries, id, {}), key, otherwise)

default entries := {}

entries := data.charter.tables.forbidden
