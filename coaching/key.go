package coaching

import "github.com/sallyport/sallyport/keyfile"

// keyNoun is what messages call the file.
const keyNoun = "coaching key"

// Key signs tickets. Immutable; safe for concurrent use.
type Key struct{ secret [keyfile.Size]byte }

// NewKey makes a random key that nothing keeps: links signed with it are void
// after a restart.
func NewKey() *Key { return &Key{secret: keyfile.Random()} }

// ReadKey reads a key file, as package keyfile has them. The error names the
// file and what to do; it never quotes the key.
func ReadKey(path string) (*Key, error) {
	secret, err := keyfile.Read(keyNoun, path)
	if err != nil {
		return nil, err
	}
	return &Key{secret: secret}, nil
}

// MakeKey reads a key file, and makes it first where there is none. Of two
// processes that start at once both get the same key. Where the error wraps
// [keyfile.ErrNotMade] there was no file and none could be made; any other
// error is about a file that is there.
func MakeKey(path string) (*Key, error) {
	secret, err := keyfile.Make(keyNoun, path)
	if err != nil {
		return nil, err
	}
	return &Key{secret: secret}, nil
}
