package linelog

import (
	"os"
	"path/filepath"
	"testing"
)

// TestTornLines: the last line is ended where its writer has died, and left to
// its writer where that is at work on it.
func TestTornLines(t *testing.T) {
	for _, test := range []struct {
		name   string
		before string
		others []string // what another process adds between two looks
		want   string
	}{
		{"empty", "", nil, ""},
		{"whole", "a\n", nil, "a\n"},
		{"torn", "a\nb", nil, "a\nb\n"},
		{"torn for as long as we look", "a\nb", []string{"", "", "", "", "", "late"}, "a\nb\n"},
		{"a block is being written", "a\nb", []string{"c\n"}, "a\nbc\n"},
		{"slowly", "a\nb", []string{"", "", "c", "d\n"}, "a\nbc"},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "log")
			if err := os.WriteFile(path, []byte(test.before), 0o600); err != nil {
				t.Fatal(err)
			}
			f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			looks := 0
			err = endTornLine(f, path, func() {
				if looks < len(test.others) {
					if _, err := f.WriteString(test.others[looks]); err != nil {
						t.Fatal(err)
					}
				}
				looks++
			})
			if err != nil {
				t.Fatal(err)
			}
			got, err := os.ReadFile(path)
			if err != nil || string(got) != test.want {
				t.Errorf("the file holds %q, %v, want %q", got, err, test.want)
			}
			if looks >= tornLooks {
				t.Errorf("%d looks", looks)
			}
		})
	}
}
