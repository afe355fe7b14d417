package gateway

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/sallyport/sallyport/identity"
	"github.com/sallyport/sallyport/policy"
)

// maxUsersBytes bounds what is read to see whether the htpasswd file changed;
// identity refuses a file that is larger.
const maxUsersBytes = 16 << 20

// usersFile keeps the users who can sign in as the htpasswd file says. Its
// methods are called by one goroutine, save trouble, which is safe for
// concurrent use.
type usersFile struct {
	path    string // empty: there is no file, and nobody signs in
	config  string // the file that names it, for messages
	set     func(*identity.Htpasswd)
	recheck func(reason string) (checked, closed int)
	log     *zap.Logger

	problems atomic.Pointer[policy.Problems] // why the file is not in force; nil: it is
	seen     [sha256.Size]byte               // how the file looked at the last look
	changed  time.Time                       // that look; zero: what was seen is dealt with
}

// trouble is why the file on disk is not in force; nil where it is.
func (u *usersFile) trouble() policy.Problems {
	if problems := u.problems.Load(); problems != nil {
		return *problems
	}
	return nil
}

// load reads the file. On failure the users known before stay known.
func (u *usersFile) load() policy.Problems {
	if u.path == "" {
		return nil
	}
	u.seen, u.changed = u.sum(), time.Time{}
	users, err := identity.LoadHtpasswd(u.path)
	if err != nil {
		problems := usersProblems(policy.Position{File: u.config}, u.path, err)
		u.problems.Store(&problems)
		return problems
	}
	u.set(users)
	u.problems.Store(nil)
	return nil
}

// reload is load while the gateway runs: it tells, and has open tunnels judged
// again.
func (u *usersFile) reload() policy.Problems {
	if u.path == "" {
		return nil
	}
	if problems := u.load(); len(problems) > 0 {
		u.log.Error("users not read: those known before can still sign in; mend what follows and save again", problemField(problems))
		return problems
	}
	checked, closed := u.recheck("users")
	u.log.Info("users read", zap.String("file", u.path), zap.Int("tunnels_checked", checked), zap.Int("tunnels_closed", closed))
	return nil
}

// look reloads a file that has changed and has been at rest since: half a save
// would take users away. It says when to look again; 0 where there is no need.
func (u *usersFile) look(now time.Time) (again time.Duration) {
	if u.path == "" {
		return 0
	}
	if sum := u.sum(); sum != u.seen {
		u.seen, u.changed = sum, now
		return confirmTime
	}
	if u.changed.IsZero() {
		return 0
	}
	if wait := confirmTime - now.Sub(u.changed); wait > 0 {
		return wait
	}
	u.reload()
	return 0
}

// sum is how the file looks: what it holds and who may read it, or why that
// cannot be told.
func (u *usersFile) sum() [sha256.Size]byte {
	h := sha256.New()
	info, err := os.Stat(u.path)
	if err == nil {
		fmt.Fprintf(h, "mode %v\n", info.Mode())
	}
	data, _, err := readBounded(u.path, maxUsersBytes)
	if err != nil {
		fmt.Fprintf(h, "error %q\n", err)
	}
	_, _ = h.Write(data) // a hash never fails to write
	return [sha256.Size]byte(h.Sum(nil))
}

// usersProblems are the reasons for which the htpasswd file at path cannot be
// used, as problems of the configuration, where that names it.
func usersProblems(at policy.Position, path string, err error) policy.Problems {
	problem := func(text string) policy.Problem {
		return policy.Problem{Position: at, Message: "proxy.users: " + text}
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return policy.Problems{problem(fmt.Sprintf("there is no file %q: make it with htpasswd -B -c %s NAME, or leave proxy.users empty", path, path))}
	case errors.Is(err, fs.ErrPermission):
		return policy.Problems{problem(err.Error() + ": let the user that the gateway runs as own it")}
	}
	var many interface{ Unwrap() []error }
	if !errors.As(err, &many) {
		return policy.Problems{problem(err.Error())}
	}
	var all policy.Problems
	for _, one := range many.Unwrap() {
		all = append(all, problem(one.Error()))
	}
	return all
}
