package identity

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	maxUser     = 256 // bytes
	maxPassword = 512 // bytes; bcrypt itself reads the first 72
	maxPair     = maxUser + 1 + maxPassword
	maxEncoded  = (maxPair + 2) / 3 * 4
)

// pair is a user name and a password as the client sent them. It holds its
// bytes in place, so that a request whose credentials are known already is
// answered without allocation.
type pair struct {
	bytes [maxPair + 2]byte // base64 decodes in threes
	size  int
	colon int
}

// parse reads the value of a Proxy-Authorization header of the Basic scheme
// (RFC 7617 §2): the scheme's name in any case, and base64 of user, colon,
// password. The password may hold colons; neither may hold control characters,
// and both are UTF-8. Errors wrap ErrCredentials and never quote the input,
// which may be a password.
func (p *pair) parse(header string) error {
	scheme, encoded, _ := strings.Cut(header, " ")
	if !strings.EqualFold(scheme, "Basic") {
		return fmt.Errorf("%w: the scheme is not Basic", ErrCredentials)
	}
	encoded = strings.Trim(encoded, " ")
	if len(encoded) > maxEncoded {
		return fmt.Errorf("%w: longer than %d bytes", ErrCredentials, maxEncoded)
	}
	var source [maxEncoded]byte
	n := copy(source[:], encoded)
	// The decoder skips line breaks, which a header cannot hold anyway.
	if bytes.ContainsAny(source[:n], "\r\n") {
		return fmt.Errorf("%w: not base64", ErrCredentials)
	}
	size, err := base64.StdEncoding.Decode(p.bytes[:], source[:n])
	if err != nil {
		return fmt.Errorf("%w: not base64", ErrCredentials)
	}
	p.size = size
	p.colon = bytes.IndexByte(p.raw(), ':')
	switch {
	case p.colon < 0:
		return fmt.Errorf("%w: no colon between user and password", ErrCredentials)
	case p.colon == 0:
		return fmt.Errorf("%w: the user name is empty", ErrCredentials)
	case p.colon > maxUser:
		return fmt.Errorf("%w: the user name is longer than %d bytes", ErrCredentials, maxUser)
	case len(p.password()) > maxPassword:
		return fmt.Errorf("%w: the password is longer than %d bytes", ErrCredentials, maxPassword)
	case !printable(p.raw()):
		return fmt.Errorf("%w: not printable UTF-8", ErrCredentials)
	}
	return nil
}

// raw is "user:password". The first colon separates, so it stands for exactly
// one pair.
func (p *pair) raw() []byte { return p.bytes[:p.size] }

// user is the user name in the form in which policies and tables hold it.
func (p *pair) user() string { return canonicalUser(string(p.bytes[:p.colon])) }

func (p *pair) password() []byte { return p.bytes[p.colon+1 : p.size] }

// canonicalUser gives one user one name: lower case. Composed and decomposed
// accents stay different names, as they are in the file.
func canonicalUser(name string) string { return strings.ToLower(name) }

// printable reports whether b is UTF-8 without control characters.
func printable(b []byte) bool {
	for len(b) > 0 {
		r, size := utf8.DecodeRune(b)
		if r == utf8.RuneError && size == 1 || unicode.IsControl(r) {
			return false
		}
		b = b[size:]
	}
	return true
}
