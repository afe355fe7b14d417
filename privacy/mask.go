package privacy

import (
	"net/netip"
	"time"
)

// Config holds a Mask's settings.
type Config struct {
	Extents

	// Key is what pseudonyms are made with. Where it is nil there are none:
	// what asks for one is not written at all.
	Key *Key

	// Rotate is how long one person has the same pseudonyms. 0 means a day.
	Rotate time.Duration
}

// Mask says what a log writes of a person. A nil *Mask hides nothing. Safe for
// concurrent use.
type Mask struct {
	extents    Extents
	pseudonyms *pseudonyms // nil: none can be made
}

// New makes a Mask.
func New(cfg Config) *Mask {
	m := &Mask{extents: cfg.Extents}
	if cfg.Key != nil {
		m.pseudonyms = newPseudonyms(cfg.Key, cfg.Rotate)
	}
	return m
}

// AppendClient appends to line what stands for an address, in an entry about
// something that happened at a time. hidden is false, and nothing appended,
// where the address is to be written as it is; nothing is appended either where
// it is not to be written at all.
func (m *Mask) AppendClient(line []byte, address netip.Addr, at time.Time) (_ []byte, hidden bool) {
	if m == nil || m.extents.Client == Full {
		return line, false
	}
	if m.extents.Client != Pseudonym || m.pseudonyms == nil || !address.IsValid() {
		return line, true
	}
	text := m.pseudonyms.client(address, at)
	return append(line, text[:]...), true
}

// AppendUser is AppendClient for the name of a user.
func (m *Mask) AppendUser(line []byte, name string, at time.Time) (_ []byte, hidden bool) {
	if m == nil {
		return line, false
	}
	return m.appendName(line, m.extents.User, kindUser, name, at)
}

// AppendDevice is AppendClient for the name of a device.
func (m *Mask) AppendDevice(line []byte, name string, at time.Time) (_ []byte, hidden bool) {
	if m == nil {
		return line, false
	}
	return m.appendName(line, m.extents.Device, kindDevice, name, at)
}

func (m *Mask) appendName(line []byte, extent Extent, kind byte, name string, at time.Time) (_ []byte, hidden bool) {
	if extent == Full {
		return line, false
	}
	if extent != Pseudonym || m.pseudonyms == nil || name == "" {
		return line, true
	}
	text := m.pseudonyms.name(kind, name, at)
	return append(line, text[:]...), true
}

// HidesPeople is [Extents.HidePeople].
func (m *Mask) HidesPeople() bool { return m != nil && m.extents.HidePeople() }

// Period is the time within which a person keeps the pseudonym that they have
// at a time: from its first instant to that of the next.
func (m *Mask) Period(at time.Time) (from, to time.Time) {
	if m == nil || m.pseudonyms == nil {
		return time.Time{}, time.Time{}
	}
	number := m.pseudonyms.period(at)
	begin := time.Unix(0, 0).UTC()
	rotate := m.pseudonyms.rotate
	return begin.Add(time.Duration(number) * rotate), begin.Add(time.Duration(number+1) * rotate)
}
