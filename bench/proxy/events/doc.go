//go:build linux

// Package events is as much of an event loop as the load generator and its
// backend need: sockets that do not block, watched by one epoll, handled by one
// goroutine. It spends as little as Go allows on each event, so that one core of
// generator keeps up with one core of proxy.
//
//	loop, err := events.NewLoop()
//	fd, err := events.Dial(address)
//	err = loop.Watch(fd, token)
//	for {
//		ready, err := loop.Wait(time.Second)
//		for _, token := range ready { ... } // read and write until events.ErrAgain
//	}
//
// Watching is edge-triggered: an event says that something has changed, and is
// not repeated.
package events
