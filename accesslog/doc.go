// Package accesslog writes what clients did at the proxy door in the formats
// that log analysers have read for decades: Squid's native format and Apache's
// combined format. It is an addition to the decision log, which tells why.
//
//	metrics, err := accesslog.NewMetrics(registry)
//	log, err := accesslog.Open(accesslog.Config{
//		File: "access.log", Format: accesslog.FormatSquid,
//	}, accesslog.Dependencies{Metrics: metrics, Log: logger})
//	...
//	log.Append(&accesslog.Entry{ ... }) // once an exchange, from any goroutine
//	log.Reopen()                        // after the file was rotated
//	log.Close()                         // writes what is still queued
//
// # Squid's native format
//
// Ten fields with a space between them, as Squid 5 and later write them for a
// proxy that keeps nothing in store (FormatSquidNative.cc):
//
//	end-of-request elapsed client result/status bytes method URL user hierarchy/server type
//
// The time is in seconds with three decimals and nine places before the point
// at least, elapsed in milliseconds right-aligned in six places, bytes are all
// that the client was sent, heads included. Where a field is not known it is a
// hyphen, a status that was never sent is 000.
//
// # Apache's combined format
//
// Of mod_log_config, %h %l %u %t "%r" %>s %b "%{Referer}i" "%{User-Agent}i":
//
//	client - user [begin-of-request] "method URL protocol" status bytes "referer" "user agent"
//
// Bytes are those of the body alone, and a hyphen where there were none. A
// client that left before it was answered gets the status 499, as at nginx:
// analysers refuse a line without a status.
//
// # What cannot be in a line
//
// Clients choose most of what is logged. No byte of theirs ends a line, ends a
// quoted field, or adds a field. In the native format whatever is not
// printable ASCII, and the space, is percent-encoded; in users besides, as
// Squid does it, %, brackets and the backslash. In the combined format quotes
// and backslashes have a backslash before them, and what is not printable ASCII
// is written \xhh or as one of \b \n \r \t \v, as Apache does it. Credentials in
// a URL are never written, queries only where Config.KeepQuery says so, in a
// Referer neither, and every text is cut at a bound. Where people are hidden
// (package privacy), a pseudonym or a hyphen stands for clients and users.
package accesslog
