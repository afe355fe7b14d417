package gateway

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/sallyport/sallyport/policy"
)

// systemdLogs is where LogsDirectory= of a unit makes its folder, when the
// service is first started, which is after its configuration is first checked.
const systemdLogs = "/var/log"

// checkLogs looks at the files that logs go to.
func (f *configFile) checkLogs() {
	if file := f.config.Audit.File; file != "" {
		f.logTrouble(f.at["audit.file"], "audit.file", logTrouble(file))
	}
	for i, log := range f.config.Proxy.AccessLogs {
		f.logTrouble(f.accessLogsAt[i], "proxy.access_logs", logTrouble(log.File))
	}
}

func (f *configFile) logTrouble(at policy.Position, setting string, err error) {
	if err != nil {
		f.problems.Errorf(at, "%s: %s", setting, err)
	}
}

// logTrouble is why serve, started as who checks, could not write a log; nil
// where it could. It opens a file that is there as serve would, and writes
// nothing; where there is none it asks whether one could be made, and makes
// none.
func logTrouble(path string) error {
	const remedy = "make it writable for the user that the gateway runs as, or name another file"
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|syscall.O_NONBLOCK, 0)
	switch {
	case err == nil:
		return file.Close()
	case errors.Is(err, fs.ErrNotExist):
		return logFolderTrouble(filepath.Dir(path))
	case errors.Is(err, syscall.EISDIR):
		return fmt.Errorf("%q is a folder: name a file in it", path)
	case errors.Is(err, syscall.ENXIO):
		return fmt.Errorf("%q is a pipe that nobody reads: start its reader first, or name another file", path)
	default:
		return fmt.Errorf("%q cannot be written: %w: %s", path, withoutPath(err), remedy)
	}
}

// logFolderTrouble is why no file could be made in a folder.
func logFolderTrouble(dir string) error {
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist) && filepath.Dir(dir) == systemdLogs:
		return nil // it may be, in time
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("there is no folder %q: make it, writable for the user that the gateway runs as, or name another file", dir)
	case err != nil:
		return fmt.Errorf("folder %q cannot be looked at: %w", dir, withoutPath(err))
	case !info.IsDir():
		return fmt.Errorf("%q is no folder, so that no file can be in it: name another file", dir)
	}
	if err := unix.Access(dir, unix.W_OK|unix.X_OK); err != nil {
		return fmt.Errorf("no file can be made in folder %q: %w: make it writable for the user that the gateway runs as, or name another file", dir, err)
	}
	return nil
}

// withoutPath is an error of a file without the file, which is named already.
func withoutPath(err error) error {
	if file := (*fs.PathError)(nil); errors.As(err, &file) {
		return file.Err
	}
	return err
}
