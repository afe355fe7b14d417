package cookie

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

const one, two = "00112233445566778899aabbccddeeff", "FFEEDDCCBBAA99887766554433221100"

func secretFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "cookie.secret")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestReadSecrets(t *testing.T) {
	got, err := ReadSecrets(secretFile(t, "# signs\r\n"+one+"\r\n\n  # going\n"+two))
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || got[0] != [16]byte(unhex(t, one)) || got[1] != [16]byte(unhex(t, two)) {
		t.Errorf("read %x", got)
	}
}

func TestBadSecretFiles(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"empty":            {"", "it has no secret: make one with openssl rand -hex 16"},
		"only a remark":    {"# later\n", "no secret"},
		"short":            {one + "\n" + one[2:] + "\n", "line 2 is not 32 hexadecimal digits"},
		"long":             {one + "00", "line 1 is not 32"},
		"odd":              {one[1:], "line 1 is not 32"},
		"another alphabet": {strings.Replace(one, "f", "g", 1), "line 1 is not 32"},
		"too many":         {strings.Repeat(one+"\n", maxSecrets+1), "line 17 is one secret too many"},
		"another file":     {strings.Repeat("#\n", maxFile), "is it the right file?"},
	} {
		t.Run(name, func(t *testing.T) {
			path := secretFile(t, c.text)
			_, err := ReadSecrets(path)
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), path) {
				t.Fatalf("error %v, want the path and %q", err, c.want)
			}
			if strings.Contains(err.Error(), one[2:20]) {
				t.Errorf("the error tells a secret: %v", err)
			}
		})
	}
}

func TestSecretFileThatOthersCanRead(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("modes tell nothing on Windows")
	}
	path := secretFile(t, one)
	for _, mode := range []os.FileMode{0o640, 0o604, 0o620, 0o601} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadSecrets(path); err == nil || !strings.Contains(err.Error(), "run chmod 600 "+path) {
			t.Errorf("mode %#o: %v, want an error with the remedy", mode, err)
		}
	}
	if err := os.Chmod(path, 0o400); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadSecrets(path); err != nil {
		t.Errorf("mode 0400: %v", err)
	}
}

func TestSecretFileThatIsNone(t *testing.T) {
	if _, err := ReadSecrets(t.TempDir()); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a folder: %v", err)
	}
	if _, err := ReadSecrets(filepath.Join(t.TempDir(), "absent")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an absent file: %v", err)
	}
}

func FuzzParseSecrets(f *testing.F) {
	f.Add([]byte(one + "\n" + two))
	f.Add([]byte("# \n\n"))
	f.Add([]byte("\x00\r\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		secrets, err := parseSecrets(data)
		if (err == nil) != (len(secrets) > 0) || len(secrets) > maxSecrets {
			t.Errorf("%d secrets and error %v", len(secrets), err)
		}
	})
}
