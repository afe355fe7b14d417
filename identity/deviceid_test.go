package identity

import (
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Two keys in the forms that a file may hold: hexadecimal, and base64 of the
// bytes 1 to 32.
const (
	firstKey  = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
	secondKey = "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA="
)

func deviceKeys(t testing.TB, lines ...string) *DeviceKeys {
	t.Helper()
	k, err := parseDeviceKeys("keys", []byte(strings.Join(lines, "\n")))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func sign(t testing.TB, k *DeviceKeys, device string) string {
	t.Helper()
	id, err := k.Sign(device)
	if err != nil {
		t.Fatalf("sign %q: %v", device, err)
	}
	return id
}

// The expected ids were computed by another program:
//
//	printf 'sallyport device id 1\0laptop-17' |
//	    openssl dgst -sha256 -mac HMAC -macopt hexkey:0001…1e1f -binary |
//	    head -c 16 | base32 | tr A-Z a-z | tr -d =
func TestDeviceIDsAreStable(t *testing.T) {
	for _, test := range []struct{ key, device, want string }{
		{firstKey, "laptop-17", "laptop-17.ebdmzilshuv6sih7j5ela5wp64"},
		{secondKey, "laptop-17", "laptop-17.cl7tenz7up7yrm36yajgaomzo4"},
	} {
		if got := sign(t, deviceKeys(t, test.key), test.device); got != test.want {
			t.Errorf("Sign(%q) = %s, want %s: ids in use would cease to work", test.device, got, test.want)
		}
	}
}

func TestSignAndVerify(t *testing.T) {
	k := deviceKeys(t, firstKey)
	for _, test := range []struct{ signed, name, device string }{
		{"laptop-17", "laptop-17", "laptop-17"},
		{"Laptop-17.Corp.Example", "laptop-17.corp.example", "laptop-17.corp.example"},
		{"AA:BB:CC:DD:EE:0F", "aa-bb-cc-dd-ee-0f", "aa:bb:cc:dd:ee:0f"},
		{"aa-bb-cc-dd-ee-0f", "aa-bb-cc-dd-ee-0f", "aa:bb:cc:dd:ee:0f"},
		{"aabb.ccdd.ee0f", "aa-bb-cc-dd-ee-0f", "aa:bb:cc:dd:ee:0f"},
		{"a", "a", "a"},
		{"7..x", "7..x", "7..x"},
		{strings.Repeat("x", maxDevice), strings.Repeat("x", maxDevice), strings.Repeat("x", maxDevice)},
	} {
		id := sign(t, k, test.signed)
		if name := id[:strings.LastIndexByte(id, '.')]; name != test.name {
			t.Errorf("Sign(%q) = %s, want the name %s in it", test.signed, id, test.name)
		}
		for _, form := range []string{id, strings.ToUpper(id)} {
			if device, ok := k.Verify(form); !ok || device != test.device {
				t.Errorf("Verify(%q) = %q, %v; want %q", form, device, ok, test.device)
			}
		}
	}
}

func TestSignRefusesNames(t *testing.T) {
	k := deviceKeys(t, firstKey)
	for _, device := range []string{"", ".", "..", "-x", "_x", ".x", "a b", "a/b", "a%2fb", "a?b", "é", "a\x00", strings.Repeat("x", maxDevice+1), "02:00:5e:10:00:00:00:01"} {
		if id, err := k.Sign(device); !errors.Is(err, ErrDeviceName) {
			t.Errorf("Sign(%q) = %q, %v; want ErrDeviceName", device, id, err)
		}
	}
}

func TestVerifyRefuses(t *testing.T) {
	k := deviceKeys(t, firstKey)
	id := sign(t, k, "laptop-17")
	tag := id[strings.LastIndexByte(id, '.')+1:]
	for name, forged := range map[string]string{
		"nothing":                "",
		"no tag":                 "laptop-17",
		"empty tag":              "laptop-17.",
		"no name":                "." + tag,
		"tag alone":              tag,
		"another device":         "laptop-18." + tag,
		"a longer name":          "laptop-17.x." + tag,
		"a shorter tag":          id[:len(id)-1],
		"a longer tag":           id + "a",
		"another key":            sign(t, deviceKeys(t, secondKey), "laptop-17"),
		"spare bits of the tag":  id[:len(id)-1] + string(id[len(id)-1]^1),
		"padding":                id + "======",
		"a name that is no name": "-." + tag,
		"far too long":           strings.Repeat("x", 1<<20) + "." + tag,
	} {
		if device, ok := k.Verify(forged); ok {
			t.Errorf("%s: %.80q was taken for %q", name, forged, device)
		}
	}
	// Every single change is noticed.
	for i := range len(id) {
		changed := []byte(id)
		changed[i] = 'a' + (changed[i]+1)%26
		if string(changed) == id {
			continue
		}
		if device, ok := k.Verify(string(changed)); ok {
			t.Errorf("%q was taken for %q", changed, device)
		}
	}
}

// A new key stands first, and signs; ids of the one before stay good until its
// line is deleted.
func TestRotation(t *testing.T) {
	old := deviceKeys(t, firstKey)
	both := deviceKeys(t, "# since April", secondKey, "", firstKey)
	alone := deviceKeys(t, secondKey)
	before, after := sign(t, old, "laptop-17"), sign(t, both, "laptop-17")
	if after != sign(t, alone, "laptop-17") {
		t.Error("the first line does not sign")
	}
	for _, test := range []struct {
		name string
		keys *DeviceKeys
		id   string
		want bool
	}{
		{"old id, both keys", both, before, true},
		{"new id, both keys", both, after, true},
		{"old id, new key", alone, before, false},
		{"new id, old key", old, after, false},
	} {
		if _, ok := test.keys.Verify(test.id); ok != test.want {
			t.Errorf("%s: %v, want %v", test.name, ok, test.want)
		}
	}
}

func TestDeviceKeyForms(t *testing.T) {
	want := sign(t, deviceKeys(t, secondKey), "x")
	raw, err := base64.StdEncoding.DecodeString(secondKey)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"hexadecimal":             "0102030405060708090a0b0c0d0e0f101112131415161718191A1B1C1D1E1F20",
		"base64url, bare":         base64.RawURLEncoding.EncodeToString(raw),
		"spaces, a carriage":      "  " + secondKey + " \r",
		"after a byte order mark": "\ufeff" + secondKey,
	} {
		if got := sign(t, deviceKeys(t, text), "x"); got != want {
			t.Errorf("%s: another key was read", name)
		}
	}
}

func TestBadDeviceKeys(t *testing.T) {
	for _, test := range []struct{ name, file, want string }{
		{"empty", "", "keys: no keys: make a file with sallyport device key"},
		{"comments alone", "# none yet\n\n", "keys: no keys"},
		{"too short", firstKey[2:], "keys:1: a key of 31 bytes: it must have from 32 to 64"},
		{"too long", strings.Repeat("ab", 65), "keys:1: a key of 65 bytes"},
		{"neither form", "correct horse battery staple", "keys:1: neither hexadecimal nor base64"},
		{"twice", secondKey + "\n" + firstKey + "\n" + secondKey, "keys:3: this key is in the file already"},
		{"too many", manyKeys(maxDeviceKeys + 1), "keys:17: more than 16 keys"},
		{"every problem", "x!\n" + firstKey + "\ny!", "keys:3: neither"},
	} {
		_, err := parseDeviceKeys("keys", []byte(test.file))
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", test.name, err, test.want)
		}
		if err != nil && (strings.Contains(err.Error(), firstKey[2:]) || strings.Contains(err.Error(), "horse")) {
			t.Errorf("%s: the error quotes the key: %v", test.name, err)
		}
	}
}

func manyKeys(n int) string {
	var lines []string
	for range n {
		lines = append(lines, NewDeviceKey())
	}
	return strings.Join(lines, "\n")
}

func TestLoadDeviceKeys(t *testing.T) {
	path := filepath.Join(t.TempDir(), "device.key")
	if err := os.WriteFile(path, []byte(NewDeviceKey()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	k, err := LoadDeviceKeys(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := k.Verify(sign(t, k, "laptop-17")); !ok {
		t.Error("a new key does not know what it has signed")
	}
	for mode, want := range map[os.FileMode]string{
		0o640: "mode 0640 lets others than its owner at the secrets in it: run chmod 600",
		0o602: "mode 0602",
		0o400: "",
	} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		_, err := LoadDeviceKeys(path)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("mode %v: %v, want %q", mode, err, want)
		}
	}
	if _, err := LoadDeviceKeys(path + "x"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	if _, err := LoadDeviceKeys(filepath.Dir(path)); err == nil {
		t.Error("a folder was read")
	}
}

// FuzzVerify finds no id that was not signed, and none that panics.
func FuzzVerify(f *testing.F) {
	k := deviceKeys(f, firstKey, secondKey)
	id := sign(f, k, "laptop-17")
	f.Add(id)
	f.Add(strings.ToUpper(id))
	f.Add(sign(f, k, "aa-bb-cc-dd-ee-ff"))
	f.Add("laptop-17.")
	f.Add("..")
	f.Fuzz(func(t *testing.T, id string) {
		device, ok := k.Verify(id)
		if !ok {
			if device != "" {
				t.Fatalf("Verify(%q) refused, and gave %q", id, device)
			}
			return
		}
		for _, key := range []string{firstKey, secondKey} {
			if sign(t, deviceKeys(t, key), device) == strings.ToLower(id) {
				return
			}
		}
		t.Fatalf("Verify(%q) = %q, which no key has signed", id, device)
	})
}
