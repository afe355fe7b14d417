package audit

import (
	"math"
	"net/netip"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/buffer"
	"go.uber.org/zap/zapcore"

	"github.com/sallyport/sallyport/policy"
	"github.com/sallyport/sallyport/privacy"
)

const (
	secondLayout   = "2006-01-02T15:04:05."
	eventClose     = "close"
	closedByPolicy = "policy"
)

// record is what an entry needs of a decision: the data path copies this much
// and no more.
type record struct {
	id        string
	transport string
	qtype     string
	revision  string
	at        int64 // nanoseconds since 1970
	since     int64 // the same, of what the entry is a part of: for pseudonyms
	duration  time.Duration
	client    netip.Addr
	user      string
	source    string   // of the identity
	groups    []string // shared with the policy
	devices   []string // shared with the identity
	name      []byte   // of the host, in the place's own memory; empty for an address
	addr      netip.Addr
	facts     []policy.Host
	rule      *policy.Rule
	app       *policy.App
	would     *policy.Rule
	end       *policy.TunnelEnd // of a closing entry; its Decision is nil
	grant     *Grant            // of an entry about a grant; its Decision is nil
	port      uint16
	door      policy.Door
	action    policy.Action
	wouldDo   policy.Action
	granted   bool
}

// fill copies a decision that was taken at an instant.
func (r *record) fill(d *policy.Decision, at int64) {
	v := &d.Verdict
	r.id = d.ID
	r.transport = d.Transport
	r.qtype = d.QType
	r.revision = v.Revision
	r.at = at
	r.since = at
	r.duration = d.Duration
	r.client = d.Client
	r.user = d.Subject.User
	r.source = d.Subject.Source
	r.groups = d.Subject.GroupNames()
	r.devices = d.Subject.Devices
	r.name = append(r.name[:0], d.Host.Name()...) // a door may reuse the name's bytes
	r.addr = d.Host.Addr()
	r.facts = d.Facts
	r.rule = v.Rule
	r.app = v.App
	r.would = v.Would
	r.port = d.Port
	r.door = d.Door
	r.action = v.Action
	r.wouldDo = v.WouldAction
	r.granted = v.Granted
}

// encoder writes records as lines of JSON. One goroutine uses it.
type encoder struct {
	tenant string
	ids    *ids
	mask   *privacy.Mask
	json   zapcore.Encoder
	fields []zapcore.Field // the encoder itself, as zap wants it

	second     int64  // since 1970, that secondText stands for
	secondText []byte // up to the decimal point

	current *record
	groups  names
	devices devices
	facts   hosts
	scratch []byte
}

func newEncoder(tenant string, ids *ids, mask *privacy.Mask) *encoder {
	e := &encoder{tenant: tenant, ids: ids, mask: mask, second: math.MinInt64}
	e.devices.mask = mask
	e.json = zapcore.NewJSONEncoder(zapcore.EncoderConfig{TimeKey: "time", EncodeTime: e.encodeTime})
	e.fields = []zapcore.Field{zap.Inline(e)}
	return e
}

// line is the entry with its line break. The caller frees the buffer.
func (e *encoder) line(r *record) (*buffer.Buffer, error) {
	e.current = r
	return e.json.EncodeEntry(zapcore.Entry{Time: time.Unix(0, r.at)}, e.fields)
}

// append appends the entry's line to a block.
func (e *encoder) append(block []byte, r *record) ([]byte, error) {
	line, err := e.line(r)
	if err != nil {
		return block, err
	}
	defer line.Free()
	return append(block, line.Bytes()...), nil
}

// encodeTime writes a time in UTC with microseconds. The part before the
// decimal point is the same for many entries, and formatting it anew would be
// a fifth of all the work.
func (e *encoder) encodeTime(t time.Time, a zapcore.PrimitiveArrayEncoder) {
	if s := t.Unix(); s != e.second {
		e.second = s
		e.secondText = t.UTC().AppendFormat(e.secondText[:0], secondLayout)
	}
	e.scratch = append(e.scratch[:0], e.secondText...)
	for micros, unit := t.Nanosecond()/1000, 100_000; unit > 0; unit /= 10 {
		e.scratch = append(e.scratch, byte('0'+micros/unit%10))
	}
	e.scratch = append(e.scratch, 'Z')
	a.AppendByteString(e.scratch)
}

// MarshalLogObject writes the current record. It is exported for zap only.
func (e *encoder) MarshalLogObject(o zapcore.ObjectEncoder) error {
	switch {
	case e.current.end != nil:
		return e.marshalEnd(o, e.current)
	case e.current.grant != nil:
		return e.marshalGrant(o, e.current)
	}
	return e.marshalDecision(o, e.current)
}

func (e *encoder) marshalDecision(o zapcore.ObjectEncoder, r *record) error {
	verdict := policy.Verdict{Action: r.action, Rule: r.rule}
	e.addID(o, r)
	o.AddString("tenant", e.tenant)
	if err := e.addClient(o, r); err != nil {
		return err
	}
	e.addHost(o, r)
	o.AddString("qtype", r.qtype)
	e.facts.list = r.facts
	if err := o.AddArray("facts", &e.facts); err != nil {
		return err
	}
	o.AddString("app", appID(r.app))
	o.AddString("rule", verdict.RuleName())
	o.AddString("action", r.action.String())
	o.AddBool("granted", r.granted)
	if r.would != nil {
		o.AddString("would", r.wouldDo.String())
		o.AddString("would_rule", r.would.Name)
	} else {
		o.AddString("would", "")
		o.AddString("would_rule", "")
	}
	o.AddString("reason", verdict.Reason())
	o.AddFloat64("duration_us", float64(r.duration)/float64(time.Microsecond))
	return nil
}

func (e *encoder) marshalEnd(o zapcore.ObjectEncoder, r *record) error {
	verdict := policy.Verdict{Action: r.action, Rule: r.rule}
	e.addID(o, r)
	o.AddString("tenant", e.tenant)
	o.AddString("event", eventClose)
	if err := e.addClient(o, r); err != nil {
		return err
	}
	e.addHost(o, r)
	o.AddString("app", appID(r.app))
	o.AddString("rule", verdict.RuleName())
	o.AddInt64("bytes_up", r.end.BytesUp)
	o.AddInt64("bytes_down", r.end.BytesDown)
	o.AddFloat64("seconds", r.end.Seconds)
	o.AddString("closed_by", r.end.ClosedBy)
	o.AddString("closed_by_rule", r.end.Rule)
	return nil
}

func (e *encoder) addID(o zapcore.ObjectEncoder, r *record) {
	if r.id != "" {
		o.AddString("id", r.id)
		return
	}
	e.scratch = e.ids.append(e.scratch[:0])
	o.AddByteString("id", e.scratch)
}

// addClient writes which policy was asked, at which door, and by whom.
func (e *encoder) addClient(o zapcore.ObjectEncoder, r *record) error {
	o.AddString("revision", r.revision)
	o.AddString("door", r.door.String())
	o.AddString("transport", r.transport)
	since := time.Unix(0, r.since)
	e.addPerson(o, r, since)
	e.groups.list = r.groups
	if err := o.AddArray("groups", &e.groups); err != nil {
		return err
	}
	e.devices.list, e.devices.since = r.devices, since
	if err := o.AddArray("devices", &e.devices); err != nil {
		return err
	}
	o.AddString("identity", r.source)
	return nil
}

// addPerson writes who asked, as far as it may be known.
func (e *encoder) addPerson(o zapcore.ObjectEncoder, r *record, since time.Time) {
	client, hidden := e.mask.AppendClient(e.scratch[:0], r.client, since)
	if !hidden {
		client = appendAddr(client, r.client)
	}
	e.scratch = client
	o.AddByteString("client", client)
	user, hidden := e.mask.AppendUser(e.scratch[:0], r.user, since)
	if !hidden {
		o.AddString("user", r.user)
		return
	}
	e.scratch = user
	o.AddByteString("user", user)
}

func (e *encoder) addHost(o zapcore.ObjectEncoder, r *record) {
	if len(r.name) > 0 {
		o.AddByteString("host", r.name)
	} else {
		e.scratch = appendAddr(e.scratch[:0], r.addr)
		o.AddByteString("host", e.scratch)
	}
	o.AddUint16("port", r.port)
}

// names is a list of strings for zap.
type names struct{ list []string }

// MarshalLogArray writes the list.
func (n *names) MarshalLogArray(a zapcore.ArrayEncoder) error {
	for _, s := range n.list {
		a.AppendString(s)
	}
	return nil
}

// devices is a list of devices for zap, as far as they may be known.
type devices struct {
	list    []string
	mask    *privacy.Mask
	since   time.Time
	scratch []byte
}

// MarshalLogArray writes the list.
func (d *devices) MarshalLogArray(a zapcore.ArrayEncoder) error {
	for _, device := range d.list {
		text, hidden := d.mask.AppendDevice(d.scratch[:0], device, d.since)
		d.scratch = text
		switch {
		case !hidden:
			a.AppendString(device)
		case len(text) > 0:
			a.AppendByteString(text)
		}
	}
	return nil
}

// hosts is a list of destinations for zap.
type hosts struct {
	list    []policy.Host
	scratch []byte
}

// MarshalLogArray writes the list.
func (h *hosts) MarshalLogArray(a zapcore.ArrayEncoder) error {
	for _, host := range h.list {
		h.scratch = appendHost(h.scratch[:0], host)
		a.AppendByteString(h.scratch)
	}
	return nil
}

func appendHost(b []byte, h policy.Host) []byte {
	if h.IsAddr() {
		return appendAddr(b, h.Addr())
	}
	return append(b, h.Name()...)
}

// appendAddr writes nothing for an invalid address.
func appendAddr(b []byte, a netip.Addr) []byte { return a.AppendTo(b) }
