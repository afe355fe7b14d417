// Package pace shares out the bandwidth of a group of clients.
//
//	group := pace.New(50_000_000) // bytes a second, each way
//	...
//	share := group.Join(client)   // one a tunnel
//	granted := share.Take(up, n, over)
//	...
//	share.Leave()
//
// [Share.Take] waits until it is the tunnel's turn, and says how many bytes may
// move. It is what proxy/relay asks of a Pacer.
//
// # Who is next
//
// Clients take turns, and then the tunnels of the client: who opens a hundred
// tunnels gets no more than who opens one. It is start-time fair queueing: each
// client has a tag, the bytes that it has been granted; the lowest tag is next;
// and whoever comes back from a pause starts two quanta behind whoever is being
// served, so that he comes soon, nobody saves up and nobody starves. A grant is at most a
// quantum: 5 ms of the rate, but not less than 4 KiB, and not more than 64 KiB
// unless that is less than 1 ms.
//
// # Time
//
// Each direction of a group is a bucket of tokens that holds 50 ms of the rate.
// A grant needs a token in it, and may leave it in debt by less than a quantum,
// so that the rate is kept to the byte over time. While anybody waits there is
// one timer a direction; there is no goroutine, and without a wait there is no
// timer either.
package pace
