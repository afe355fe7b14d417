package gateway

import (
	"crypto/sha256"

	"go.uber.org/zap"
)

// configWatch notices that sallyport.yaml has changed since the start. Nothing
// of it is taken over while running: listeners and limits are set up once. An
// administrator who edits it is told so, once for each edit.
type configWatch struct {
	path string // empty: there is no file
	log  *zap.Logger
	tell func(changed bool)

	started [sha256.Size]byte // what the file held at the start
	seen    [sha256.Size]byte // what it held at the last look
}

func newConfigWatch(path string, log *zap.Logger, tell func(changed bool)) *configWatch {
	c := &configWatch{path: path, log: log, tell: tell}
	c.started = c.sum()
	c.seen = c.started
	return c
}

// sum hashes the file; one that cannot be read hashes as nothing.
func (c *configWatch) sum() [sha256.Size]byte {
	data, _, err := readBounded(c.path, maxPolicyBytes)
	if err != nil {
		return [sha256.Size]byte{}
	}
	return sha256.Sum256(data)
}

// look compares the file with what it was at the last look.
func (c *configWatch) look() {
	if c.path == "" {
		return
	}
	now := c.sum()
	if now == c.seen {
		return
	}
	c.seen = now
	c.tell(now != c.started)
	if now == c.started {
		c.log.Info("the configuration is again what the gateway runs with", zap.String("file", c.path))
		return
	}
	fields := []zap.Field{zap.String("file", c.path)}
	if _, problems := ReadConfig(c.path); len(problems) > 0 {
		fields = append(fields, problemField(problems))
	}
	c.log.Warn("the configuration has changed: restart the gateway to apply it", fields...)
}
