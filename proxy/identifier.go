package proxy

import (
	"crypto/rand"
	"strconv"
	"sync/atomic"
)

// identifiers makes ids for decisions: a random part for the process and a
// running number, so that they are short, unique and fit for a URL.
type identifiers struct {
	prefix string
	count  atomic.Uint64
}

func newIdentifiers() *identifiers {
	return &identifiers{prefix: "p" + rand.Text()[:9] + "-"}
}

func (i *identifiers) next() string {
	return i.prefix + strconv.FormatUint(i.count.Add(1), 36)
}
