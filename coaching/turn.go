package coaching

import (
	"errors"

	"go.uber.org/zap"
)

// Two processes have the journal while one takes over from the other. The old
// one writes it until it lets go of it; the new one knows what was in it when it
// began, and reads it again when its turn comes.

func isClosed(turn <-chan struct{}) bool {
	select {
	case <-turn:
		return true
	default:
		return false
	}
}

// wait notes that the journal, with what it holds at first, is another
// process's. Nobody knows the store yet.
func (s *Store) wait(first []Grant) {
	s.quiet = true
	s.before = make(map[string]bool, len(first))
	for i := range first {
		s.before[first[i].ID] = true
	}
}

// catchUp takes over what the other process has changed since: what it was
// given, and what was revoked there. What was given or revoked here meanwhile
// stands.
func (s *Store) catchUp() {
	if s.before == nil {
		return
	}
	kept, err := readJournal(s.config.File, s.config.Limit, s.log)
	if err != nil {
		s.log.Error("the journal of grants cannot be read again: what the process before has granted at last is asked for anew", zap.Error(err))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	there := make(map[string]bool, len(kept))
	for _, g := range kept {
		there[g.ID] = true
		if !s.before[g.ID] && s.byKey[g.Key] == nil {
			s.put(g) // one that has ended is swept up with the others
		}
	}
	for id := range s.before {
		if h := s.byID[id]; h != nil && !there[id] && err == nil {
			s.drop(h)
		}
	}
	s.before, s.quiet = nil, false
}

// errNotOurs is why a process that ends before its turn writes nothing.
var errNotOurs = errors.New("the process before is writing the journal of grants still")

// giveUp tells those who wait that their changes are not on disk.
func (j *journal) giveUp() {
	j.mu.Lock()
	lost, waiting := j.lines, j.waiting
	j.stopped, j.waiting = true, nil
	j.mu.Unlock()
	for _, reply := range waiting {
		reply <- errNotOurs
	}
	if lost > 0 {
		j.log.Warn("grants of the last moments are forgotten: the process before never let go of their journal", zap.String("file", j.path), zap.Int("changes", lost))
	}
}
