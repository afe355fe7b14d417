package proxy

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/sallyport/sallyport/policy"
	"github.com/sallyport/sallyport/proxy/pace"
)

// bandwidth is what the groups may move whose bandwidth is limited, by name.
type bandwidth map[string]*pace.Group

func newBandwidth(rates map[string]int64) (bandwidth, error) {
	b := make(bandwidth, len(rates))
	for _, name := range slices.Sorted(maps.Keys(rates)) {
		rate := rates[name]
		if rate <= 0 {
			return nil, fmt.Errorf("proxy: bandwidth of group %q is %d bytes a second: use a positive number", name, rate)
		}
		b[name] = pace.New(rate)
	}
	return b, nil
}

// group gives the group by which a verdict is counted.
func (b bandwidth) group(v *policy.Verdict) *pace.Group {
	return b[cmp.Or(v.Group, policy.NoGroup)]
}

// join gives a tunnel its part of its group's bandwidth; nil where that has no
// limit. leave must follow.
func (b bandwidth) join(client netip.Addr, v *policy.Verdict) *pacer {
	group := b.group(v)
	if group == nil {
		return nil
	}
	p := &pacer{client: clientKey(client), group: group}
	p.share.Store(group.Join(p.client))
	return p
}

// pacer is the part that one tunnel gets. A nil pacer limits nothing.
type pacer struct {
	client netip.Addr
	share  atomic.Pointer[pace.Share] // nil: no limit any more

	mu    sync.Mutex
	group *pace.Group
	left  bool
}

// Take is relay.Pacer's.
func (p *pacer) Take(up bool, n int, over <-chan struct{}) int {
	share := p.share.Load()
	if share == nil {
		return n
	}
	return share.Take(up, n, over)
}

// follow goes over to another group; nil: one without a limit. A wait that is
// under way goes on in the old one.
func (p *pacer) follow(group *pace.Group) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.left || group == p.group {
		return
	}
	p.group = group
	var share *pace.Share
	if group != nil {
		share = group.Join(p.client)
	}
	if old := p.share.Swap(share); old != nil {
		old.Leave()
	}
}

func (p *pacer) leave() {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.left = true
	if share := p.share.Load(); share != nil {
		share.Leave()
	}
}

// pay waits until n bytes may be moved, all of them; false where over is closed
// before.
func (p *pacer) pay(up bool, n int, over <-chan struct{}) bool {
	if p == nil {
		return true
	}
	for n > 0 {
		granted := p.Take(up, n, over)
		if granted == 0 {
			return false
		}
		n -= granted
	}
	return true
}

// pacedPiece is how much of a body is moved at a time that is paced.
const pacedPiece = 32 << 10

// pacedBody is a body of a plain exchange that moves at the group's pace. What
// has been read and is not yet granted is held back.
type pacedBody struct {
	io.ReadCloser
	passage *passage
	up      bool
}

// Read reads as the body does.
func (b *pacedBody) Read(data []byte) (int, error) {
	n, err := b.ReadCloser.Read(data[:min(len(data), pacedPiece)])
	if !b.passage.pacer.pay(b.up, n, b.passage.over) {
		if !b.up { // else it is not ours to write: the answer is read meanwhile
			b.passage.broken = true
		}
		return 0, io.ErrClosedPipe
	}
	return n, err
}

// paced is body at the pace of the exchange's group, if that has one.
func (p *passage) paced(body io.ReadCloser, up bool) io.ReadCloser {
	if p.pacer == nil {
		return body
	}
	return &pacedBody{ReadCloser: body, passage: p, up: up}
}
