package proxy

import (
	"fmt"
	"slices"
)

// MismatchAction says what becomes of a connection that contradicts itself.
type MismatchAction string

// The actions. The empty one takes the default.
const (
	MismatchAllow  MismatchAction = "allow"  // counted
	MismatchReport MismatchAction = "report" // counted, and logged for whoever debugs
	MismatchBlock  MismatchAction = "block"  // refused as well, by the rule mismatch
)

// Mismatch says what becomes of connections whose parts do not fit together,
// and that the policy has nothing against otherwise. What is left out is
// reported, save ECH, which is allowed.
type Mismatch struct {
	// ServerName is for a TLS server name that is not the host of the CONNECT.
	ServerName MismatchAction

	// Host is for the Host field of a plain request that is not the host that
	// was asked for, in its URI or by a CONNECT.
	Host MismatchAction

	// Address is for a name, in TLS or in a plain request, that does not lead
	// to the address that was connected to. MismatchAllow saves looking up the
	// names in tunnels to addresses, and does not count those.
	Address MismatchAction

	// ECH is for a server name that stands in front of an encrypted one.
	ECH MismatchAction

	// Protocol is for what is no TLS, on one of TLSPorts.
	Protocol MismatchAction

	// TLSPorts are the ports on which nothing but TLS belongs. Nil: 443.
	TLSPorts []uint16
}

// complete checks m and fills in the defaults.
func (m Mismatch) complete() (Mismatch, error) {
	for _, setting := range []struct {
		kind     mismatch
		action   *MismatchAction
		fallback MismatchAction
	}{
		{mismatchServerName, &m.ServerName, MismatchReport},
		{mismatchHost, &m.Host, MismatchReport},
		{mismatchAddress, &m.Address, MismatchReport},
		{mismatchECH, &m.ECH, MismatchAllow},
		{mismatchProtocol, &m.Protocol, MismatchReport},
	} {
		switch *setting.action {
		case "":
			*setting.action = setting.fallback
		case MismatchAllow, MismatchReport, MismatchBlock:
		default:
			return m, fmt.Errorf("proxy: mismatch %s is %q: use allow, report or block", setting.kind, *setting.action)
		}
	}
	if m.TLSPorts == nil {
		m.TLSPorts = []uint16{443}
	}
	return m, nil
}

// action is what becomes of a mismatch.
func (m *Mismatch) action(kind mismatch) MismatchAction {
	switch kind {
	case mismatchServerName:
		return m.ServerName
	case mismatchHost:
		return m.Host
	case mismatchAddress:
		return m.Address
	case mismatchECH:
		return m.ECH
	default:
		return m.Protocol
	}
}

// expectsTLS reports whether nothing but TLS belongs on a port.
func (m *Mismatch) expectsTLS(port uint16) bool { return slices.Contains(m.TLSPorts, port) }
