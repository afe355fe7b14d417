package gateway

import (
	"context"
	"os"
	"slices"
	"time"

	"github.com/fsnotify/fsnotify"
	"go.uber.org/zap"

	"github.com/sallyport/sallyport/policy"
)

// staleWrite is how long before it could first be noticed a file may have been
// written for its time stamp to be the moment of the edit. An older stamp was
// copied from elsewhere.
const staleWrite = time.Minute

// reloadConfig is what a reloader is told.
type reloadConfig struct {
	poll time.Duration
}

// reloadDeps is what a reloader works with. The funcs are called by its own
// goroutine only.
type reloadDeps struct {
	source  *policySource
	engine  *policy.Engine
	recheck func(reason string) (checked, closed int)
	swapped func()           // a new policy is in force
	lists   *listFetcher     // fetches what has a URL
	users   *usersFile       // notices changes of the htpasswd file
	reopen  func()           // opens the decision log again
	config  *configWatch     // notices changes that need a restart
	hangup  <-chan os.Signal // SIGHUP; nil: none
	hungup  func(begun bool) // is told of what hangup does
	metrics *metrics
	log     *zap.Logger
	now     func() time.Time
	settle  func()            // gives memory back
	publish func(policyState) // tells the console
}

// policyState is what the console shows of the policy: what is in force, and
// what is wrong with what is on disk.
type policyState struct {
	inForce *Loaded
	failed  policy.Problems // nil where what is on disk is in force
}

// What makes a reload.
const (
	byEdit    = "edit"
	byPoll    = "poll"
	byList    = "list"
	bySignal  = "signal"
	byRequest = "request"
)

// trigger is why the policy is looked at.
type trigger struct {
	name string
	at   time.Time // the first event of it
}

// outcome is what became of one look at the policy.
type outcome struct {
	loaded   bool // what is on disk is in force
	changed  bool
	revision string
	closed   int
	problems policy.Problems
}

// reloadRequest is a POST /-/reload that waits for its outcome.
type reloadRequest struct{ reply chan outcome }

// reloader puts edits in force. Its run owns the state below; the outside
// speaks to it through requests alone.
type reloader struct {
	config   reloadConfig
	deps     reloadDeps
	requests chan reloadRequest

	inForce *Loaded
	latest  *Loaded // the last one read, in force or not
	pending pendingEdit
}

// newReloader makes a reloader for a gateway that starts with inForce.
func newReloader(config reloadConfig, deps reloadDeps, inForce *Loaded) *reloader {
	inForce.reported = true
	return &reloader{
		config:   config,
		deps:     deps,
		requests: make(chan reloadRequest),
		inForce:  inForce,
		latest:   inForce,
	}
}

// ask has the policy read again now, and waits for what becomes of it.
func (r *reloader) ask(ctx context.Context) (outcome, error) {
	request := reloadRequest{reply: make(chan outcome, 1)}
	select {
	case r.requests <- request:
	case <-ctx.Done():
		return outcome{}, ctx.Err()
	}
	select {
	case out := <-request.reply:
		return out, nil
	case <-ctx.Done():
		return outcome{}, ctx.Err()
	}
}

// run owns every trigger of a reload, so that no two ever cross. It returns
// when ctx ends. A nil w leaves the poll to notice edits.
func (r *reloader) run(ctx context.Context, w *watch) {
	events, lost := follow(w)
	poll := time.NewTicker(r.config.poll)
	defer poll.Stop()
	r.refollow(w)
	// What was edited since it was read, and before it was watched, made no
	// event.
	timer := time.NewTimer(r.notice(byEdit, time.Now()))
	defer timer.Stop()
	if r.inForce.listsParsed {
		r.deps.settle() // here, and not before the first query could be answered
	}
	for {
		select {
		case <-ctx.Done():
			return
		case event := <-events:
			if w.concerns(event) {
				timer.Reset(r.notice(byEdit, time.Now()))
			}
		case err := <-lost:
			// Events were lost: look at everything.
			r.deps.log.Warn("watching files", zap.Error(err))
			timer.Reset(r.notice(byEdit, time.Now()))
		case <-r.deps.lists.arrived:
			timer.Reset(r.notice(byList, time.Now()))
		case <-timer.C:
			if again := r.edited(time.Now()); again > 0 {
				timer.Reset(again)
			}
			r.refollow(w)
		case <-poll.C:
			if wait := r.polled(time.Now()); wait > 0 {
				timer.Reset(wait)
			}
			r.refollow(w)
		case <-r.deps.hangup:
			r.deps.hungup(true)
			r.deps.reopen()
			r.report(trigger{name: bySignal, at: time.Now()}, r.load())
			r.deps.users.reload()
			r.refollow(w)
			r.deps.hungup(false)
		case request := <-r.requests:
			out := r.report(trigger{name: byRequest, at: time.Now()}, r.load())
			out.problems = append(slices.Clip(out.problems), r.deps.users.reload()...)
			request.reply <- out
			r.refollow(w)
		}
	}
}

func follow(w *watch) (<-chan fsnotify.Event, <-chan error) {
	if w == nil {
		return nil, nil
	}
	return w.notify.Events, w.notify.Errors
}

// refollow watches what the last look at the policy consisted of, and where it
// will be when it comes back.
func (r *reloader) refollow(w *watch) {
	if w == nil {
		return
	}
	files := append([]string{}, r.latest.files...)
	for _, path := range []string{r.deps.config.path, r.deps.users.path} {
		if path != "" {
			files = append(files, path)
		}
	}
	w.follow(files, []string{r.deps.source.path})
}

// load reads the policy as it is on disk: the half of the line that can fail.
func (r *reloader) load() *Loaded {
	r.latest = r.deps.source.load(r.deps.now())
	keepDefault(r.inForce, r.latest)
	return r.latest
}

// report puts a good policy in force, or lets the old one go on, and tells.
func (r *reloader) report(t trigger, loaded *Loaded) outcome {
	loaded.reported = true
	defer r.wantLists(loaded)
	if !loaded.OK() {
		return r.keep(t, loaded)
	}
	if loaded.digest == r.inForce.digest {
		return r.same(t, loaded)
	}
	return r.enforce(t, loaded)
}

// wantLists has the lists fetched of what is in force, and of what waits to be.
func (r *reloader) wantLists(loaded *Loaded) {
	wanted := slices.Clone(r.inForce.Document.Lists)
	if loaded != r.inForce && len(loaded.Lists) > 0 {
		wanted = append(wanted, loaded.Document.Lists...)
	}
	r.deps.lists.want(wanted, loaded.awaited)
}

// enforce is the half of the line in which nothing can fail.
func (r *reloader) enforce(t trigger, loaded *Loaded) outcome {
	before := r.deps.engine.Swap(loaded.Program)
	replaced := r.inForce
	r.inForce = loaded
	checked, closed := r.deps.recheck("policy")
	begun, known := t.start(loaded.newest, r.config.poll)
	took := time.Since(begun)

	r.deps.swapped()
	r.deps.publish(policyState{inForce: loaded})
	r.deps.metrics.count(resultSuccess)
	r.deps.metrics.good(loaded.Program.Revision(), loaded.modified, r.deps.now())
	if known {
		r.deps.metrics.timeToEnforce.Observe(took.Seconds())
	}
	r.deps.log.Info("policy in force", append([]zap.Field{
		zap.String("revision", loaded.Program.Revision()),
		zap.String("before", before.Revision()),
		zap.String("trigger", t.name),
		zap.Int("rules", len(loaded.Document.Rules)),
		zap.Int("exceptions", len(loaded.Document.Exceptions)),
		zap.Int("tunnels_checked", checked),
		zap.Int("tunnels_closed", closed),
		zap.Duration("took", took),
	}, policyDiff(before.Document(), loaded.Document)...)...)
	r.logWarnings(loaded)
	if cutShort(replaced, loaded) {
		r.deps.log.Warn("policy in force is the beginning of the one before: if its end was not taken away on purpose, look for a full disk or a save that broke off, and save again")
	}
	if loaded.listsParsed {
		r.deps.settle()
	}
	return outcome{loaded: true, changed: true, revision: loaded.Program.Revision(), closed: closed, problems: loaded.Problems}
}

// same notes that the bytes on disk are those in force: after a failed edit
// that was taken back, all is well again.
func (r *reloader) same(t trigger, loaded *Loaded) outcome {
	// The program in force stays, with all that it has memorised; what is said
	// of it is said anew, since lists may have gone stale, or exceptions by.
	loaded.Program = r.inForce.Program
	r.inForce = loaded
	r.deps.publish(policyState{inForce: loaded})
	revision := r.deps.engine.Program().Revision()
	r.deps.metrics.count(resultUnchanged)
	r.deps.metrics.good(revision, loaded.modified, r.deps.now())
	r.deps.log.Info("policy unchanged", zap.String("revision", revision), zap.String("trigger", t.name))
	r.logWarnings(loaded)
	return outcome{loaded: true, revision: revision, problems: loaded.Problems}
}

// keep notes that the policy on disk cannot be used.
func (r *reloader) keep(t trigger, loaded *Loaded) outcome {
	problems := loaded.All()
	revision := r.deps.engine.Program().Revision()
	r.deps.publish(policyState{inForce: r.inForce, failed: problems})
	r.deps.metrics.count(resultFailure)
	r.deps.metrics.bad()
	if loaded.waits() {
		r.deps.log.Warn("policy waits for its lists: the old one keeps deciding until they are there",
			zap.String("revision", revision), zap.String("trigger", t.name), problemField(problems))
		return outcome{revision: revision, problems: problems}
	}
	r.deps.log.Error("policy not loaded: the old one keeps deciding; mend what follows and save again",
		zap.String("revision", revision), zap.String("trigger", t.name), problemField(problems))
	return outcome{revision: revision, problems: problems}
}

// logWarnings writes what is doubtful about a policy in force.
func (r *reloader) logWarnings(loaded *Loaded) {
	if len(loaded.Problems) > 0 {
		r.deps.log.Warn("policy in force has warnings", problemField(loaded.Problems))
	}
}

// maxLogged bounds the problems that one log entry holds.
const maxLogged = 20

func problemField(problems policy.Problems) zap.Field {
	shown := make([]string, 0, maxLogged)
	for _, p := range problems[:min(len(problems), maxLogged)] {
		shown = append(shown, p.String())
	}
	return zap.Strings("problems", shown)
}

// start is the moment of the edit: when the file was written, as far as its
// time stamp can be believed. A notification is the next best; known is false
// where there is none, and the moment is that of the look.
func (t trigger) start(written time.Time, poll time.Duration) (at time.Time, known bool) {
	age := t.at.Sub(written)
	switch {
	case t.name == byEdit && age > 0 && age < staleWrite:
		return written, true
	case t.name == byEdit:
		return t.at, true
	case t.name == byPoll && age > 0 && age < staleWrite+poll:
		return written, true
	default:
		return t.at, false
	}
}
