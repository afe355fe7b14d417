package audit

import (
	"crypto/rand"
	"strconv"
	"strings"
)

// ids makes names for decisions that came without: short, fit for a URL, forty
// random bits that stand for this run of the process, and a counter. One
// goroutine uses it.
type ids struct {
	prefix string
	last   uint64
}

func newIDs() *ids { return &ids{prefix: strings.ToLower(rand.Text()[:8]) + "-"} }

// append writes the next name behind b.
func (i *ids) append(b []byte) []byte {
	i.last++
	return strconv.AppendUint(append(b, i.prefix...), i.last, 36)
}
