// Package secretmode says whether a file keeps the secret that is in it: from
// everybody but its owner, or, where root owns it, but a group that root gave
// it to. Whoever reads a secret asks, with the open file's own information.
//
//	if !secretmode.Private(info) {
//		return fmt.Errorf("%q has mode %#o: run chmod 600 %s", path, info.Mode().Perm(), path)
//	}
package secretmode
