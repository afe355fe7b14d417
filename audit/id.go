package audit

import (
	"crypto/rand"
	"strconv"
	"strings"
	"sync/atomic"
)

// ids makes names for decisions: forty random bits that stand for this run of
// the process, and a counter.
type ids struct {
	prefix string
	last   atomic.Uint64
}

func newIDs() *ids { return &ids{prefix: strings.ToLower(rand.Text()[:8]) + "-"} }

func (i *ids) next() string { return i.prefix + strconv.FormatUint(i.last.Add(1), 36) }

// append is next for a caller with a buffer.
func (i *ids) append(b []byte) []byte {
	return strconv.AppendUint(append(b, i.prefix...), i.last.Add(1), 36)
}
