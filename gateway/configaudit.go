package gateway

import (
	"time"

	"github.com/sallyport/sallyport/privacy"
	"github.com/sallyport/sallyport/strictyaml"
)

// AuditConfig is the decision log's part, and what every log says of people.
type AuditConfig struct {
	File   string // JSON lines; empty: standard output
	Allows string // none, sampled or all

	// Refusals is how many refusals are written: all, sampled or none.
	Refusals string

	Privacy    privacy.Extents
	Pseudonyms PseudonymsConfig
}

// PseudonymsConfig is how pseudonyms are made.
type PseudonymsConfig struct {
	Key    string        // file; empty: one that the gateway makes in its state folder
	Rotate time.Duration // how long one person has the same
}

func defaultAudit() AuditConfig {
	return AuditConfig{Allows: "none", Refusals: "all", Pseudonyms: PseudonymsConfig{Rotate: 24 * time.Hour}}
}

// audit reads the section of that name.
func (f *configFile) audit(v strictyaml.Value) {
	a := &f.config.Audit
	section("audit", fields{
		"file":       f.named("audit.file", f.optionalFile(&a.File)),
		"allows":     oneOf(&a.Allows, "none", "sampled", "all"),
		"refusals":   oneOf(&a.Refusals, "none", "sampled", "all"),
		"privacy":    f.privacy,
		"pseudonyms": f.pseudonyms,
	})(v)
}

// privacy reads one word for everything that tells who somebody is, or a word
// for each.
func (f *configFile) privacy(v strictyaml.Value) {
	e := &f.config.Audit.Privacy
	if v.IsEmpty() || v.IsList() {
		v.Errorf("%q must be full, pseudonym or none, or a mapping such as {client: pseudonym, user: pseudonym}", v.Name())
		return
	}
	if v.IsMapping() {
		section("audit.privacy", fields{
			"client": extent(&e.Client),
			"user":   extent(&e.User),
			"device": extent(&e.Device),
		})(v)
	} else {
		var all privacy.Extent
		extent(&all)(v)
		*e = privacy.Extents{Client: all, User: all, Device: all}
	}
	if (e.Client == privacy.Full) != (e.User == privacy.Full) {
		v.Warnf("audit.privacy has client: %s and user: %s, and each tells whom the other hides: hide both, or neither", e.Client, e.User)
	}
	f.later = append(f.later, func() {
		if f.config.Log.Level == "debug" && e.HidePeople() {
			v.Warnf("log.level is debug, and at that level the log on standard error names addresses whatever audit.privacy says: set log.level to info")
		}
	})
}

func extent(into *privacy.Extent) func(strictyaml.Value) {
	return func(v strictyaml.Value) {
		if word, ok := v.OneOf(privacy.Full.String(), privacy.Pseudonym.String(), privacy.None.String()); ok {
			*into, _ = privacy.ParseExtent(word) // one of the three
		}
	}
}

// pseudonyms reads how they are made.
func (f *configFile) pseudonyms(v strictyaml.Value) {
	p := &f.config.Audit.Pseudonyms
	section("audit.pseudonyms", fields{
		"key":    f.named("audit.pseudonyms.key", f.optionalFile(&p.Key)),
		"rotate": duration(&p.Rotate, time.Hour, 366*24*time.Hour),
	})(v)
	f.later = append(f.later, func() {
		if p.Key != "" && !f.config.Audit.Privacy.Pseudonyms() {
			v.Warnf("audit.pseudonyms does nothing, since audit.privacy asks for none: write privacy: pseudonym, or take it out")
		}
	})
}

// queryDoubts warns of an access log whose URLs tell what audit.privacy hides.
func (f *configFile) queryDoubts(log *AccessLogConfig, at strictyaml.Value) {
	if log.KeepQuery && f.config.Audit.Privacy.HidePeople() {
		at.Warnf("access log %q keeps the queries of URLs, which often name the people that audit.privacy hides: leave query out, or set it to strip", log.File)
	}
}

// checkPseudonyms looks at the key, where one is named.
func (f *configFile) checkPseudonyms() {
	if key := f.config.Audit.Pseudonyms.Key; key != "" {
		_, err := privacy.ReadKey(key)
		f.fileTrouble("audit.pseudonyms.key", key, "make one with sallyport pseudonym key --out "+key+"; or leave audit.pseudonyms.key empty", err)
	}
}
