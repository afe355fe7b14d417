package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// pages are those whose commands are run, each page from its first to its
// last, beside a gateway that was started as `make run` starts it.
var pages = []string{"first-hour.md", "troubleshooting.md"}

// TestPages does what the pages tell people to do, and looks for what they are
// told they will see. It has the fixed ports of configs/sallyport.yaml to itself,
// in a network namespace whose only interface is loopback.
func TestPages(t *testing.T) {
	binary := sallyport(t)
	needRoot(t)
	ip, bash := need(t, "ip"), need(t, "bash")
	for _, program := range []string{"dig", "curl"} {
		need(t, program)
	}
	for _, page := range pages {
		t.Run(page, func(t *testing.T) {
			blocks := readPage(t, filepath.Join("..", "docs", page))
			dir := checkout(t, binary)
			space := loopbackOnly(t, ip)
			g := &gateway{dir: dir, child: spawn(t, dir, ip, "netns", "exec", space, "bin/sallyport", "serve", "--config", "configs/sallyport.yaml")}
			g.waitReady(t)
			for _, b := range blocks {
				try := func() error {
					return b.judge(run(t, dir, ip, "netns", "exec", space, bash, "-c", b.commands))
				}
				switch {
				case b.notRun != "":
				case b.eventually:
					eventually(t, fmt.Sprintf("%s:%d does what it says", page, b.line), try)
				default:
					if err := try(); err != nil {
						t.Fatalf("%s:%d: %v", page, b.line, err)
					}
				}
			}
		})
	}
}

// checkout is what the commands of a page find: the program and the shipped
// configuration, as after `make build`.
func checkout(t *testing.T, binary string) string {
	t.Helper()
	dir := t.TempDir()
	makeDir(t, filepath.Join(dir, "bin"))
	if err := os.Symlink(binary, filepath.Join(dir, "bin", "sallyport")); err != nil {
		t.Fatal(err)
	}
	makeDir(t, filepath.Join(dir, "configs"))
	for _, name := range []string{"sallyport.yaml", "policy.yaml"} {
		writeFile(t, filepath.Join(dir, "configs", name), []byte(readFile(t, filepath.Join("..", "configs", name))))
	}
	return dir
}

func loopbackOnly(t *testing.T, ip string) string {
	t.Helper()
	name := fmt.Sprintf("pages%d", os.Getpid())
	for _, args := range [][]string{{"netns", "add", name}, {"-n", name, "link", "set", "lo", "up"}} {
		if out, err := exec.Command(ip, args...).CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	t.Cleanup(func() {
		if out, err := exec.Command(ip, "netns", "del", name).CombinedOutput(); err != nil {
			t.Errorf("ip netns del %s: %v\n%s", name, err, out)
		}
	})
	return name
}

// recipe is a shell block of a page, with the text block that may follow it:
// lines that its output has, in that order, "…" standing for anything.
type recipe struct {
	line       int
	commands   string
	notRun     string // why not; empty: it is run
	eventually bool   // it shows the effect of an edit, which takes a moment
	want       []string
}

// judge holds what commands printed against what the page says. Where it says
// nothing they must succeed.
func (b *recipe) judge(got result) error {
	output := got.stdout + got.stderr
	if len(b.want) == 0 && got.code != 0 {
		return fmt.Errorf("status %d of:\n%s\n%s", got.code, b.commands, output)
	}
	rest := output
	for _, line := range b.want {
		pattern := regexp.MustCompile(`(?m)^` + strings.ReplaceAll(regexp.QuoteMeta(line), "…", ".*"))
		at := pattern.FindStringIndex(rest)
		if at == nil {
			return fmt.Errorf("%q is not where the page has it, in the output of:\n%s\n%s", line, b.commands, output)
		}
		rest = rest[at[1]:]
	}
	return nil
}

var fence = regexp.MustCompile("(?ms)^(?:<!-- (not run: [^\n]+|eventually) -->\n)?( *)```(sh|text|yaml|promql|toml|json)\n(.*?)^ *```$")

// readPage gives the shell blocks of a page.
func readPage(t *testing.T, path string) []recipe {
	t.Helper()
	page := readFile(t, path)
	var blocks []recipe
	shellEnd := -1
	for _, at := range fence.FindAllStringSubmatchIndex(page, -1) {
		part := func(i int) string {
			if at[2*i] < 0 {
				return ""
			}
			return page[at[2*i]:at[2*i+1]]
		}
		indentation := part(2)
		body := strings.ReplaceAll("\n"+part(4), "\n"+indentation, "\n")[1:]
		switch kind := part(3); {
		case kind == "sh":
			reason, _ := strings.CutPrefix(part(1), "not run: ")
			b := recipe{line: 1 + strings.Count(page[:at[0]], "\n"), commands: body, eventually: part(1) == "eventually"}
			if !b.eventually {
				b.notRun = reason
			}
			blocks = append(blocks, b)
			shellEnd = at[1]
		case kind == "text" && shellEnd >= 0 && strings.TrimSpace(page[shellEnd:at[0]]) == "":
			b := &blocks[len(blocks)-1]
			b.want = strings.Split(strings.TrimRight(body, "\n"), "\n")
		}
	}
	if len(blocks) == 0 {
		t.Fatalf("%s has no commands", path)
	}
	return blocks
}
