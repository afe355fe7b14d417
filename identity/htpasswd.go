package identity

import (
	"bytes"
	"errors"
	"fmt"
	"hash/maphash"
	"strings"

	"golang.org/x/crypto/bcrypt"
)

const (
	maxHtpasswd  = 16 << 20 // bytes; about 200,000 users
	maxProblems  = 20       // reported of one file
	bcryptLength = 60       // of a hash in its text form
	maxCost      = 15       // some two seconds of a CPU for one check
)

// Htpasswd is an immutable table of users and their bcrypt hashes. Safe for
// concurrent use.
type Htpasswd struct {
	hashes map[string][]byte // by user, lower case
	decoys [][]byte          // the same hashes, for users that do not exist
	seed   maphash.Seed
}

// LoadHtpasswd reads a file of lines "user:hash", as `htpasswd -B` writes
// them. Empty lines and lines that begin with # are skipped. User names are
// taken in lower case. It refuses hashes other than bcrypt ($2a$, $2b$, $2y$),
// a user named twice, an empty table, a file larger than 16 MiB, and a file
// that anybody but its owner can read or write. The error holds every problem,
// one a line, each with file and line; it never quotes a hash.
func LoadHtpasswd(path string) (*Htpasswd, error) {
	data, err := readSecretFile(path, "htpasswd file", maxHtpasswd)
	if err != nil {
		return nil, err
	}
	return parseHtpasswd(path, data)
}

// Len is the number of users.
func (h *Htpasswd) Len() int { return len(h.hashes) }

// parseHtpasswd reads the lines; name stands for the file in messages.
func parseHtpasswd(name string, data []byte) (*Htpasswd, error) {
	h := &Htpasswd{hashes: map[string][]byte{}, seed: maphash.MakeSeed()}
	firstLine := map[string]int{}
	var problems []error
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	number := 0
	for line := range bytes.Lines(data) {
		number++
		text := strings.TrimSpace(string(line))
		if text == "" || text[0] == '#' {
			continue
		}
		user, hash, err := parseHtpasswdLine(text)
		if first, ok := firstLine[user]; err == nil && ok {
			err = fmt.Errorf("user %q is on line %d already: delete one of the two", user, first)
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("%s:%d: %w", name, number, err))
			if len(problems) == maxProblems {
				return nil, errors.Join(append(problems, fmt.Errorf("%s: more problems follow", name))...)
			}
			continue
		}
		firstLine[user] = number
		h.hashes[user] = []byte(hash)
		h.decoys = append(h.decoys, h.hashes[user])
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	if len(h.hashes) == 0 {
		return nil, fmt.Errorf("%s: no users: add one with htpasswd -B %s NAME", name, name)
	}
	return h, nil
}

// parseHtpasswdLine reads one line that is neither empty nor a comment.
func parseHtpasswdLine(text string) (user, hash string, err error) {
	user, hash, ok := strings.Cut(text, ":")
	user = strings.TrimSpace(user)
	hash = strings.TrimSpace(hash)
	switch {
	case !ok:
		return "", "", errors.New("no colon: a line is user:hash")
	case user == "":
		return "", "", errors.New("the user name is empty: a line is user:hash")
	case len(user) > maxUser:
		return "", "", fmt.Errorf("the user name is longer than %d bytes", maxUser)
	case !printable([]byte(user)):
		return "", "", fmt.Errorf("the user name %q is not printable UTF-8", user)
	}
	user = canonicalUser(user)
	if err := checkHash(hash); err != nil {
		return "", "", fmt.Errorf("user %q: %w", user, err)
	}
	return user, hash, nil
}

// checkHash accepts what bcrypt can compare, and nothing that would fail or
// take for ever only once somebody signs in.
func checkHash(hash string) error {
	if hash == "" {
		return errors.New("the hash is empty: set a password with htpasswd -B")
	}
	version := hash[:min(4, len(hash))]
	if version != "$2a$" && version != "$2b$" && version != "$2y$" {
		return fmt.Errorf("the hash is %s, not bcrypt: set the password again with htpasswd -B", hashKind(hash))
	}
	if len(hash) != bcryptLength {
		return fmt.Errorf("a bcrypt hash has %d characters, not %d: set the password again with htpasswd -B", bcryptLength, len(hash))
	}
	cost, err := bcrypt.Cost([]byte(hash))
	if err != nil || hash[6] != '$' {
		return errors.New("the bcrypt hash names no cost from 4 to 31: set the password again with htpasswd -B")
	}
	if cost > maxCost {
		return fmt.Errorf("a bcrypt cost of %d keeps a CPU busy for seconds at every sign-in: use htpasswd -B -C %d or less", cost, maxCost)
	}
	for _, c := range []byte(hash[7:]) {
		if !isBcryptBase64(c) {
			return errors.New("the bcrypt hash holds a character that no hash has: set the password again with htpasswd -B")
		}
	}
	return nil
}

// hashKind names a format for people. It never repeats the hash.
func hashKind(hash string) string {
	for _, k := range []struct{ prefix, name string }{
		{"$apr1$", "MD5 (apr1)"},
		{"{SHA}", "SHA-1"},
		{"$1$", "MD5 (crypt)"},
		{"$5$", "SHA-256 (crypt)"},
		{"$6$", "SHA-512 (crypt)"},
		{"$argon2", "Argon2"},
		{"$2x$", "the faulty bcrypt variant 2x"},
		{"$2$", "the first bcrypt variant"},
	} {
		if strings.HasPrefix(hash, k.prefix) {
			return k.name
		}
	}
	return "DES crypt, plain text or unknown"
}

func isBcryptBase64(c byte) bool {
	return c == '.' || c == '/' || '0' <= c && c <= '9' || 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z'
}

// has reports whether the user is in the table.
func (h *Htpasswd) has(user string) bool { return h.hashes[user] != nil }

// verify computes bcrypt once and reports whether the password is the user's.
// For a user who does not exist it computes with the hash of another, always
// the same one for the same name, and says no: in time and in spread of costs
// an unknown name is like a known one.
func (h *Htpasswd) verify(user string, password []byte) bool {
	hash, known := h.hashes[user]
	if !known {
		hash = h.decoys[maphash.String(h.seed, user)%uint64(len(h.decoys))]
	}
	return bcrypt.CompareHashAndPassword(hash, password) == nil && known
}
