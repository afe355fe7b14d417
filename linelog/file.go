package linelog

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
)

// sink is where lines go: a file that this package opens and closes, or a
// writer that belongs to somebody else.
type sink struct {
	noun string
	path string // empty for somebody else's writer
	out  io.Writer
	file *os.File // nil for somebody else's writer
}

func openSink(noun, path string, stdout io.Writer) (*sink, error) {
	if path == "" {
		return &sink{noun: noun, out: stdout}, nil
	}
	s := &sink{noun: noun, path: path}
	f, err := s.openFile()
	if err != nil {
		return nil, err
	}
	s.file, s.out = f, f
	return s, nil
}

// reopen opens the path again, and only then lets go of the old file. It
// reports whether there is a new one, which an error does not rule out.
func (s *sink) reopen() (switched bool, err error) {
	if s.file == nil {
		return false, nil
	}
	f, err := s.openFile()
	if err != nil {
		return false, err
	}
	old := s.file
	s.file, s.out = f, f
	if err := old.Close(); err != nil {
		return true, fmt.Errorf("close the %s before rotation: %w", s.noun, err)
	}
	return true, nil
}

func (s *sink) close() error {
	if s.file == nil {
		return nil
	}
	if err := s.file.Close(); err != nil {
		return fmt.Errorf("close %s: %w", s.noun, err)
	}
	return nil
}

// openFile opens the file to append to it. Several processes may append to one
// file: every write is of whole lines.
func (s *sink) openFile() (*os.File, error) {
	// Without O_NONBLOCK a named pipe that nobody reads would hold the start
	// for ever; with it that is an error. Files do not mind.
	f, err := os.OpenFile(s.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY|syscall.O_NONBLOCK, 0o640)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", s.noun, err)
	}
	if err := endTornLine(f, s.path); err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", s.noun, err), f.Close())
	}
	return f, nil
}

// endTornLine ends the last line of a file whose writer died in the middle of
// it, so that our first entry gets a line of its own.
func endTornLine(f *os.File, path string) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() || info.Size() == 0 {
		return nil
	}
	r, err := os.Open(path)
	if err != nil {
		return nil // may be written and not read: then its end cannot be known
	}
	defer r.Close()
	var last [1]byte
	if _, err := r.ReadAt(last[:], info.Size()-1); err != nil || last[0] == '\n' {
		return nil // somebody else is at work on it, or all is well
	}
	_, err = f.Write([]byte("\n"))
	return err
}
