package check

import (
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	core "k8s.io/api/core/v1"
)

// kubelet lays out a pod's volumes under a root directory, with the owners, modes
// and links that the real one gives them (kubernetes/pkg/volume: util/atomic_writer.go,
// volume_linux.go).
type kubelet struct {
	root       string
	group      int // the pod's fsGroup
	generation int
	contents   map[string]map[string]string // of ConfigMaps and Secrets, by name and file
}

// layOut makes every volume of a pod where its container mounts it.
func (k *kubelet) layOut(t *testing.T, spec core.PodSpec) {
	t.Helper()
	volumes := map[string]core.Volume{}
	for _, v := range spec.Volumes {
		volumes[v.Name] = v
	}
	for _, m := range spec.Containers[0].VolumeMounts {
		switch v := volumes[m.Name]; {
		case v.ConfigMap != nil:
			k.publish(t, m.MountPath, k.content(t, v.ConfigMap.Name), mode(v.ConfigMap.DefaultMode))
		case v.Secret != nil:
			k.publish(t, m.MountPath, k.content(t, v.Secret.SecretName), mode(v.Secret.DefaultMode))
		case v.EmptyDir != nil, v.PersistentVolumeClaim != nil:
			dir := filepath.Join(k.root, m.MountPath)
			k.must(t, os.MkdirAll(dir, 0o755), os.Chown(dir, 0, k.group), os.Chmod(dir, 0o777|fs.ModeSetgid))
		default:
			t.Fatalf("volume %s is of a kind that is not known here", m.Name)
		}
	}
}

func (k *kubelet) content(t *testing.T, name string) map[string]string {
	t.Helper()
	files, ok := k.contents[name]
	if !ok {
		t.Fatalf("nobody makes a ConfigMap or Secret %s: the pod would wait for it", name)
	}
	return files
}

func mode(given *int32) fs.FileMode {
	if given == nil {
		return 0o644
	}
	return fs.FileMode(*given)
}

// publish puts files into a volume, or others in their place: into a folder of
// their own, to which the link ..data is then led at once; links for each name
// lead through that. Files that are there no more lose their link afterwards.
func (k *kubelet) publish(t *testing.T, path string, files map[string]string, mode fs.FileMode) {
	t.Helper()
	volume := filepath.Join(k.root, path)
	k.must(t, os.MkdirAll(volume, 0o755))
	k.generation++
	stamp := "..2026_11_22_10_00_00." + strconv.Itoa(k.generation)
	folder := filepath.Join(volume, stamp)
	k.must(t, os.Mkdir(folder, 0o755), os.Chown(folder, 0, k.group))
	for name, text := range files {
		file := filepath.Join(folder, name)
		// A volume that is only read, with an fsGroup: the group is given, and may
		// read what the owner may.
		k.must(t, os.WriteFile(file, []byte(text), 0o600), os.Chown(file, 0, k.group), os.Chmod(file, mode|0o440))
	}
	data, next := filepath.Join(volume, "..data"), filepath.Join(volume, "..data_tmp")
	old, _ := os.Readlink(data) // none the first time
	k.must(t, os.Symlink(stamp, next), os.Rename(next, data))
	for name := range files {
		link := filepath.Join(volume, name)
		if _, err := os.Lstat(link); err != nil {
			k.must(t, os.Symlink(filepath.Join("..data", name), link))
		}
	}
	entries, err := os.ReadDir(volume)
	k.must(t, err)
	for _, e := range entries {
		if _, ok := files[e.Name()]; !ok && e.Type() == fs.ModeSymlink && e.Name() != "..data" {
			k.must(t, os.Remove(filepath.Join(volume, e.Name())))
		}
	}
	if old != "" {
		k.must(t, os.RemoveAll(filepath.Join(volume, old)))
	}
}

func (k *kubelet) must(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}
