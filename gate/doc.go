// Package gate counts work under way and can be closed against more of it. Both
// doors use it to stop: what has begun may finish, and nothing new begins.
//
//	var g gate.Gate
//	if !g.Enter() {
//		return // closed
//	}
//	defer g.Leave()
//	...
//	<-g.Close() // everybody has left
package gate
