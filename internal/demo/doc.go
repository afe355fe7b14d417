// Command demo plays the memo of March 28, 2020 on one machine, without
// internet, in a few seconds:
//
//	make demo
//
// It runs the real gateway inside its own process, on free ports, between a
// stub DNS server and a TLS origin of its own, with a clock that jumps from
// scene to scene. Two people knock at both doors: Alex, whom the memo is for,
// and Priya, who has an exception until April 3. Each knock is one row of the
// table that it prints; the exit status is 0 only when every row is as the
// memo says.
//
//	main.go         the command
//	script.go       who does what when, and what the memo says must come of it
//	stage.go        the gateway, the stubs and the clock
//	upstream.go     the stub DNS server
//	origin.go       the TLS origin
//	dnsdoor.go      asking the DNS door
//	proxydoor.go    asking the proxy door; meetings
//	decisionlog.go  reading why each door said it
//	performance.go  acting the script, and judging what comes of it
//	table.go        the table
package main
