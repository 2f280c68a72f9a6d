# METADATA
# title: Patterns
# description: "Generated from charter development; do not edit."
package charter.patterns

# METADATA
# title: "Names a developer may use freely, never shown to others, never exported."
# custom:
#   clauses: ["dev.experiment"]
metric contains "dev_*" if startswith(input.metric, "dev_")

# METADATA
# title: "Which device it is, across networks and for its whole life."
# custom:
#   forbidden: ["privacy.device"]
metric contains "device_id*" if startswith(input.metric, "device_id")

# METADATA
# title: "Language runtimes and processes, in both naming styles."
# custom:
#   clauses: ["dev.runtime"]
metric contains "go.*" if startswith(input.metric, "go.")

# METADATA
# title: "Language runtimes and processes, in both naming styles."
# custom:
#   clauses: ["dev.runtime"]
metric contains "go_*" if startswith(input.metric, "go_")

# METADATA
# title: "HTTP servers and clients by OpenTelemetry names."
# custom:
#   clauses: ["dev.http"]
metric contains "http.client.*" if startswith(input.metric, "http.client.")

# METADATA
# title: "HTTP servers and clients by OpenTelemetry names."
# custom:
#   clauses: ["dev.http"]
metric contains "http.server.*" if startswith(input.metric, "http.server.")

# METADATA
# title: "Language runtimes and processes, in both naming styles."
# custom:
#   clauses: ["dev.runtime"]
metric contains "jvm.*" if startswith(input.metric, "jvm.")

# METADATA
# title: "Where people and their devices are."
# custom:
#   forbidden: ["privacy.location"]
metric contains "location*" if startswith(input.metric, "location")

# METADATA
# title: "All of node_exporter, for three days."
# custom:
#   clauses: ["dev.node"]
metric contains "node_*" if startswith(input.metric, "node_")

# METADATA
# title: "node_filesystem_*"
# custom:
#   clauses: ["dev.filesystem"]
metric contains "node_filesystem_*" if startswith(input.metric, "node_filesystem_")

# METADATA
# title: "Language runtimes and processes, in both naming styles."
# custom:
#   clauses: ["dev.runtime"]
metric contains "process.*" if startswith(input.metric, "process.")

# METADATA
# title: "Language runtimes and processes, in both naming styles."
# custom:
#   clauses: ["dev.runtime"]
metric contains "process_*" if startswith(input.metric, "process_")

# METADATA
# title: "prod_*"
# custom:
#   forbidden: ["dev.production_copy"]
metric contains "prod_*" if startswith(input.metric, "prod_")

# METADATA
# title: Globs that match the metric, those without a literal prefix
metric contains glob if {
	regex.match("\\.location|_imei|_imsi|_location|_prod_copy|asset_tag|biometric|browser_history|browsing|call_detail|call_record|clickstream|contact_list|conversation|device_fingerprint|email_address|geohash|geoip|gps\\.|gps_|hardware_id|keystroke|latitude|log_content|log_line|log_message|longitude|mac_address|machine_id|message_recipient|mobile_device_id|netflow|packet_capture|passport|phone_number|real_name|request_body|response_body|search_query|search_term|serial_number|user_id|user_name|username|visited_domain|visited_site|visited_url", input.metric)
	some glob in metric_floating
}

# METADATA
# title: "Where people and their devices are."
# custom:
#   forbidden: ["privacy.location"]
metric_floating contains "*.location*" if contains(input.metric, ".location")

# METADATA
# title: "Which device it is, across networks and for its whole life."
# custom:
#   forbidden: ["privacy.device"]
metric_floating contains "*_imei*" if contains(input.metric, "_imei")

# METADATA
# title: "Which device it is, across networks and for its whole life."
# custom:
#   forbidden: ["privacy.device"]
metric_floating contains "*_imsi*" if contains(input.metric, "_imsi")

# METADATA
# title: "Where people and their devices are."
# custom:
#   forbidden: ["privacy.location"]
metric_floating contains "*_location*" if contains(input.metric, "_location")

# METADATA
# title: "*_prod_copy*"
# custom:
#   forbidden: ["dev.production_copy"]
metric_floating contains "*_prod_copy*" if contains(input.metric, "_prod_copy")

# METADATA
# title: "Which device it is, across networks and for its whole life."
# custom:
#   forbidden: ["privacy.device"]
metric_floating contains "*asset_tag*" if contains(input.metric, "asset_tag")

# METADATA
# title: "Who somebody is."
# custom:
#   forbidden: ["privacy.identity"]
metric_floating contains "*biometric*" if contains(input.metric, "biometric")

# METADATA
# title: "What somebody looks at or looks for."
# custom:
#   forbidden: ["privacy.browsing"]
metric_floating contains "*browser_history*" if contains(input.metric, "browser_history")

# METADATA
# title: "What somebody looks at or looks for."
# custom:
#   forbidden: ["privacy.browsing"]
metric_floating contains "*browsing*" if contains(input.metric, "browsing")

# METADATA
# title: "Who talks to whom, when and how much."
# custom:
#   forbidden: ["privacy.communication"]
metric_floating contains "*call_detail*" if contains(input.metric, "call_detail")

# METADATA
# title: "Who talks to whom, when and how much."
# custom:
#   forbidden: ["privacy.communication"]
metric_floating contains "*call_record*" if contains(input.metric, "call_record")

# METADATA
# title: "What somebody looks at or looks for."
# custom:
#   forbidden: ["privacy.browsing"]
metric_floating contains "*clickstream*" if contains(input.metric, "clickstream")

# METADATA
# title: "Who talks to whom, when and how much."
# custom:
#   forbidden: ["privacy.communication"]
metric_floating contains "*contact_list*" if contains(input.metric, "contact_list")

# METADATA
# title: "Who talks to whom, when and how much."
# custom:
#   forbidden: ["privacy.communication"]
metric_floating contains "*conversation*" if contains(input.metric, "conversation")

# METADATA
# title: "Which device it is, across networks and for its whole life."
# custom:
#   forbidden: ["privacy.device"]
metric_floating contains "*device_fingerprint*" if contains(input.metric, "device_fingerprint")

# METADATA
# title: "Who somebody is."
# custom:
#   forbidden: ["privacy.identity"]
metric_floating contains "*email_address*" if contains(input.metric, "email_address")

# METADATA
# title: "Where people and their devices are."
# custom:
#   forbidden: ["privacy.location"]
metric_floating contains "*geohash*" if contains(input.metric, "geohash")

# METADATA
# title: "Where people and their devices are."
# custom:
#   forbidden: ["privacy.location"]
metric_floating contains "*geoip*" if contains(input.metric, "geoip")

# METADATA
# title: "Where people and their devices are."
# custom:
#   forbidden: ["privacy.location"]
metric_floating contains "*gps.*" if contains(input.metric, "gps.")

# METADATA
# title: "Where people and their devices are."
# custom:
#   forbidden: ["privacy.location"]
metric_floating contains "*gps_*" if contains(input.metric, "gps_")

# METADATA
# title: "Which device it is, across networks and for its whole life."
# custom:
#   forbidden: ["privacy.device"]
metric_floating contains "*hardware_id*" if contains(input.metric, "hardware_id")

# METADATA
# title: "Text that applications write about their users."
# custom:
#   forbidden: ["privacy.logs"]
metric_floating contains "*keystroke*" if contains(input.metric, "keystroke")

# METADATA
# title: "Where people and their devices are."
# custom:
#   forbidden: ["privacy.location"]
metric_floating contains "*latitude*" if contains(input.metric, "latitude")

# METADATA
# title: "Text that applications write about their users."
# custom:
#   forbidden: ["privacy.logs"]
metric_floating contains "*log_content*" if contains(input.metric, "log_content")

# METADATA
# title: "Text that applications write about their users."
# custom:
#   forbidden: ["privacy.logs"]
metric_floating contains "*log_line*" if contains(input.metric, "log_line")

# METADATA
# title: "Text that applications write about their users."
# custom:
#   forbidden: ["privacy.logs"]
metric_floating contains "*log_message*" if contains(input.metric, "log_message")

# METADATA
# title: "Where people and their devices are."
# custom:
#   forbidden: ["privacy.location"]
metric_floating contains "*longitude*" if contains(input.metric, "longitude")

# METADATA
# title: "Which device it is, across networks and for its whole life."
# custom:
#   forbidden: ["privacy.device"]
metric_floating contains "*mac_address*" if contains(input.metric, "mac_address")

# METADATA
# title: "Which device it is, across networks and for its whole life."
# custom:
#   forbidden: ["privacy.device"]
metric_floating contains "*machine_id*" if contains(input.metric, "machine_id")

# METADATA
# title: "Who talks to whom, when and how much."
# custom:
#   forbidden: ["privacy.communication"]
metric_floating contains "*message_recipient*" if contains(input.metric, "message_recipient")

# METADATA
# title: "Which device it is, across networks and for its whole life."
# custom:
#   forbidden: ["privacy.device"]
metric_floating contains "*mobile_device_id*" if contains(input.metric, "mobile_device_id")

# METADATA
# title: "Who talks to whom, when and how much."
# custom:
#   forbidden: ["privacy.communication"]
metric_floating contains "*netflow*" if contains(input.metric, "netflow")

# METADATA
# title: "Who talks to whom, when and how much."
# custom:
#   forbidden: ["privacy.communication"]
metric_floating contains "*packet_capture*" if contains(input.metric, "packet_capture")

# METADATA
# title: "Who somebody is."
# custom:
#   forbidden: ["privacy.identity"]
metric_floating contains "*passport*" if contains(input.metric, "passport")

# METADATA
# title: "Who somebody is."
# custom:
#   forbidden: ["privacy.identity"]
metric_floating contains "*phone_number*" if contains(input.metric, "phone_number")

# METADATA
# title: "Who somebody is."
# custom:
#   forbidden: ["privacy.identity"]
metric_floating contains "*real_name*" if contains(input.metric, "real_name")

# METADATA
# title: "Text that applications write about their users."
# custom:
#   forbidden: ["privacy.logs"]
metric_floating contains "*request_body*" if contains(input.metric, "request_body")

# METADATA
# title: "Text that applications write about their users."
# custom:
#   forbidden: ["privacy.logs"]
metric_floating contains "*response_body*" if contains(input.metric, "response_body")

# METADATA
# title: "What somebody looks at or looks for."
# custom:
#   forbidden: ["privacy.browsing"]
metric_floating contains "*search_query*" if contains(input.metric, "search_query")

# METADATA
# title: "What somebody looks at or looks for."
# custom:
#   forbidden: ["privacy.browsing"]
metric_floating contains "*search_term*" if contains(input.metric, "search_term")

# METADATA
# title: "Which device it is, across networks and for its whole life."
# custom:
#   forbidden: ["privacy.device"]
metric_floating contains "*serial_number*" if contains(input.metric, "serial_number")

# METADATA
# title: "Who somebody is."
# custom:
#   forbidden: ["privacy.identity"]
metric_floating contains "*user_id*" if contains(input.metric, "user_id")

# METADATA
# title: "Who somebody is."
# custom:
#   forbidden: ["privacy.identity"]
metric_floating contains "*user_name*" if contains(input.metric, "user_name")

# METADATA
# title: "Who somebody is."
# custom:
#   forbidden: ["privacy.identity"]
metric_floating contains "*username*" if contains(input.metric, "username")

# METADATA
# title: "What somebody looks at or looks for."
# custom:
#   forbidden: ["privacy.browsing"]
metric_floating contains "*visited_domain*" if contains(input.metric, "visited_domain")

# METADATA
# title: "What somebody looks at or looks for."
# custom:
#   forbidden: ["privacy.browsing"]
metric_floating contains "*visited_site*" if contains(input.metric, "visited_site")

# METADATA
# title: "What somebody looks at or looks for."
# custom:
#   forbidden: ["privacy.browsing"]
metric_floating contains "*visited_url*" if contains(input.metric, "visited_url")

# METADATA
# title: "dev-*"
node contains "dev-*" if startswith(input.node, "dev-")

# METADATA
# title: Globs that match the node, those without a literal prefix
node contains glob if {
	regex.match("\\.test", input.node)
	some glob in node_floating
}

# METADATA
# title: "*.test"
node_floating contains "*.test" if endswith(input.node, ".test")
