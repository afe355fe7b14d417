// Package check holds the tests of what is in deploy/docker: that `make image`
// and the Dockerfile make one image, that it holds the program and certificates
// and nothing else and runs, and that compose.yaml and the files which it mounts
// fit each other.
//
// It is a module of its own for the sake of its libraries: BuildKit's parser of
// Dockerfiles and compose-go (both Apache-2.0) read these files as engines do.
// `make check-image` runs the tests. They want root, for chroot and a network
// namespace, and on Debian
//
//	apt-get install bind9-dnsutils busybox curl iproute2 prometheus prometheus-alertmanager
//
// What is missing skips the test that needs it, and says so; with
// SALLYPORT_E2E_REQUIRE=1, as CI sets it, that is a failure.
package check
