package gateway

import (
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"go.uber.org/zap"

	"github.com/sallyport/sallyport/keyfile"
	"github.com/sallyport/sallyport/policy"
	"github.com/sallyport/sallyport/privacy"
)

// pseudonymKeyFile is the name of the gateway's own key in the state folder.
const pseudonymKeyFile = "pseudonym.key"

// newMask is what the logs may say of people.
func (g *Gateway) newMask() (*privacy.Mask, error) {
	a := &g.config.Audit
	cfg := privacy.Config{Extents: a.Privacy, Rotate: a.Pseudonyms.Rotate}
	if a.Privacy.Pseudonyms() {
		key, err := g.pseudonymKey()
		if err != nil {
			return nil, err
		}
		cfg.Key = key
	}
	return privacy.New(cfg), nil
}

// pseudonymKey is the key that is configured, which must be there, or the
// gateway's own, which it makes. Where it cannot, pseudonyms hold until it
// stops.
func (g *Gateway) pseudonymKey() (*privacy.Key, error) {
	if file := g.config.Audit.Pseudonyms.Key; file != "" {
		key, err := privacy.ReadKey(file)
		if err != nil {
			return nil, fmt.Errorf("audit.pseudonyms.key: %w", err)
		}
		return key, nil
	}
	path := g.config.PseudonymKeyFile()
	key, err := privacy.MakeKey(path)
	if errors.Is(err, keyfile.ErrNotMade) {
		g.deps.Log.Named("audit").Warn("everybody will have another pseudonym after a restart, and sallyport pseudonym cannot tell whose those are: let the gateway write to its state folder, or name a key in audit.pseudonyms.key",
			zap.String("file", path), zap.Error(err))
		return privacy.NewKey(), nil
	}
	return key, err
}

// PseudonymKeyFile is where the key of pseudonyms is: the file that is
// configured, or the gateway's own, which is there once it has started.
func (c *Config) PseudonymKeyFile() string {
	if c.Audit.Pseudonyms.Key != "" {
		return c.Audit.Pseudonyms.Key
	}
	return filepath.Join(c.stateFolder(), pseudonymKeyFile)
}

// holderField is who holds a grant, for the log on standard error, as far as it
// may be known.
func holderField(mask *privacy.Mask, holder policy.Holder, at time.Time) zap.Field {
	const name = "holder"
	text, hidden := mask.AppendUser(nil, holder.User, at)
	if holder.User == "" {
		text, hidden = mask.AppendClient(nil, holder.Client, at)
	}
	if !hidden {
		return zap.Stringer(name, holder)
	}
	return zap.ByteString(name, text)
}
