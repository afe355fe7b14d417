package main

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"runtime/debug"
	"strings"
	"time"

	"github.com/CycloneDX/cyclonedx-go"
)

// program is what a bill of materials is about.
type program struct {
	info    *debug.BuildInfo
	version string
	content []byte
	time    time.Time
}

// writeBOM writes a bill of materials. It has no serial number, which would be
// another each time.
func writeBOM(w io.Writer, p program, parts []part) error {
	bom := cyclonedx.NewBOM()
	bom.SerialNumber = ""
	main := p.component()
	bom.Metadata = &cyclonedx.Metadata{Timestamp: p.time.Format(time.RFC3339), Component: &main}
	var components []cyclonedx.Component
	var refs []string
	for _, part := range parts {
		c := part.component()
		components = append(components, c)
		refs = append(refs, c.BOMRef)
	}
	bom.Components = &components
	bom.Dependencies = &[]cyclonedx.Dependency{{Ref: main.BOMRef, Dependencies: &refs}}
	return cyclonedx.NewBOMEncoder(w, cyclonedx.BOMFileFormatJSON).SetPretty(true).SetEscapeHTML(false).
		EncodeVersion(bom, cyclonedx.SpecVersion1_6)
}

func (p program) component() cyclonedx.Component {
	sum := sha256.Sum256(p.content)
	properties := []cyclonedx.Property{{Name: "go:version", Value: p.info.GoVersion}}
	for _, s := range p.info.Settings {
		// How it was built; the rest says on what machine.
		switch s.Key {
		case "GOOS", "GOARCH", "GOAMD64", "GOARM64", "CGO_ENABLED", "-trimpath":
			properties = append(properties, cyclonedx.Property{Name: "go:" + s.Key, Value: s.Value})
		}
	}
	url := packageURL(p.info.Main.Path, "v"+p.version)
	return cyclonedx.Component{
		BOMRef: url, Type: cyclonedx.ComponentTypeApplication,
		Name: p.info.Main.Path, Version: p.version, PackageURL: url,
		Hashes:     &[]cyclonedx.Hash{{Algorithm: cyclonedx.HashAlgoSHA256, Value: hex.EncodeToString(sum[:])}},
		Licenses:   &cyclonedx.Licenses{{Expression: "Apache-2.0"}},
		Properties: &properties,
	}
}

func (p part) component() cyclonedx.Component {
	c := cyclonedx.Component{
		Type: cyclonedx.ComponentTypeLibrary, Name: p.path, Version: p.version,
		PackageURL: packageURL(p.path, p.version),
		Licenses:   &cyclonedx.Licenses{{Expression: p.licence}},
	}
	c.BOMRef = c.PackageURL
	if p.sum != "" {
		// The Go command's checksum of the module's files, which is no plain hash of
		// one file and so does not belong in hashes.
		c.Properties = &[]cyclonedx.Property{{Name: "go:sum", Value: p.sum}}
	}
	return c
}

// packageURL names a Go module as scanners for known holes look it up
// (package-url, type golang).
func packageURL(path, version string) string {
	return "pkg:golang/" + strings.ReplaceAll(path, "!", "%21") + "@" + strings.ReplaceAll(version, "+", "%2B")
}
