// Package exports runs exported configurations in the programs they are for, and
// expects of every series what the engine decides: relabeling in the code of
// Prometheus, filter and transform processors in that of the OpenTelemetry Collector.
package exports
