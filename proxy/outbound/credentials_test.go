package outbound

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestReadCredentials(t *testing.T) {
	for text, want := range map[string]string{
		"alex:apogee":         "Basic YWxleDphcG9nZWU=",
		"alex:apogee\n":       "Basic YWxleDphcG9nZWU=",
		"alex:apogee\r\n":     "Basic YWxleDphcG9nZWU=",
		"alex:apo:gee\n":      "Basic YWxleDphcG86Z2Vl",
		"alex:\n":             "Basic YWxleDo=",
		"alex: spa ced \n":    "Basic YWxleDogc3BhIGNlZCA=",
		"corp\\alex:apogée\n": "Basic Y29ycFxhbGV4OmFwb2fDqWU=",
	} {
		c, err := ReadCredentials(secretFile(t, text), SchemeHTTP)
		if err != nil || c.basic() != want {
			t.Errorf("%q: %q, %v, want %q", text, c.basic(), err, want)
		}
		if shown := fmt.Sprintf("%v %+v %#v %s", c, c, c, c); strings.Contains(shown, "alex") {
			t.Errorf("shown as %s", shown)
		}
	}
	for text, want := range map[string]string{
		"":                               "user:password",
		"\n":                             "user:password",
		"alex\n":                         "user:password",
		":apogee\n":                      "user:password",
		"alex:apogee\nalex:other\n":      "one line",
		"alex:apogee\n\n":                "one line",
		"alex:apo\x00gee\n":              "one line",
		strings.Repeat("apogee:", 1<<10): "larger than",
	} {
		_, err := ReadCredentials(secretFile(t, text), SchemeHTTP)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v, want %q", text, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "apogee") {
			t.Errorf("%.40q: the password is in the error: %v", text, err)
		}
	}
}

func TestReadCredentialsThatOthersCanRead(t *testing.T) {
	path := secretFile(t, "alex:apogee")
	for _, mode := range []os.FileMode{0o640, 0o604, 0o660, 0o601} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadCredentials(path, SchemeHTTP); err == nil || !strings.Contains(err.Error(), "chmod 600 "+path) {
			t.Errorf("mode %#o: %v", mode, err)
		}
	}
	if err := os.Chmod(path, 0o400); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadCredentials(path, SchemeHTTP); err != nil {
		t.Error(err)
	}
	if _, err := ReadCredentials(filepath.Dir(path), SchemeHTTP); err == nil {
		t.Error("a folder is taken")
	}
}
