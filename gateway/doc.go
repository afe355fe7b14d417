// Package gateway assembles sallyport: it reads sallyport.yaml and the policy,
// builds the two doors around one engine, and runs them until it is told to
// stop. It is the only package that knows all the others.
//
//	config, problems := gateway.ReadConfig("sallyport.yaml")
//	g, err := gateway.New(config, gateway.Dependencies{Log: log, Stdout: os.Stdout})
//	err = g.Start(ctx)     // every listener bound, addresses and "ready" printed
//	...
//	err = g.Shutdown(ctx)  // listeners closed, tunnels drained, log flushed
//
// # A policy edit
//
// One goroutine, in reload.go, owns the three triggers of a reload: the watch
// on the policy's directories (with a slow poll behind it, for file systems
// that do not notify), SIGHUP, and POST /-/reload. An edit runs down one line:
// read, parse, validate, compile, run the policy's own tests; and from there
// on, where nothing can fail, swap, re-decide every open tunnel, and tell. A
// failure above the line leaves the old policy deciding.
//
// # Lists
//
// Big lists are files, or come by URL. A listFetcher (listfetch*.go) keeps the
// last good copy of each of the latter on disk, judges what comes before it
// becomes the copy, and tells the reloader, which takes it as it would take a
// file that changed. Whichever way a list comes, it is read once for each
// content, by one listParser, and stays in memory while edits go on around it.
//
// # The clock
//
// Decisions use the injected Now. How long something took is measured with the
// process's own monotonic clock, since a test that plays the year 2020 still
// wants to know how many milliseconds a reload took.
package gateway
