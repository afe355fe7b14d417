package policy

import (
	"net"
	"strings"

	"github.com/sallyport/sallyport/strictyaml"
)

// maxIdentifier bounds the names that a policy gives to its own things, in
// bytes: they become metric labels and header values.
const maxIdentifier = 64

// identifier checks a name that a policy gives to something of its own.
func identifier(v strictyaml.Value, noun, name string) {
	if name == "" || len(name) > maxIdentifier || !isAlphanumeric(name[0]) || strings.ContainsFunc(name, notIdentifier) {
		v.Errorf("%q cannot be the name of %s: use 1 to %d letters, digits, dots, hyphens and underscores, with a letter or digit first", name, noun, maxIdentifier)
	}
}

func isAlphanumeric(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

func notIdentifier(r rune) bool {
	return r >= 0x80 || !isAlphanumeric(byte(r)) && r != '.' && r != '-' && r != '_'
}

// isSlug reports whether s is lower-case words joined by single hyphens, as
// app ids and categories are.
func isSlug(s string) bool {
	for _, word := range strings.Split(s, "-") {
		if word == "" || strings.ContainsFunc(word, func(r rune) bool {
			return (r < 'a' || r > 'z') && (r < '0' || r > '9')
		}) {
			return false
		}
	}
	return len(s) <= maxIdentifier
}

// slug checks a name that must be a slug.
func slug(v strictyaml.Value, noun, name string) bool {
	if !isSlug(name) {
		v.Errorf("%q cannot be %s: use lower-case words joined by single hyphens, such as town-hall", name, noun)
		return false
	}
	return true
}

// CanonicalDevice is the one form of a device identity: lower case, and a MAC
// address in colon form however it was written. Whatever puts a device into an
// [Identity] gives it this form.
func CanonicalDevice(s string) string {
	const macBytes = 6
	if mac, err := net.ParseMAC(s); err == nil && len(mac) == macBytes {
		return mac.String()
	}
	return strings.ToLower(s)
}

// CanonicalUser is the one form of a user name: lower case. Whatever puts a
// user into an [Identity] gives it this form.
func CanonicalUser(s string) string { return strings.ToLower(s) }
