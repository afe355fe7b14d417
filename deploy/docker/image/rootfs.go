package main

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// entry is a file or a folder of the image. What has no content is a folder.
type entry struct {
	path    string // from the root, without the slash before it
	content []byte
	mode    int64
	owner   int // user and group
}

// base is everything but the program: it changes more seldom, so engines fetch
// it once for many versions.
func base(certificates []byte) []entry {
	return []entry{
		{path: "etc", mode: 0o755},
		{path: "etc/ssl", mode: 0o755},
		{path: "etc/ssl/certs", mode: 0o755},
		// Where Go looks for it first.
		{path: "etc/ssl/certs/ca-certificates.crt", content: certificates, mode: 0o644},
		{path: "usr", mode: 0o755},
		{path: "usr/bin", mode: 0o755},
		{path: "var", mode: 0o755},
		{path: "var/lib", mode: 0o755},
		// Engines give a new volume the owner of the folder that it covers; it
		// would be root's otherwise, and the gateway could not write to it.
		{path: "var/lib/sallyport", mode: 0o700, owner: nonRoot},
	}
}

// layer packs entries. Nothing in it depends on when or where it is made.
func layer(entries []entry, created time.Time) (v1.Layer, error) {
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	for _, e := range entries {
		header := &tar.Header{
			Name: e.path, Mode: e.mode, Uid: e.owner, Gid: e.owner,
			Typeflag: tar.TypeReg, Size: int64(len(e.content)),
			ModTime: created, Format: tar.FormatUSTAR,
		}
		if e.content == nil {
			header.Typeflag, header.Name = tar.TypeDir, e.path+"/"
		}
		if err := w.WriteHeader(header); err != nil {
			return nil, fmt.Errorf("pack %q: %w", e.path, err)
		}
		if _, err := w.Write(e.content); err != nil {
			return nil, fmt.Errorf("pack %q: %w", e.path, err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("pack a layer: %w", err)
	}
	packed, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(archive.Bytes())), nil
	}, tarball.WithMediaType(types.OCILayer), tarball.WithCompressedCaching)
	if err != nil {
		return nil, fmt.Errorf("compress a layer: %w", err)
	}
	return packed, nil
}
