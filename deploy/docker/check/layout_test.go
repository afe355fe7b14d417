package check

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// image is what an OCI layout says of one architecture, read without the library
// that wrote it.
type image struct {
	manifest ocispec.Manifest
	config   dockerspec.DockerOCIImage
	layers   [][]byte // uncompressed, the lowest first
}

// readImages reads an OCI layout as the specification has it, by architecture.
// Whatever is named by a digest must have it.
func readImages(t *testing.T, layout string) map[string]image {
	t.Helper()
	var marker ocispec.ImageLayout
	readJSON(t, readFile(t, filepath.Join(layout, ocispec.ImageLayoutFile)), &marker)
	if marker.Version != ocispec.ImageLayoutVersion {
		t.Fatalf("the layout's version is %q", marker.Version)
	}
	var top, index ocispec.Index
	readJSON(t, readFile(t, filepath.Join(layout, ocispec.ImageIndexFile)), &top)
	if len(top.Manifests) != 1 || top.Manifests[0].Annotations[ocispec.AnnotationRefName] != version {
		t.Fatalf("index.json names %v: want one index, named %s", top.Manifests, version)
	}
	readBlob(t, layout, top.Manifests[0], ocispec.MediaTypeImageIndex, &index)
	images := map[string]image{}
	for _, d := range index.Manifests {
		var i image
		readBlob(t, layout, d, ocispec.MediaTypeImageManifest, &i.manifest)
		readBlob(t, layout, i.manifest.Config, ocispec.MediaTypeImageConfig, &i.config)
		for _, l := range i.manifest.Layers {
			i.layers = append(i.layers, unzip(t, blob(t, layout, l, ocispec.MediaTypeImageLayerGzip)))
		}
		if d.Platform == nil || d.Platform.OS != "linux" || d.Platform.Architecture != i.config.Architecture || i.config.OS != "linux" {
			t.Errorf("the platform is %v in the index, %v in the configuration", d.Platform, i.config.Platform)
		}
		if len(i.config.RootFS.DiffIDs) != len(i.layers) {
			t.Fatalf("%d layers, %d diff ids", len(i.layers), len(i.config.RootFS.DiffIDs))
		}
		for n, want := range i.config.RootFS.DiffIDs {
			if got := digest(i.layers[n]); got != want.String() {
				t.Errorf("layer %d has diff id %s, and is %s", n, want, got)
			}
		}
		images[i.config.Architecture] = i
	}
	return images
}

// TestLayout reads what `make image` made for every architecture.
func TestLayout(t *testing.T) {
	images := readImages(t, filepath.Join(built(t), "image"))
	if len(images) != len(architectures()) {
		t.Errorf("there are %d images", len(images))
	}
	for _, architecture := range architectures() {
		if _, ok := images[architecture]; !ok {
			t.Errorf("there is no image for %s", architecture)
		}
	}
}

// TestArchives wants the archives that engines load to hold the same images.
func TestArchives(t *testing.T) {
	for architecture, i := range readImages(t, filepath.Join(built(t), "image")) {
		files := untar(t, []byte(readFile(t, filepath.Join(built(t), "image-"+architecture+".tar"))))
		var manifest []struct {
			Config   string
			RepoTags []string
			Layers   []string
		}
		readJSON(t, string(files["manifest.json"]), &manifest)
		if len(manifest) != 1 || !slices.Equal(manifest[0].RepoTags, []string{"sallyport:" + version}) {
			t.Fatalf("%s: manifest.json is %v", architecture, manifest)
		}
		if got := digest(files[manifest[0].Config]); got != i.manifest.Config.Digest.String() {
			t.Errorf("%s: the configuration is %s, and that of the layout %s", architecture, got, i.manifest.Config.Digest)
		}
		if len(manifest[0].Layers) != len(i.manifest.Layers) {
			t.Fatalf("%s: the layers are %v", architecture, manifest[0].Layers)
		}
		for n, name := range manifest[0].Layers {
			if got := digest(files[name]); got != i.manifest.Layers[n].Digest.String() {
				t.Errorf("%s: layer %d is %s, and that of the layout %s", architecture, n, got, i.manifest.Layers[n].Digest)
			}
		}
	}
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// readJSON is lenient: annotations and the like may be added to a format.
func readJSON(t *testing.T, text string, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), into); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
}

func readBlob(t *testing.T, layout string, d ocispec.Descriptor, mediaType string, into any) {
	t.Helper()
	readJSON(t, string(blob(t, layout, d, mediaType)), into)
}

// blob gives the content that a descriptor describes.
func blob(t *testing.T, layout string, d ocispec.Descriptor, mediaType string) []byte {
	t.Helper()
	content := []byte(readFile(t, filepath.Join(layout, "blobs", d.Digest.Algorithm().String(), d.Digest.Encoded())))
	if got := digest(content); got != d.Digest.String() || int64(len(content)) != d.Size || d.MediaType != mediaType {
		t.Fatalf("%v (want %s): the blob is %s, of %d bytes", d, mediaType, got, len(content))
	}
	return content
}

func digest(content []byte) string {
	sum := sha256.Sum256(content)
	return "sha256:" + hex.EncodeToString(sum[:])
}

func unzip(t *testing.T, content []byte) []byte {
	t.Helper()
	r, err := gzip.NewReader(bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func untar(t *testing.T, archive []byte) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	for r := tar.NewReader(bytes.NewReader(archive)); ; {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if files[header.Name], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
}
