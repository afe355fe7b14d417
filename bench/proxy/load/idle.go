//go:build linux

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// rest is how long a proxy may take to come to rest before it is weighed.
const rest = 2 * time.Second

// idle weighs a proxy before some tunnels are opened and while they are idle:
// rate is kilobytes for each. Afterwards every tunnel must still carry a byte.
func idle(s settings) (report, error) {
	var r report
	if len(s.pids) == 0 || s.idle == 0 {
		return r, fmt.Errorf("idle tunnels want their number and the proxy's processes")
	}
	light, err := weigh(s.pids)
	if err != nil {
		return r, err
	}
	held, err := s.hold(&r)
	defer func() {
		for _, conn := range held {
			reset(conn)
		}
	}()
	if err != nil {
		return r, err
	}
	time.Sleep(rest)
	heavy, err := weigh(s.pids)
	if err != nil {
		return r, err
	}
	for i, conn := range held {
		if err := echo(conn, token(i+1)); err != nil {
			r.note(fmt.Errorf("idle tunnel %d: %w", i, err))
			continue
		}
		r.n++
	}
	each := func(before, after int) float64 { return float64(after-before) / float64(s.idle) }
	r.rate = each(light.kilobytes, heavy.kilobytes)
	r.more = fmt.Sprintf("descriptors=%.2f", each(light.descriptors, heavy.descriptors))
	return r, nil
}

// weight is what processes take.
type weight struct{ kilobytes, descriptors int }

// weigh adds up resident memory and descriptors of processes and of all that
// they have started.
func weigh(pids []int) (weight, error) {
	var w weight
	for _, pid := range pids {
		dir := filepath.Join("/proc", strconv.Itoa(pid))
		kilobytes, err := resident(dir)
		if err != nil {
			return w, err
		}
		open, err := os.ReadDir(filepath.Join(dir, "fd"))
		if err != nil {
			return w, fmt.Errorf("count descriptors: %w", err)
		}
		w.kilobytes += kilobytes
		w.descriptors += len(open)
		children, err := weigh(childrenOf(dir))
		if err != nil {
			return w, err
		}
		w.kilobytes += children.kilobytes
		w.descriptors += children.descriptors
	}
	return w, nil
}

func resident(dir string) (int, error) {
	status, err := os.ReadFile(filepath.Join(dir, "status"))
	if err != nil {
		return 0, fmt.Errorf("weigh a process: %w", err)
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			return strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(rest), " kB"))
		}
	}
	return 0, fmt.Errorf("weigh a process: %s does not say", dir)
}

// childrenOf lists the processes that any thread of a process has started.
func childrenOf(dir string) []int {
	var all []int
	files, _ := filepath.Glob(filepath.Join(dir, "task", "*", "children")) // the pattern is good
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // the thread has ended
		}
		for word := range strings.FieldsSeq(string(text)) {
			if pid, err := strconv.Atoi(word); err == nil {
				all = append(all, pid)
			}
		}
	}
	return all
}
