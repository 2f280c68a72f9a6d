# METADATA
# title: Patterns
# description: "Generated from charter production; do not edit."
package charter.patterns

# METADATA
# title: "Which device it is, across networks and for its whole life."
# custom:
#   forbidden: ["privacy.device"]
metric contains "device_id*" if startswith(input.metric, "device_id")

# METADATA
# title: "Whether the exporter itself is well."
# custom:
#   clauses: ["svc.exporter"]
metric contains "go_*" if startswith(input.metric, "go_")

# METADATA
# title: "Where people and their devices are."
# custom:
#   forbidden: ["privacy.location"]
metric contains "location*" if startswith(input.metric, "location")

# METADATA
# title: "node_bcache_*"
# custom:
#   clauses: ["node.bcache"]
metric contains "node_bcache_*" if startswith(input.metric, "node_bcache_")

# METADATA
# title: "node_bcachefs_*"
# custom:
#   clauses: ["node.bcache"]
metric contains "node_bcachefs_*" if startswith(input.metric, "node_bcachefs_")

# METADATA
# title: "Counters and states of network interfaces."
# custom:
#   clauses: ["node.network"]
metric contains "node_bonding_*" if startswith(input.metric, "node_bonding_")

# METADATA
# title: "The operating system and its processes as numbers, never as names."
# custom:
#   clauses: ["node.system"]
metric contains "node_cgroups_*" if startswith(input.metric, "node_cgroups_")

# METADATA
# title: "Temperatures, fans, power and energy."
# custom:
#   clauses: ["node.sensors"]
metric contains "node_cooling_device_*" if startswith(input.metric, "node_cooling_device_")

# METADATA
# title: "node_cpu_*"
# custom:
#   clauses: ["node.cpu"]
metric contains "node_cpu_*" if startswith(input.metric, "node_cpu_")

# METADATA
# title: "Requests, bytes and seconds of block devices."
# custom:
#   clauses: ["node.disk"]
metric contains "node_disk_*" if startswith(input.metric, "node_disk_")

# METADATA
# title: "node_dmmultipath_*"
# custom:
#   clauses: ["node.disk_mapper"]
metric contains "node_dmmultipath_*" if startswith(input.metric, "node_dmmultipath_")

# METADATA
# title: "Replication and tape, on storage nodes only."
# custom:
#   clauses: ["node.storage"]
metric contains "node_drbd_*" if startswith(input.metric, "node_drbd_")

# METADATA
# title: "node_edac_*"
# custom:
#   clauses: ["node.memory"]
metric contains "node_edac_*" if startswith(input.metric, "node_edac_")

# METADATA
# title: "The operating system and its processes as numbers, never as names."
# custom:
#   clauses: ["node.system"]
metric contains "node_entropy_*" if startswith(input.metric, "node_entropy_")

# METADATA
# title: "node_fibrechannel_*"
# custom:
#   clauses: ["node.fibrechannel"]
metric contains "node_fibrechannel_*" if startswith(input.metric, "node_fibrechannel_")

# METADATA
# title: "The operating system and its processes as numbers, never as names."
# custom:
#   clauses: ["node.system"]
metric contains "node_filefd_*" if startswith(input.metric, "node_filefd_")

# METADATA
# title: "Space per file system; mount points under /home would name people."
# custom:
#   clauses: ["node.filesystem"]
metric contains "node_filesystem_*" if startswith(input.metric, "node_filesystem_")

# METADATA
# title: "Temperatures, fans, power and energy."
# custom:
#   clauses: ["node.sensors"]
metric contains "node_hwmon_*" if startswith(input.metric, "node_hwmon_")

# METADATA
# title: "node_infiniband_*"
# custom:
#   clauses: ["node.infiniband"]
metric contains "node_infiniband_*" if startswith(input.metric, "node_infiniband_")

# METADATA
# title: "The operating system and its processes as numbers, never as names."
# custom:
#   clauses: ["node.system"]
metric contains "node_kernel_*" if startswith(input.metric, "node_kernel_")

# METADATA
# title: "node_ksmd_*"
# custom:
#   clauses: ["node.memory"]
metric contains "node_ksmd_*" if startswith(input.metric, "node_ksmd_")

# METADATA
# title: "Counters of the kernel's protocol stack, without addresses."
# custom:
#   clauses: ["node.protocols"]
metric contains "node_lnstat_*" if startswith(input.metric, "node_lnstat_")

# METADATA
# title: "Requests, bytes and seconds of block devices."
# custom:
#   clauses: ["node.disk"]
metric contains "node_md_*" if startswith(input.metric, "node_md_")

# METADATA
# title: "node_memory_*"
# custom:
#   clauses: ["node.memory"]
metric contains "node_memory_*" if startswith(input.metric, "node_memory_")

# METADATA
# title: "Counters of the kernel's protocol stack, without addresses."
# custom:
#   clauses: ["node.protocols"]
metric contains "node_netstat_*" if startswith(input.metric, "node_netstat_")

# METADATA
# title: "Counters and states of network interfaces."
# custom:
#   clauses: ["node.network"]
metric contains "node_network_*" if startswith(input.metric, "node_network_")

# METADATA
# title: "Counters of the kernel's protocol stack, without addresses."
# custom:
#   clauses: ["node.protocols"]
metric contains "node_nf_conntrack_*" if startswith(input.metric, "node_nf_conntrack_")

# METADATA
# title: "Calls of NFS clients and servers by method."
# custom:
#   clauses: ["node.nfs"]
metric contains "node_nfs_*" if startswith(input.metric, "node_nfs_")

# METADATA
# title: "Calls of NFS clients and servers by method."
# custom:
#   clauses: ["node.nfs"]
metric contains "node_nfsd_*" if startswith(input.metric, "node_nfsd_")

# METADATA
# title: "node_nvme_*"
# custom:
#   clauses: ["node.nvme"]
metric contains "node_nvme_*" if startswith(input.metric, "node_nvme_")

# METADATA
# title: "The operating system and its processes as numbers, never as names."
# custom:
#   clauses: ["node.system"]
metric contains "node_os_*" if startswith(input.metric, "node_os_")

# METADATA
# title: "Models of devices by vendor and product number, not single devices."
# custom:
#   clauses: ["node.pci"]
metric contains "node_pcidevice_*" if startswith(input.metric, "node_pcidevice_")

# METADATA
# title: "node_power_supply_*"
# custom:
#   clauses: ["node.power"]
metric contains "node_power_supply_*" if startswith(input.metric, "node_power_supply_")

# METADATA
# title: "How long work waited for CPU, memory and disks."
# custom:
#   clauses: ["node.pressure"]
metric contains "node_pressure_*" if startswith(input.metric, "node_pressure_")

# METADATA
# title: "The operating system and its processes as numbers, never as names."
# custom:
#   clauses: ["node.system"]
metric contains "node_processes_*" if startswith(input.metric, "node_processes_")

# METADATA
# title: "The operating system and its processes as numbers, never as names."
# custom:
#   clauses: ["node.system"]
metric contains "node_procs_*" if startswith(input.metric, "node_procs_")

# METADATA
# title: "Counters and states of network interfaces."
# custom:
#   clauses: ["node.network"]
metric contains "node_qdisc_*" if startswith(input.metric, "node_qdisc_")

# METADATA
# title: "Temperatures, fans, power and energy."
# custom:
#   clauses: ["node.sensors"]
metric contains "node_rapl_*" if startswith(input.metric, "node_rapl_")

# METADATA
# title: "node_schedstat_*"
# custom:
#   clauses: ["node.cpu"]
metric contains "node_schedstat_*" if startswith(input.metric, "node_schedstat_")

# METADATA
# title: "Whether the exporter itself is well."
# custom:
#   clauses: ["svc.exporter"]
metric contains "node_scrape_collector_*" if startswith(input.metric, "node_scrape_collector_")

# METADATA
# title: "node_slabinfo_*"
# custom:
#   clauses: ["node.memory"]
metric contains "node_slabinfo_*" if startswith(input.metric, "node_slabinfo_")

# METADATA
# title: "Counters of the kernel's protocol stack, without addresses."
# custom:
#   clauses: ["node.protocols"]
metric contains "node_sockstat_*" if startswith(input.metric, "node_sockstat_")

# METADATA
# title: "node_softirqs_*"
# custom:
#   clauses: ["node.cpu"]
metric contains "node_softirqs_*" if startswith(input.metric, "node_softirqs_")

# METADATA
# title: "Counters of the kernel's protocol stack, without addresses."
# custom:
#   clauses: ["node.protocols"]
metric contains "node_softnet_*" if startswith(input.metric, "node_softnet_")

# METADATA
# title: "Replication and tape, on storage nodes only."
# custom:
#   clauses: ["node.storage"]
metric contains "node_tape_*" if startswith(input.metric, "node_tape_")

# METADATA
# title: "The operating system and its processes as numbers, never as names."
# custom:
#   clauses: ["node.system"]
metric contains "node_time_*" if startswith(input.metric, "node_time_")

# METADATA
# title: "The operating system and its processes as numbers, never as names."
# custom:
#   clauses: ["node.system"]
metric contains "node_timex_*" if startswith(input.metric, "node_timex_")

# METADATA
# title: "node_vmstat_*"
# custom:
#   clauses: ["node.memory"]
metric contains "node_vmstat_*" if startswith(input.metric, "node_vmstat_")

# METADATA
# title: "Temperatures, fans, power and energy."
# custom:
#   clauses: ["node.sensors"]
metric contains "node_watchdog_*" if startswith(input.metric, "node_watchdog_")

# METADATA
# title: "The radio of a node; never the stations it hears."
# custom:
#   clauses: ["node.wifi"]
metric contains "node_wifi_interface_*" if startswith(input.metric, "node_wifi_interface_")

# METADATA
# title: "Which devices are in radio range of a node."
# custom:
#   forbidden: ["privacy.proximity"]
metric contains "node_wifi_station_*" if startswith(input.metric, "node_wifi_station_")

# METADATA
# title: "Counters of the kernel's protocol stack, without addresses."
# custom:
#   clauses: ["node.protocols"]
metric contains "node_xfrm_*" if startswith(input.metric, "node_xfrm_")

# METADATA
# title: "Requests, bytes and seconds of block devices."
# custom:
#   clauses: ["node.disk"]
metric contains "node_xfs_*" if startswith(input.metric, "node_xfs_")

# METADATA
# title: "Cache and pools; the inner counters of ZFS stay on the node."
# custom:
#   clauses: ["node.zfs"]
metric contains "node_zfs_arc_*" if startswith(input.metric, "node_zfs_arc_")

# METADATA
# title: "Cache and pools; the inner counters of ZFS stay on the node."
# custom:
#   clauses: ["node.zfs"]
metric contains "node_zfs_zpool_*" if startswith(input.metric, "node_zfs_zpool_")

# METADATA
# title: "node_zoneinfo_*"
# custom:
#   clauses: ["node.memory"]
metric contains "node_zoneinfo_*" if startswith(input.metric, "node_zoneinfo_")

# METADATA
# title: "Whether the exporter itself is well."
# custom:
#   clauses: ["svc.exporter"]
metric contains "process_*" if startswith(input.metric, "process_")

# METADATA
# title: "Whether the exporter itself is well."
# custom:
#   clauses: ["svc.exporter"]
metric contains "promhttp_metric_handler_*" if startswith(input.metric, "promhttp_metric_handler_")

# METADATA
# title: Globs that match the metric, those without a literal prefix
metric contains glob if {
	regex.match("\\.location|_imei|_imsi|_location|asset_tag|biometric|browser_history|browsing|call_detail|call_record|clickstream|contact_list|conversation|device_fingerprint|email_address|geohash|geoip|gps\\.|gps_|hardware_id|keystroke|latitude|log_content|log_line|log_message|longitude|mac_address|machine_id|message_recipient|mobile_device_id|netflow|packet_capture|passport|phone_number|real_name|request_body|response_body|search_query|search_term|serial_number|user_id|user_name|username|visited_domain|visited_site|visited_url", input.metric)
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
# title: "edge-*"
node contains "edge-*" if startswith(input.node, "edge-")

# METADATA
# title: "storage-*"
node contains "storage-*" if startswith(input.node, "storage-")
