package outbound

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/sallyport/sallyport/secretmode"
)

// maxCredentials bounds a file of credentials, in bytes.
const maxCredentials = 4 << 10

// Credentials are what a parent proxy is told of us. The zero value is none.
// They show themselves in no log and in no message.
type Credentials struct {
	user, password string
}

// String never holds a secret.
func (c Credentials) String() string { return "(credentials)" }

// GoString never holds one either.
func (c Credentials) GoString() string { return c.String() }

// ReadCredentials reads a file of one line, user:password, for a parent of that
// scheme. It refuses a file that anybody but its owner can read or write. The
// error names the file, never what is in it.
func ReadCredentials(path, scheme string) (Credentials, error) {
	file, err := os.Open(path)
	if err != nil {
		return Credentials{}, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return Credentials{}, err
	}
	if !info.Mode().IsRegular() {
		return Credentials{}, fmt.Errorf("%q is not a file: write user:password into one", path)
	}
	if !secretmode.Private(info) {
		return Credentials{}, fmt.Errorf("%q has mode %#o, which lets others than its owner at the password: run chmod 600 %s", path, info.Mode().Perm(), path)
	}
	data, err := io.ReadAll(io.LimitReader(file, maxCredentials+1))
	if err != nil {
		return Credentials{}, err
	}
	if len(data) > maxCredentials {
		return Credentials{}, fmt.Errorf("%q is larger than %d bytes: write one line, user:password", path, maxCredentials)
	}
	c, err := parseCredentials(string(data))
	if err != nil {
		return Credentials{}, fmt.Errorf("%q: %w", path, err)
	}
	if (scheme == SchemeSOCKS5 || scheme == SchemeSOCKS5H) && !c.fitSOCKS() {
		return Credentials{}, fmt.Errorf("%q: SOCKS takes a user name and a password of 1 to 255 bytes each", path)
	}
	return c, nil
}

func parseCredentials(text string) (Credentials, error) {
	line := strings.TrimSuffix(strings.TrimSuffix(text, "\n"), "\r")
	if strings.ContainsFunc(line, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return Credentials{}, errors.New("more than one line, or a control character: write one line, user:password")
	}
	user, password, found := strings.Cut(line, ":")
	if !found || user == "" {
		return Credentials{}, errors.New("no user:password: write one line with a colon between them")
	}
	return Credentials{user: user, password: password}, nil
}

// isZero reports whether there are none.
func (c Credentials) isZero() bool { return c.user == "" }

// basic is the value of a Proxy-Authorization field (RFC 7617 §2).
func (c Credentials) basic() string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(c.user+":"+c.password))
}

// fitSOCKS reports whether the credentials can be sent to a SOCKS parent
// (RFC 1929 §2).
func (c Credentials) fitSOCKS() bool {
	return len(c.user) <= 255 && len(c.password) > 0 && len(c.password) <= 255
}
