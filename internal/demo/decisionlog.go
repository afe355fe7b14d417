package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"
)

// decisionLog is the gateway's decision log, as a program that follows it
// reads it. Entries are written a moment after the decision.
type decisionLog struct{ path string }

// logged is what the demo wants of an entry.
type logged struct {
	Door, User, Host, Rule, Event string
	ClosedBy                      string `json:"closed_by"`
	ClosedByRule                  string `json:"closed_by_rule"`
}

// end gives the place behind the last whole entry, for await to start from.
func (l *decisionLog) end() (int, error) {
	data, err := l.read()
	return bytes.LastIndexByte(data, '\n') + 1, err
}

// await waits for an entry behind from that fits.
func (l *decisionLog) await(ctx context.Context, from int, fits func(logged) bool) (logged, error) {
	ctx, cancel := context.WithTimeout(ctx, knockTimeout)
	defer cancel()
	for {
		data, err := l.read()
		if err != nil {
			return logged{}, err
		}
		for line := range bytes.Lines(data[min(from, len(data)):]) {
			var entry logged
			if json.Unmarshal(line, &entry) == nil && fits(entry) { // the last line may be half-written
				return entry, nil
			}
		}
		select {
		case <-ctx.Done():
			return logged{}, fmt.Errorf("wait for the decision log: %w", ctx.Err())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func (l *decisionLog) read() ([]byte, error) {
	data, err := os.ReadFile(l.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read the decision log: %w", err)
	}
	return data, nil
}
