// Package console is what people and monitoring see of the gateway over HTTP,
// on two listeners that never mix:
//
//	[NewAdmin]   for administrators: metrics, health, readiness, reload,
//	             status, explain and the policy in force. Loopback by default.
//	[NewPortal]  for employees: what this is and whom to ask, the page for
//	             names that the DNS door answered with the portal's address,
//	             the page by which people continue past a warning, and the
//	             proxy auto-configuration file.
//
// The package owns no state and takes no decision. Every fact that it shows
// comes through a func field, so that it can be read, and tested, without a
// gateway behind it. The whole HTTP surface is in routes.go.
//
// [Question] is what explain asks. The command line and GET /api/v1/explain
// share it, so that the two cannot differ.
package console
