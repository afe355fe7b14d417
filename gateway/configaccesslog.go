package gateway

import (
	"path/filepath"

	"github.com/sallyport/sallyport/accesslog"
	"github.com/sallyport/sallyport/strictyaml"
)

// AccessLogConfig is one access log of the proxy door.
type AccessLogConfig struct {
	File      string
	Format    accesslog.Format
	KeepQuery bool // of URLs
}

// accessLogs reads a list of access logs.
func (f *configFile) accessLogs(v strictyaml.Value) {
	v.Items(f.accessLog)
}

func (f *configFile) accessLog(v strictyaml.Value) {
	if v.IsScalar() {
		if file, ok := v.Line(); ok {
			v.Errorf("an access log must be a mapping, and %q is a file: write {file: %s}", file, file)
		}
		return
	}
	log, format, query := AccessLogConfig{}, accesslog.FormatSquid.String(), "strip"
	at := v
	ok := v.Mapping(strictyaml.Shape{
		Noun: "access log",
		Fields: fields{
			"file":   func(v strictyaml.Value) { at = v; f.file(&log.File)(v) },
			"format": oneOf(&format, accesslog.FormatSquid.String(), accesslog.FormatCombined.String()),
			"query":  oneOf(&query, "strip", "keep"),
		},
		Required: []string{"file"},
	})
	if !ok || log.File == "" {
		return // which was said already
	}
	log.File = filepath.Clean(log.File)
	log.Format, _ = accesslog.ParseFormat(format) // one of the two, or the default
	log.KeepQuery = query == "keep"
	p := &f.config.Proxy
	for _, earlier := range p.AccessLogs {
		if earlier.File == log.File {
			at.Errorf("access log %q is written twice: lines of two logs in one file cannot be told apart; give one of them another file", log.File)
			return
		}
	}
	p.AccessLogs = append(p.AccessLogs, log)
	f.accessLogsAt = append(f.accessLogsAt, at.Position())
	f.later = append(f.later, func() {
		f.queryDoubts(&log, at)
		if audit := f.config.Audit.File; audit != "" && filepath.Clean(audit) == log.File {
			at.Errorf("%q is both an access log and audit.file: give one of them another file", log.File)
		}
	})
}
