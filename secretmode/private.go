//go:build unix

package secretmode

import (
	"io/fs"
	"syscall"
)

// What a mode may not have: of a file that is its owner's alone, and of one
// that root lets a group read.
const (
	beyondOwner     fs.FileMode = 0o077
	beyondGroupRead fs.FileMode = 0o037
)

// Private reports whether a file is fit to hold a secret. Only its owner may
// have rights to it, or root owns it, and lets a group that is not root's own
// read it, no more. That is how a secret reaches a program that is not to
// change it: root:ssl-cert 0640 on Debian, and a Secret that Kubernetes mounts
// for a pod with an fsGroup, which is root's, of that group, with mode 0440,
// whatever mode was asked for. PostgreSQL takes a server key under much the
// same terms.
//
// A file of one's own that others may read is refused: chmod 600 is in one's own
// hands then. So is one of root's own group, which nobody chose.
//
// The information must be the open file's, or that of a path that nobody can
// change in between. Safe for concurrent use.
func Private(info fs.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && private(info.Mode(), stat.Uid, stat.Gid)
}

func private(mode fs.FileMode, owner, group uint32) bool {
	if mode&beyondOwner == 0 {
		return true
	}
	return owner == 0 && group != 0 && mode&beyondGroupRead == 0
}
