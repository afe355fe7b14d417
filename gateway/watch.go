package gateway

import (
	"fmt"
	"path/filepath"

	"github.com/fsnotify/fsnotify"
	"go.uber.org/zap"
)

// kubernetesData is the symbolic link that Kubernetes swaps when it updates a
// mounted ConfigMap or Secret: the files themselves see no event.
const kubernetesData = "..data"

// watch follows files by watching the directories that they stand in. A watch
// on the file itself would be lost with the first editor that writes a new
// file and renames it over the old one.
type watch struct {
	notify  *fsnotify.Watcher
	log     *zap.Logger
	dirs    map[string]bool
	files   map[string]bool
	folders map[string]bool // every *.yaml in these concerns us
}

// openWatch starts watching nothing yet. The caller closes it.
func openWatch(log *zap.Logger) (*watch, error) {
	notify, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, fmt.Errorf("watch files: %w", err)
	}
	return &watch{notify: notify, log: log, dirs: map[string]bool{}}, nil
}

func (w *watch) close() {
	if err := w.notify.Close(); err != nil {
		w.log.Warn("stop watching files", zap.Error(err))
	}
}

// follow makes files and folders the ones that matter, and watches what it
// takes to hear of them: each one's directory, and the directory of what it
// resolves to where it is a symbolic link.
func (w *watch) follow(files, folders []string) {
	w.files, w.folders = map[string]bool{}, map[string]bool{}
	wanted := map[string]bool{}
	add := func(set map[string]bool, path string, itself bool) {
		set[path] = true
		wanted[filepath.Dir(path)] = true
		if itself {
			wanted[path] = true
		}
	}
	for _, form := range everyForm(files) {
		add(w.files, form, false)
	}
	for _, form := range everyForm(folders) {
		add(w.files, form, false)
		add(w.folders, form, true)
	}
	for dir := range w.dirs {
		if !wanted[dir] {
			_ = w.notify.Remove(dir) // gone already, as its watch is then
			delete(w.dirs, dir)
		}
	}
	for dir := range wanted {
		// Adding again costs nothing and renews the watch of a directory that
		// was removed and made anew.
		if err := w.notify.Add(dir); err != nil {
			w.log.Debug("directory not watched, the poll looks after it", zap.String("directory", dir), zap.Error(err))
			continue
		}
		w.dirs[dir] = true
	}
}

// everyForm is each path made absolute, and what it resolves to.
func everyForm(paths []string) []string {
	var forms []string
	for _, path := range paths {
		abs, err := filepath.Abs(path)
		if err != nil {
			continue // no working directory: the poll, which needs none for absolute paths, remains
		}
		forms = append(forms, abs)
		if resolved, err := filepath.EvalSymlinks(abs); err == nil && resolved != abs {
			forms = append(forms, resolved)
		}
	}
	return forms
}

// concerns reports whether an event may have changed what is followed. Others
// (a decision log that grows in the same directory) are not worth a look.
func (w *watch) concerns(event fsnotify.Event) bool {
	if w.files[event.Name] || filepath.Base(event.Name) == kubernetesData {
		return true
	}
	return w.folders[filepath.Dir(event.Name)] && isPolicyName(filepath.Base(event.Name))
}
