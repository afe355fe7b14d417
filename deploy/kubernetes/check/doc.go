// Package check tries what deploy/kubernetes ships without a cluster: the chart
// is linted and rendered by Helm's own packages, the bases are built by
// kustomize's, every object is decoded strictly into the types of its API, judged
// by the evaluator that admits pods, and compared with what it refers to; the
// rendered configuration is read by the real program, which runs with it in a
// root directory laid out as the kubelet lays out a pod's.
//
// It is a module of its own, so that the gateway's is not weighed down by Helm,
// kustomize and the types of Kubernetes (all Apache-2.0). There is nothing in it
// but tests; `make kubernetes` runs them.
package check
