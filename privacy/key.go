package privacy

import "github.com/sallyport/sallyport/keyfile"

// keyNoun is what messages call the file.
const keyNoun = "pseudonym key"

// Key is what pseudonyms are made with: whoever has it can tell whom one stands
// for. Immutable; safe for concurrent use.
type Key struct{ secret [keyfile.Size]byte }

// NewKey makes a random key that nothing keeps: nobody can ever tell whom a
// pseudonym stands for that was made with it.
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

// MakeKey reads a key file, and makes it first where there is none. Where the
// error wraps [keyfile.ErrNotMade] there was no file and none could be made;
// any other error is about a file that is there.
func MakeKey(path string) (*Key, error) {
	secret, err := keyfile.Make(keyNoun, path)
	if err != nil {
		return nil, err
	}
	return &Key{secret: secret}, nil
}
