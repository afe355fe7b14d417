package identity

import (
	"net/netip"
	"sync"

	"github.com/sallyport/sallyport/policy"
)

// Peer is who a client has proven to be when it connected: by the names in its
// certificate, or by a signed id in its DNS-over-HTTPS path ([DeviceKeys]).
type Peer struct {
	User    string   // empty where the proof names no user
	Devices []string // may be empty; not changed, and not to be changed afterwards
	Source  string   // SourceCertificate or SourcePath
}

// ByPeer is the client at an address that has proven to be peer: with its
// devices, and with its user, who need not be in the htpasswd file, since the
// proof stands in place of a password. Where the proof names no user it is the
// one remembered at the address; the identity's source then says both, as in
// "certificate+remembered". A peer who has proven nothing is the client that
// [Resolver.ByAddr] gives. It does not allocate for a peer that was seen a
// short while ago.
func (r *Resolver) ByPeer(addr netip.Addr, peer Peer) policy.Subject {
	if peer.User == "" && len(peer.Devices) == 0 {
		return r.ByAddr(addr)
	}
	key := peerKey{addr: canonical(addr), user: peer.User, source: peer.Source}
	if key.user == "" {
		if seen, ok := r.remembered.at(key.addr); ok && seen.until > r.now() {
			key.user, key.remembered = seen.user, true
		}
	}
	if copy(key.devices[:], peer.Devices) < len(peer.Devices) {
		return r.subjects.Subject(key.identity(peer.Devices)) // more than are worth a place
	}
	if known, ok := r.peers.find(&key); ok && r.inForce(&known) {
		return known
	}
	subject := r.subjects.Subject(key.identity(peer.Devices))
	r.peers.keep(&key, &subject)
	return subject
}

// inForce reports whether a subject is of the policy in force. One of an
// earlier policy is no mistake, since a decision resolves it again, yet that
// costs more.
func (r *Resolver) inForce(known *policy.Subject) bool {
	bare := r.subjects.Subject(policy.Identity{Addr: known.Addr})
	return known.SameProgram(&bare)
}

// maxPeerDevices is how many devices a remembered peer has at most: more than
// a certificate usually names.
const maxPeerDevices = 4

// peerKey is everything that a peer's subject depends on but the policy.
type peerKey struct {
	addr       netip.Addr
	user       string
	devices    [maxPeerDevices]string
	source     string
	remembered bool // the user is not proven
}

// identity is what the key stands for, in the form in which policies hold it.
func (k *peerKey) identity(devices []string) policy.Identity {
	id := policy.Identity{Addr: k.addr, User: policy.CanonicalUser(k.user), Source: k.source}
	for _, d := range devices {
		id.Devices = append(id.Devices, policy.CanonicalDevice(d))
	}
	if k.remembered {
		id.Source += "+" + SourceRemembered
	}
	return id
}

const (
	peerShards   = 16
	maxShardPeer = 1024 // 16,384 peers in all, of some 400 bytes each
)

// peers holds the subjects of peers seen of late, so that a busy connection
// does not have the policy asked for who it is with every query. The zero value
// is ready for use. An entry that nobody asks for stays, and keeps nothing of
// its policy alive but which groups and rules are the peer's.
type peers struct {
	shards [peerShards]peerShard
}

type peerShard struct {
	mu    sync.RWMutex
	byKey map[peerKey]policy.Subject
	_     [32]byte // as in rememberShard
}

func (p *peers) find(key *peerKey) (policy.Subject, bool) {
	s := p.shard(key)
	s.mu.RLock()
	defer s.mu.RUnlock()
	known, ok := s.byKey[*key]
	return known, ok
}

// keep notes a subject. In a full shard it takes the place of any other: which
// one matters little, since all can be had again.
func (p *peers) keep(key *peerKey, subject *policy.Subject) {
	s := p.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byKey == nil {
		s.byKey = map[peerKey]policy.Subject{}
	}
	if _, known := s.byKey[*key]; !known && len(s.byKey) >= maxShardPeer {
		for victim := range s.byKey {
			delete(s.byKey, victim)
			break
		}
	}
	s.byKey[*key] = *subject
}

// shard spreads neighbours over the shards.
func (p *peers) shard(key *peerKey) *peerShard {
	b := key.addr.As16()
	return &p.shards[(b[15]^b[13]^b[7])%peerShards]
}
