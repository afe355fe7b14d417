// Promcheck holds every query that the project ships against what the binary
// exports:
//
//	go run . -binary ../../bin/sallyport -root ../..
//
// It runs the binary with everything switched on, sends a bit of everything
// through it, and reads its /metrics. Then it parses the PromQL of dashboards,
// recording rules, alerts, their tests and the documentation, with Prometheus'
// own parser, and fails on
//
//   - a metric that is neither exported nor recorded, or is used as what it is
//     not: a rate of a gauge, a quantile of what has no buckets;
//   - a label that the series at that place do not have: in a selector, behind by,
//     without, on and ignoring, in a legend or an annotation;
//   - a value of a label that no series ever has, where the values are fixed words;
//   - a metric that is exported and not in docs/metrics.md, or the reverse.
//
// It is a module of its own, since the parser brings more with it than the
// whole gateway does.
package main
