package blockpage

import (
	"strconv"
	"strings"
)

// Format is a form in which a Refusal can be shown.
type Format uint8

// The formats. Plain text is the zero value, because it suits whoever did not
// say what it can read: curl, git, a package installer.
const (
	FormatText Format = iota
	FormatHTML
	FormatJSON
)

// ContentType is the media type of the format.
func (f Format) ContentType() string {
	switch f {
	case FormatHTML:
		return "text/html; charset=utf-8"
	case FormatJSON:
		return "application/json"
	default:
		return "text/plain; charset=utf-8"
	}
}

// maxAccept bounds how much of an Accept header is read.
const maxAccept = 1024

// Negotiate chooses the format that an Accept header (RFC 9110 §12.5.1) likes
// best. Only types that are named count: a wildcard or no header at all gets
// plain text. Of types liked equally the one named first wins.
func Negotiate(accept string) Format {
	if len(accept) > maxAccept {
		accept = accept[:maxAccept]
	}
	best, bestQuality := FormatText, 0.0
	for element := range strings.SplitSeq(accept, ",") {
		mediaType, parameters, _ := strings.Cut(element, ";")
		format, known := formatOf(strings.ToLower(strings.TrimSpace(mediaType)))
		if !known {
			continue
		}
		if q := quality(parameters); q > bestQuality {
			best, bestQuality = format, q
		}
	}
	return best
}

// formatOf maps the media types that browsers and programs name to formats.
func formatOf(mediaType string) (format Format, known bool) {
	switch mediaType {
	case "text/html", "application/xhtml+xml":
		return FormatHTML, true
	case "application/json", "text/json":
		return FormatJSON, true
	case "text/plain":
		return FormatText, true
	default:
		return FormatText, false
	}
}

// quality reads the q parameter; 1 where there is none, 0 where it makes no
// sense.
func quality(parameters string) float64 {
	for parameter := range strings.SplitSeq(parameters, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(parameter), "=")
		if !strings.EqualFold(name, "q") {
			continue
		}
		q, err := strconv.ParseFloat(value, 64)
		if err != nil || !(q >= 0 && q <= 1) {
			return 0
		}
		return q
	}
	return 1
}
