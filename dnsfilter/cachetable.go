package dnsfilter

// cacheTable finds entries by hash: open addressing with linear probing, so
// that a hit touches one slot and the entry itself. Not safe for concurrent
// use.
type cacheTable struct {
	slots []cacheSlot // a power of two of them, a quarter of which stay free
	count int
}

type cacheSlot struct {
	hash  uint64
	entry *entry // nil: free
}

const minSlots = 16

// find returns the entry for a key, nil where there is none.
func (t *cacheTable) find(hash uint64, key []byte) *entry {
	if t.count == 0 {
		return nil
	}
	mask := uint64(len(t.slots) - 1)
	for at := hash & mask; ; at = (at + 1) & mask {
		s := &t.slots[at]
		if s.entry == nil {
			return nil
		}
		if s.hash == hash && s.entry.key == string(key) {
			return s.entry
		}
	}
}

// insert adds an entry whose key is not there.
func (t *cacheTable) insert(e *entry) {
	if t.count >= len(t.slots)/4*3 {
		t.grow()
	}
	t.place(cacheSlot{hash: e.hash, entry: e})
	t.count++
}

func (t *cacheTable) place(s cacheSlot) {
	mask := uint64(len(t.slots) - 1)
	at := s.hash & mask
	for t.slots[at].entry != nil {
		at = (at + 1) & mask
	}
	t.slots[at] = s
}

func (t *cacheTable) grow() {
	old := t.slots
	t.slots = make([]cacheSlot, max(2*len(old), minSlots))
	for _, s := range old {
		if s.entry != nil {
			t.place(s)
		}
	}
}

// remove takes an entry out that is there, and moves those behind it up, so
// that no probe ends too early.
func (t *cacheTable) remove(e *entry) {
	mask := uint64(len(t.slots) - 1)
	free := e.hash & mask
	for t.slots[free].entry != e {
		free = (free + 1) & mask
	}
	for at := (free + 1) & mask; t.slots[at].entry != nil; at = (at + 1) & mask {
		// One may move up to the free slot unless its own place lies behind it.
		if home := t.slots[at].hash & mask; (at-home)&mask >= (at-free)&mask {
			t.slots[free] = t.slots[at]
			free = at
		}
	}
	t.slots[free] = cacheSlot{}
	t.count--
}
