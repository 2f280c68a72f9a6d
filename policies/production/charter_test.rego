# METADATA
# title: Promises of the production charter
# description: |
#   Rules that hold for families of metrics. Single decisions are in charter_cases.yaml.
package production_test

import data.charter

collect(metric, labels) := {
	"metric": metric,
	"node": "core-1",
	"role": "node_operator",
	"operation": "collect",
	"claims": ["owns_node", "mtls"],
	"labels": labels,
	"time": "2026-06-01T00:00:00Z",
}

# The labels by which node_exporter tells one machine from all others, by metric.
identifying := {
	"node_dmi_info": {"board_serial", "chassis_serial", "product_serial", "product_uuid", "chassis_asset_tag"},
	"node_disk_info": {"serial", "wwn"},
	"node_nvme_info": {"serial"},
	"node_network_info": {"address", "broadcast"},
	"node_power_supply_info": {"serial_number"},
	"node_fibrechannel_info": {"fabric_name", "port_name", "symbolic_name"},
	"node_disk_filesystem_info": {"uuid"},
	"node_disk_device_mapper_info": {"uuid"},
	"node_dmmultipath_device_info": {"uuid"},
	"node_bcache_writeback_change": {"uuid"},
	"node_bcachefs_info": {"uuid"},
}

test_hardware_passes_without_its_identifiers if {
	every metric, labels in identifying {
		answer := charter.decision with input as collect(metric, {label: "x" | some label in labels})
		answer.allow
		every label in labels { label in answer.obligations.drop_labels }
	}
}

# The same labels on any other metric deny it.
test_identifiers_are_welcome_nowhere_else if {
	every metric in {"node_load1", "node_cpu_seconds_total", "latency_p50", "service_version", "node_pcidevice_info"} {
		every label in {label | some label in identifying[_]} {
			answer := charter.decision with input as collect(metric, {label: "x"})
			not answer.allow
			answer.clause == "privacy.device"
		}
	}
}

test_wireless_stations_are_forbidden if {
	answer := charter.decision with input as collect("node_wifi_station_info", {})
	not answer.allow
	answer.clause == "privacy.proximity"
	answer.severity == "critical"
}

test_state_of_the_radio_is_not if {
	answer := charter.decision with input as collect("node_wifi_interface_frequency_hertz", {})
	answer.allow
}

test_request_rates_are_tighter_than_in_the_base if {
	answer := charter.decision with input as collect("api_requests_per_second", {})
	answer.allow
	answer.obligations.retention == "14d"
}

test_inventory_is_for_auditors if {
	every role, allowed in {"node_operator": false, "audit_committee_member": true} {
		question := {
			"metric": "node_dmi_info",
			"role": role,
			"operation": "read",
			"purpose": "audit",
			"claims": ["owns_node", "mtls", "committee_seat", "two_factor"],
			"time": "2026-06-01T00:00:00Z",
		}
		answer := charter.decision with input as question
		answer.allow == allowed
	}
}

test_storage_is_a_matter_of_labels if {
	question := object.union(collect("node_tape_io_now", {}), {"node": "box-4"})
	outside := charter.decision with input as question
	not outside.allow

	inside := charter.decision with input as question
		with data.charter_state as {"nodes": {"box-4": {"labels": {"tier": "storage"}}}}
	inside.allow
}

test_waiver_ends if {
	question := object.union(collect("node_disk_io_now", {}), {"node": "edge-7", "retention": "60d"})
	during := charter.decision with input as object.union(question, {"time": "2027-03-30T23:59:59Z"})
	during.allow
	during.reasons[0].code == "waiver_applied"

	after := charter.decision with input as object.union(question, {"time": "2027-03-31T00:00:00Z"})
	not after.allow
}

test_nodes_that_left_collect_nothing if {
	answer := charter.decision with input as object.union(collect("latency_p50", {}), {"node": "edge-13"})
	not answer.allow
	answer.reasons[0].code == "node_revoked"
}

test_everything_is_enforced if {
	every metric in {"latency_p50", "user_location", "anything"} {
		answer := charter.decision with input as collect(metric, {})
		answer.mode == "enforce"
	}
}
