// Package e2e holds the end-to-end tests: the real binary between real
// programs, all on loopback.
//
//	dig, kdig                                       unbound (testdata/root.zone)
//	curl, git, Chromium  ->  bin/sallyport serve -> nginx (testdata/site), TLS and plain
//
// unbound resolves from a root zone of the tests' own, so that vanity names,
// Zoom's names and names that only look like them all exist, and all lead to
// one nginx. What a client gets through the gateway is compared with what it
// gets without: allowed traffic must be the same, refused traffic must be
// explained. Further tests start, edit, signal and stop the binary itself.
//
// Nothing leaves the machine. Ports are free ones, files are under temporary
// directories, and every process that a test starts it also stops.
//
// A program that is not installed skips the tests that need it, and says so;
// with SALLYPORT_E2E_REQUIRE=1, as CI sets it, that is a failure. On Debian:
//
//	apt-get install unbound nginx-light bind9-dnsutils knot-dnsutils curl git chromium \
//	  knot-resolver dnsperf nftables iproute2 squid-openssl goaccess calamaris haproxy \
//	  tinyproxy microsocks libnss3-tools systemd openssl systemd-container logrotate rpm \
//	  lintian shellcheck strace groff prometheus \
//	  keepalived dnsdist dnsmasq-base kea-dhcp4-server isc-dhcp-server radvd bind9-utils \
//	  libplist-utils procps
//
// SALLYPORT_E2E_SCREENSHOTS=dir keeps pictures of the block page as Chromium
// shows it.
package e2e
