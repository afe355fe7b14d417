package e2e

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const (
	bigListNames = 1_000_000
	rssBudgetKB  = 80 << 10 // the budget of the process that serves with such a list
)

// TestBigList serves with a list of a million names, and measures what an
// admin would: how soon it answers after the start, and how much memory it
// holds then.
func TestBigList(t *testing.T) {
	binary := sallyport(t)
	policy := "version: 1\nlists:\n  threats: {file: threats.txt}\nrules:\n  - {name: threats, what: {lists: [threats]}, action: block, reason: on the list}\ndefault: allow\n"
	dir, config := configure(t, setting{Upstream: 9}, policy)
	names := bigList()
	writeFile(t, filepath.Join(dir, "threats.txt"), names)
	lines := bytes.Split(bytes.TrimSpace(names), []byte("\n"))
	wanted := string(lines[len(lines)/2])

	began := time.Now()
	g := &gateway{dir: dir, child: spawn(t, dir, binary, "serve", "--config", config)}
	g.waitReady(t)
	if err := g.refused(wanted + "."); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d names, %d MB of text: first refused answer %v after the start (budget 800 ms on two idle cores)",
		len(lines), len(names)>>20, time.Since(began).Round(time.Millisecond))

	for range 2000 {
		g.wantRefused(t, string(lines[rand.IntN(len(lines))])+".")
	}
	resident, peak := memory(t, g.cmd.Process.Pid)
	t.Logf("resident memory %d MB, at most %d MB so far (budget 80 MB while serving)", resident>>10, peak>>10)
	if resident > rssBudgetKB {
		t.Errorf("resident memory is %d KB, more than the budget of %d KB", resident, rssBudgetKB)
	}

	before := time.Now()
	g.rewrite(t, strings.Replace(policy, "default:", "  - {name: one-more, what: {domains: [one-more.example]}, action: block}\ndefault:", 1))
	eventually(t, "an edit of one rule is enforced", func() error { return g.refused("one-more.example.") })
	took := time.Since(before).Round(time.Millisecond)
	resident, peak = memory(t, g.cmd.Process.Pid)
	t.Logf("an edit of one rule was enforced %v after the write (budget 100 ms); resident memory then %d MB, at most %d MB", took, resident>>10, peak>>10)
}

// bigList writes names as such lists have them: one to three labels of a
// word-like kind under a common suffix. The seed is fixed, so that two runs
// compare.
func bigList() []byte {
	random := rand.New(rand.NewPCG(328, 2020))
	suffixes := []string{"com", "net", "org", "info", "xyz", "top", "co.uk", "ru", "example"}
	var text bytes.Buffer
	text.WriteString("# names that nobody needs\n")
	for i := range bigListNames {
		for range random.IntN(2) {
			fmt.Fprintf(&text, "%s.", word(random))
		}
		fmt.Fprintf(&text, "%s%x.%s\n", word(random), i, suffixes[random.IntN(len(suffixes))])
	}
	return text.Bytes()
}

func word(random *rand.Rand) []byte {
	const vowels, consonants = "aeiou", "bcdfghklmnprstvz"
	letters := make([]byte, 2*(1+random.IntN(4)))
	for i := range letters {
		letters[i] = consonants[random.IntN(len(consonants))]
		if i%2 == 1 {
			letters[i] = vowels[random.IntN(len(vowels))]
		}
	}
	return letters
}

// memory gives the resident memory of a process now, and its peak, in KB.
func memory(t *testing.T, pid int) (resident, peak int) {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Skipf("this system does not tell the memory of a process: %v", err)
	}
	for line := range strings.Lines(string(status)) {
		_, _ = fmt.Sscanf(line, "VmRSS: %d kB", &resident) // other lines do not fit, and need not
		_, _ = fmt.Sscanf(line, "VmHWM: %d kB", &peak)
	}
	return resident, peak
}
