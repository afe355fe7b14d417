package proxy

// blockBytes is how much of a body, or of what is thrown away, is read at a
// time.
const blockBytes = 32 << 10

type block [blockBytes]byte
