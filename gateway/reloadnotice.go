package gateway

import "time"

// The rhythm of the watch. An editor makes several events of one save; a
// program that writes a file piece by piece makes many.
const (
	quietTime   = 10 * time.Millisecond  // without an event, before the files are read
	mostDelay   = 40 * time.Millisecond  // of a read by further events
	confirmTime = 100 * time.Millisecond // without a change, before what may be half a save counts
	mostConfirm = 2 * time.Second        // of a failure's report by further changes
	mostShrink  = 30 * time.Second       // of a smaller policy's enforcement by further changes
)

// pendingEdit is a change of files that has been noticed and not dealt with.
type pendingEdit struct {
	noticed bool
	by      string    // what noticed it: edit, poll or list
	first   time.Time // event since the last outcome
	burst   time.Time // first event since the last read
	last    time.Time // event, or read that found other bytes than the one before
}

// notice takes down an event and says how long to wait for more of them.
func (r *reloader) notice(by string, now time.Time) time.Duration {
	p := &r.pending
	if !p.noticed {
		p.noticed, p.by, p.first, p.burst = true, by, now, now
	}
	if p.burst.IsZero() {
		p.burst = now
	}
	p.last = now
	return max(0, min(quietTime, mostDelay-now.Sub(p.burst)))
}

// edited deals with what was noticed: a change of the configuration, of the
// users, of the policy. It says when to look again; 0 where all is dealt with.
func (r *reloader) edited(now time.Time) (again time.Duration) {
	r.deps.config.look()
	users, edit := r.deps.users.look(now), r.editedPolicy(now)
	if users == 0 || edit == 0 {
		return max(users, edit)
	}
	return min(users, edit)
}

// editedPolicy deals with a pending edit. A good policy is in force when it
// returns. One that may be half of a save stays pending until the files have
// been at rest for a while.
func (r *reloader) editedPolicy(now time.Time) (again time.Duration) {
	p := &r.pending
	p.burst = time.Time{}
	if r.changed() {
		r.notice(byEdit, now) // where another file's edit led here
		p.burst = time.Time{}
		r.load()
	} else if r.latest.reported {
		r.pending = pendingEdit{}
		return 0
	}
	if wait := r.unsettled(now); wait > 0 {
		return wait
	}
	r.report(trigger{name: p.by, at: p.first}, r.latest)
	r.pending = pendingEdit{}
	return 0
}

// unsettled is how long the files have yet to be at rest before the policy
// that was read last is dealt with; 0 where it is no half of a save.
func (r *reloader) unsettled(now time.Time) time.Duration {
	var most time.Duration
	switch {
	case !r.latest.OK():
		most = mostConfirm
	case shrunk(r.inForce, r.latest):
		most = mostShrink
	default:
		return 0
	}
	waited := now.Sub(r.pending.first)
	return max(0, min(confirmTime-now.Sub(r.pending.last), most-waited))
}

// polled looks whether the files have changed without a notification, and says
// when to deal with it; 0 where there is nothing to deal with, or where it is
// dealt with already.
func (r *reloader) polled(now time.Time) (again time.Duration) {
	r.deps.config.look()
	if r.pending.noticed {
		return 0
	}
	users := r.deps.users.look(now)
	if r.changed() {
		return r.notice(byPoll, now) // which looks after the users too
	}
	return users
}

// changed reports whether the disk looks otherwise than when it was last read.
// Files that were written anew with what is in force in them are no change, and
// yet as new as they say.
func (r *reloader) changed() bool {
	changed, modified := r.deps.source.changed(r.latest)
	if !changed && r.latest == r.inForce {
		r.deps.metrics.touched(modified)
	}
	return changed
}
