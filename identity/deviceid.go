package identity

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sallyport/sallyport/policy"
)

const (
	maxDeviceKeyFile = 64 << 10 // bytes
	maxDeviceKeys    = 16       // each costs one HMAC for an id that none has signed
	minDeviceKey     = 32       // bytes: the size of the hash, as RFC 2104 §3 asks
	maxDeviceKey     = 64       // bytes: HMAC-SHA256 would hash a longer one first
	maxDevice        = 63       // of a device's name in an id, in bytes
	deviceTag        = 16       // bytes: 128 bits of the HMAC, as RFC 2104 §5 allows
)

// deviceContext stands before the name in what is signed, so that a key that
// is used for something else as well cannot be made to sign an id.
const deviceContext = "sallyport device id 1\x00"

// deviceEncoding has no characters that a URL must escape, and none that differ
// only by case.
var deviceEncoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// ErrDeviceName says that a name cannot stand in a device's id.
var ErrDeviceName = errors.New("a device's name has 1 to 63 letters, digits, dots, hyphens and underscores, with a letter or digit first; or it is a MAC address")

// DeviceKeys signs and verifies device ids: the last part of a DNS-over-HTTPS
// path (RFC 8484), by which a device says which one it is. An id is the
// device's name, a dot, and 128 bits of HMAC-SHA256 (RFC 2104) over the name in
// base32: whoever knows one id cannot make another. It is a secret of the
// device, as a password is, and like one it can be handed on; a client
// certificate cannot.
//
// The first key signs and every key verifies, so that a key can be replaced
// while ids of the one before are still in use. Immutable; safe for concurrent
// use.
type DeviceKeys struct {
	keys [][]byte
}

// LoadDeviceKeys reads a file of keys, one a line, the signing one first: 32 to
// 64 bytes in hexadecimal or base64. Empty lines and lines that begin with #
// are skipped. It refuses a file that anybody but its owner can read or write.
// The error holds every problem, one a line, with file and line; it never
// quotes a key.
func LoadDeviceKeys(path string) (*DeviceKeys, error) {
	data, err := readSecretFile(path, "device key file", maxDeviceKeyFile)
	if err != nil {
		return nil, err
	}
	return parseDeviceKeys(path, data)
}

// parseDeviceKeys reads the lines; name stands for the file in messages.
func parseDeviceKeys(name string, data []byte) (*DeviceKeys, error) {
	k := &DeviceKeys{}
	var problems []error
	number := 0
	for line := range bytes.Lines(bytes.TrimPrefix(data, []byte("\ufeff"))) {
		number++
		text := strings.TrimSpace(string(line))
		if text == "" || text[0] == '#' {
			continue
		}
		if len(k.keys) == maxDeviceKeys {
			problems = append(problems, fmt.Errorf("%s:%d: more than %d keys: delete those that no device uses any longer", name, number, maxDeviceKeys))
			break
		}
		key, err := parseDeviceKey(text)
		if err == nil && slices.ContainsFunc(k.keys, func(known []byte) bool { return bytes.Equal(known, key) }) {
			err = errors.New("this key is in the file already: delete one of the two")
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("%s:%d: %w", name, number, err))
			continue
		}
		k.keys = append(k.keys, key)
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	if len(k.keys) == 0 {
		return nil, fmt.Errorf("%s: no keys: make a file with sallyport device key --out FILE", name)
	}
	return k, nil
}

// parseDeviceKey reads one key. What can be read as hexadecimal is: a base64
// text of that length without any other letter does not come about by chance.
func parseDeviceKey(text string) ([]byte, error) {
	key, err := hex.DecodeString(text)
	for _, encoding := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding, base64.RawStdEncoding, base64.RawURLEncoding} {
		if err == nil {
			break
		}
		key, err = encoding.DecodeString(text)
	}
	switch {
	case err != nil:
		return nil, errors.New("neither hexadecimal nor base64: a line is one key, as sallyport device key writes it")
	case len(key) < minDeviceKey || len(key) > maxDeviceKey:
		return nil, fmt.Errorf("a key of %d bytes: it must have from %d to %d", len(key), minDeviceKey, maxDeviceKey)
	}
	return key, nil
}

// NewDeviceKey makes a random key in the form of a line of a key file.
func NewDeviceKey() string {
	var key [minDeviceKey]byte
	rand.Read(key[:]) // never fails: it crashes the process instead
	return hex.EncodeToString(key[:])
}

// Sign makes the id of a device with the first key. A MAC address may be
// written in any form and stands in the id with hyphens. The error is
// [ErrDeviceName].
func (k *DeviceKeys) Sign(device string) (id string, err error) {
	device = policy.CanonicalDevice(device)
	name := strings.ReplaceAll(device, ":", "-")
	// The second half: what Verify will give must be what a policy holds.
	if !isDeviceName(name) || policy.CanonicalDevice(name) != device {
		return "", ErrDeviceName
	}
	return name + "." + deviceTagOf(k.keys[0], name), nil
}

// Verify says which device an id belongs to, in the form in which a policy
// holds it ([policy.CanonicalDevice]), and whether one of the keys has signed
// it. Capital letters in the id are taken for small ones. How long it takes
// tells nothing about the signature.
func (k *DeviceKeys) Verify(id string) (device string, ok bool) {
	if len(id) > maxDevice+1+deviceEncoding.EncodedLen(deviceTag) {
		return "", false
	}
	id = strings.ToLower(id)
	dot := strings.LastIndexByte(id, '.')
	if dot < 0 || !isDeviceName(id[:dot]) {
		return "", false
	}
	name, tag := id[:dot], id[dot+1:]
	signed := 0
	for _, key := range k.keys {
		signed |= subtle.ConstantTimeCompare([]byte(deviceTagOf(key, name)), []byte(tag))
	}
	if signed == 0 {
		return "", false
	}
	return policy.CanonicalDevice(name), true
}

// deviceTagOf is what a key says to a name.
func deviceTagOf(key []byte, name string) string {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(deviceContext))
	h.Write([]byte(name))
	return deviceEncoding.EncodeToString(h.Sum(nil)[:deviceTag])
}

// isDeviceName reports whether s may stand in an id: in a path segment without
// escapes, and without being "." or "..".
func isDeviceName(s string) bool {
	if len(s) == 0 || len(s) > maxDevice || s[0] == '.' || s[0] == '-' || s[0] == '_' {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '.' && c != '-' && c != '_' {
			return false
		}
	}
	return true
}
