package gateway

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestCheckLogs: check says what serve would stumble over, and leaves everything
// as it is.
func TestCheckLogs(t *testing.T) {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	writeFile(t, in("policy.yaml"), memo)
	torn := `{"half":"a li`
	writeFile(t, in("there.log"), torn) // serve would end this line
	for _, err := range []error{
		os.Chtimes(in("there.log"), time.Unix(1585411200, 0), time.Unix(1585411200, 0)),
		os.Mkdir(in("folder"), 0o700),
		os.Mkdir(in("closed"), 0o500),
		syscall.Mkfifo(in("pipe"), 0o600),
		os.WriteFile(in("readonly.log"), nil, 0o400),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	before := tree(t, dir)
	root := os.Geteuid() == 0 // whom no mode keeps out
	for _, test := range []struct {
		file, want string
		asRoot     bool
	}{
		{"there.log", "", true},
		{"new.log", "", true},
		{"folder/new.log", "", true},
		{"/dev/null", "", true},
		{"/var/log/no-such-sallyport/new.log", "", true}, // its unit makes the folder
		{"none/new.log", `there is no folder "` + in("none") + `": make it`, true},
		{"folder", "is a folder: name a file in it", true},
		{"pipe", "is a pipe that nobody reads", true},
		{"there.log/new.log", "cannot be written: not a directory: make it writable", true},
		{"readonly.log", "permission denied", false},
		{"closed/new.log", "no file can be made in folder", false},
	} {
		if root && !test.asRoot {
			continue
		}
		for setting, text := range map[string]string{
			"audit.file":        "policy: policy.yaml\naudit: {file: %q}\n",
			"proxy.access_logs": "policy: policy.yaml\nproxy: {access_logs: [{file: %q}]}\n",
		} {
			config := filepath.Join(t.TempDir(), "sallyport.yaml")
			file := test.file
			if !filepath.IsAbs(file) {
				file = in(file)
			}
			writeFile(t, config, fmt.Sprintf(strings.Replace(text, "policy.yaml", in("policy.yaml"), 1), file))
			_, problems := CheckConfig(config)
			if test.want == "" {
				if len(problems) > 0 {
					t.Errorf("%s %s: %v", setting, test.file, problems)
				}
				continue
			}
			if len(problems) != 1 || !problems.HasErrors() || problems[0].Line != 2 || !strings.HasPrefix(problems[0].Message, setting+": ") || !strings.Contains(problems[0].Message, test.want) {
				t.Errorf("%s %s: got %v, want %s", setting, test.file, problems, test.want)
			}
		}
	}
	if after := tree(t, dir); after != before {
		t.Errorf("check has left\n%s\nof\n%s", after, before)
	}
}

// tree is everything in a folder, with sizes and times.
func tree(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		fmt.Fprintln(&b, path, info.Mode(), info.Size(), info.ModTime().UnixNano())
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}
