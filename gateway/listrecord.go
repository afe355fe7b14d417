package gateway

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"
	"unicode"
)

// Bounds on what is kept beside a list. A server that sends a longer validator
// is asked without one.
const (
	maxRecordBytes = 64 << 10
	maxValidator   = 1 << 10
)

// listRecord says what the copy of a list by URL is: one JSON file beside the
// data, and the only way to it.
type listRecord struct {
	URL          string    `json:"url"`
	Data         string    `json:"data"` // name of the file that holds the list, beside this one
	SHA256       string    `json:"sha256"`
	Size         int64     `json:"size"`
	Entries      int       `json:"entries"`
	ETag         string    `json:"etag,omitempty"`
	LastModified string    `json:"last_modified,omitempty"`
	Fetched      time.Time `json:"fetched"` // when these bytes came
	Checked      time.Time `json:"checked"` // when they were last known to be the newest
}

// parseRecord reads a record. What it says leads to a file and into request
// headers, so that a damaged or forged one is refused.
func parseRecord(data []byte) (*listRecord, error) {
	if len(data) > maxRecordBytes {
		return nil, fmt.Errorf("the record has more than %d bytes", maxRecordBytes)
	}
	var r listRecord
	decoder := json.NewDecoder(bytes.NewReader(data))
	if err := decoder.Decode(&r); err != nil {
		return nil, fmt.Errorf("the record is no JSON: %w", err)
	}
	if decoder.More() {
		return nil, errors.New("the record goes on behind its end")
	}
	digest, err := hex.DecodeString(r.SHA256)
	switch {
	case err != nil || len(digest) != 32 || strings.ToLower(r.SHA256) != r.SHA256:
		return nil, errors.New("the record has no digest")
	case r.Data == "" || r.Data == "." || r.Data == ".." || filepath.Base(r.Data) != r.Data || strings.ContainsFunc(r.Data, unicode.IsControl):
		return nil, fmt.Errorf("the record names %q, which is no file beside it", r.Data)
	case r.Size <= 0 || r.Size > maxListBytes || r.Entries <= 0:
		return nil, errors.New("the record is of an empty list, or of one that is too long")
	case r.URL == "" || !isValidator(r.ETag) || !isValidator(r.LastModified):
		return nil, errors.New("the record does not say where the list came from")
	}
	return &r, nil
}

// encode writes the record as parseRecord reads it.
func (r *listRecord) encode() ([]byte, error) {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write the record of a list: %w", err)
	}
	return append(data, '\n'), nil
}

// isValidator reports whether text may stand in a request header (RFC 9110
// §8.8), or is not there at all.
func isValidator(text string) bool {
	return len(text) <= maxValidator && !strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r >= 0x7f })
}
