package handover

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Program is what HandOver starts. It runs in this process's working directory,
// with its standard input, output and error.
type Program struct {
	Path string
	Args []string // the program's name first
	Env  []string // nil: this process's
}

// Self is this program, as it will be found on disk when it is started: where
// it was called by a path that leads through a link, the link is followed then,
// and not now. Call it when the process begins, before its file can have been
// replaced.
func Self() (Program, error) {
	if os.Getpid() == 1 {
		return Program{}, errors.New("this process is the first of its container, which ends with it: start a new container instead")
	}
	path, err := selfPath(os.Args[0])
	if err != nil {
		return Program{}, fmt.Errorf("find this program on disk: %w", err)
	}
	return Program{Path: path, Args: os.Args}, nil
}

// selfPath is the path by which this program was called, where that still leads
// to it, and the path of its file otherwise.
func selfPath(called string) (string, error) {
	executable, err := os.Executable()
	if err != nil {
		return "", err
	}
	path, err := exec.LookPath(called)
	if err != nil {
		return executable, nil
	}
	if path, err = filepath.Abs(path); err != nil {
		return executable, nil
	}
	calledFile, errCalled := os.Stat(path)
	ourFile, errOurs := os.Stat(executable)
	if errCalled != nil || errOurs != nil || !os.SameFile(calledFile, ourFile) {
		return executable, nil
	}
	return path, nil
}

// environment is the environment without what is meant for this process alone.
func (p Program) environment() []string {
	all := p.Env
	if all == nil {
		all = os.Environ()
	}
	var kept []string
	for _, variable := range all {
		name, _, _ := strings.Cut(variable, "=")
		switch name {
		case handoverVariable, listenPID, listenPIDID, listenFDs, listenFDName, watchdogPID:
		default:
			kept = append(kept, variable)
		}
	}
	return kept
}
