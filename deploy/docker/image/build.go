package main

import (
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// build writes the image to the folder: image/, an OCI layout with an index of
// all architectures, and image-ARCH.tar, what `docker load` and `podman load`
// take. It prints the index's digest.
func (r release) build(stdout io.Writer) error {
	pem, err := certificates()
	if err != nil {
		return err
	}
	tag, err := name.NewTag("sallyport:" + r.version)
	if err != nil {
		return fmt.Errorf("name the image after version %q: %w", r.version, err)
	}
	index := mutate.IndexMediaType(mutate.Annotations(empty.Index, r.annotations()).(v1.ImageIndex), types.OCIImageIndex)
	for _, p := range r.programs {
		image, err := r.image(p, pem)
		if err != nil {
			return fmt.Errorf("make the image for %s: %w", p.architecture, err)
		}
		platform := &v1.Platform{OS: "linux", Architecture: p.architecture}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{Platform: platform}})
		archive := filepath.Join(r.out, "image-"+p.architecture+".tar")
		if err := tarball.WriteToFile(archive, tag, image); err != nil {
			return fmt.Errorf("write %q: %w", archive, err)
		}
	}
	if err := r.writeLayout(index); err != nil {
		return err
	}
	digest, err := index.Digest()
	if err != nil {
		return fmt.Errorf("take the index's digest: %w", err)
	}
	_, err = fmt.Fprintln(stdout, digest)
	return err
}

// writeLayout replaces image/ by an OCI layout that holds the index, under the
// version's name.
func (r release) writeLayout(index v1.ImageIndex) error {
	folder := filepath.Join(r.out, "image")
	if err := os.RemoveAll(folder); err != nil {
		return fmt.Errorf("remove the image that was there: %w", err)
	}
	path, err := layout.Write(folder, empty.Index)
	if err != nil {
		return fmt.Errorf("write %q: %w", folder, err)
	}
	named := layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": r.version})
	if err := path.AppendIndex(index, named); err != nil {
		return fmt.Errorf("write %q: %w", folder, err)
	}
	return nil
}

// image is the image for one architecture.
func (r release) image(p program, certificates []byte) (v1.Image, error) {
	binary, err := os.ReadFile(p.path)
	if err != nil {
		return nil, fmt.Errorf("read the program: %w", err)
	}
	below, err := layer(base(certificates), r.created)
	if err != nil {
		return nil, err
	}
	above, err := layer([]entry{{path: programPath, content: binary, mode: 0o755}}, r.created)
	if err != nil {
		return nil, err
	}
	history := func(what string) v1.History {
		return v1.History{Created: v1.Time{Time: r.created}, CreatedBy: "make image", Comment: what}
	}
	image, err := mutate.Append(
		mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON),
		mutate.Addendum{Layer: below, History: history("certificates of Mozilla's authorities, and a folder for state")},
		mutate.Addendum{Layer: above, History: history("sallyport " + r.version)},
	)
	if err != nil {
		return nil, fmt.Errorf("add the layers: %w", err)
	}
	file, err := image.ConfigFile()
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	file = file.DeepCopy()
	file.OS, file.Architecture = "linux", p.architecture
	file.Created, file.Config = v1.Time{Time: r.created}, r.configuration()
	image, err = mutate.ConfigFile(image, file)
	if err != nil {
		return nil, fmt.Errorf("set the configuration: %w", err)
	}
	return mutate.Annotations(image, r.annotations()).(v1.Image), nil
}

// annotations are the labels, and the time, for registries that show an image
// without fetching its configuration.
func (r release) annotations() map[string]string {
	annotations := maps.Clone(r.labels())
	annotations["org.opencontainers.image.created"] = r.created.Format(time.RFC3339)
	return annotations
}
