package coaching

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"

	"go.uber.org/zap"
)

// brokenSuffix stands behind the name of a journal that was moved aside.
const brokenSuffix = ".broken"

// readJournal gives the grants of a journal that were not ended by hand, in
// the order in which they were given. There is none where there is no journal.
func readJournal(path string, limit int, log *zap.Logger) ([]Grant, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open the journal of grants: %w: let the user that the gateway runs as own it", err)
	}
	grants, torn, broken := parseJournal(f, limit)
	if err := f.Close(); err != nil && broken == nil {
		broken = err
	}
	if broken != nil {
		if err := os.Rename(path, path+brokenSuffix); err != nil {
			return nil, fmt.Errorf("the journal of grants is broken (%w), and cannot be moved aside: %w: remove it", broken, err)
		}
		log.Error("the journal of grants is broken: no grant of it holds; those concerned are warned again and may continue again",
			zap.String("file", path), zap.String("moved_to", path+brokenSuffix), zap.Error(broken))
		return nil, nil
	}
	if torn {
		log.Warn("the journal of grants ends in half a line: what the line would have said was never confirmed to anybody", zap.String("file", path))
	}
	return grants, nil
}

// parseJournal reads lines. The last one is torn where it has no end: the
// machine stopped while it was written.
func parseJournal(from io.Reader, limit int) (grants []Grant, torn bool, err error) {
	lines := bufio.NewReaderSize(from, maxLine)
	index := map[string]int{} // of an id in grants
	for number := 1; ; number++ {
		text, err := lines.ReadSlice('\n')
		switch {
		case errors.Is(err, io.EOF):
			return withoutEnded(grants), len(text) > 0, nil
		case errors.Is(err, bufio.ErrBufferFull):
			return nil, false, fmt.Errorf("line %d is longer than %d bytes", number, maxLine)
		case err != nil:
			return nil, false, err
		case number > maxLines(limit):
			return nil, false, fmt.Errorf("it has more than %d lines", maxLines(limit))
		}
		text = bytes.TrimSuffix(text, []byte("\n"))
		if number == 1 {
			if string(text) != journalHeader {
				return nil, false, errors.New("line 1: not a journal of grants, or of another version of this program")
			}
			continue
		}
		l, err := parseLine(text)
		if err != nil {
			return nil, false, fmt.Errorf("line %d: %w", number, err)
		}
		if l.Grant == nil {
			if at, known := index[l.Ended]; known {
				grants[at] = Grant{}
				delete(index, l.Ended)
			}
			continue
		}
		if at, twice := index[l.Grant.ID]; twice {
			grants[at] = l.Grant.grant()
			continue
		}
		index[l.Grant.ID] = len(grants)
		grants = append(grants, l.Grant.grant())
	}
}

// withoutEnded leaves out the places of grants that were ended.
func withoutEnded(grants []Grant) []Grant {
	kept := grants[:0]
	for _, g := range grants {
		if g.ID != "" {
			kept = append(kept, g)
		}
	}
	return kept
}
