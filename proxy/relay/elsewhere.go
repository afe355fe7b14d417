//go:build !linux

package relay

// What only Linux does is not done here: no end is bare, so that every way
// waits for a stream, is never parked, and has no use for a pipe.

type (
	parking struct{}
	ticket  struct{}
	calls   struct{}
	pipe    struct{}
	pipes   struct{}
)

func newEnd(stream Stream) end { return end{stream: stream} }

func newParking() (*parking, error) { return &parking{}, nil }
func (*parking) run()               {}
func (*parking) close() error       { return nil }
func (*parking) forget(*Flow)       {}
func (*parking) remove(*end)        {}
func (*Flow) park(*way, bool) bool  { return false }
func (*Flow) guard()                {}

func (*pipe) empty([]byte) bool { return false }

func newPipes(int) *pipes      { return &pipes{} }
func (*pipes) put(*pipe, bool) {}
func (*pipes) trim()           {}
func (*pipes) close()          {}

func (*calls) bind(*mover) {}

func (m *mover) fetch() ending                { return m.fetchStream() }
func (m *mover) write(p []byte) (int, ending) { return m.writeStream(p) }
func (m *mover) drain() (int, ending)         { return 0, writeFailed }
