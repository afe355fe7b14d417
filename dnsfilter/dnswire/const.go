package dnswire

// Header bits (RFC 1035 §4.1.1, RFC 4035 §3.2).
const (
	HeaderBytes = 12

	FlagQR     = 1 << 15
	MaskOpcode = 0xF << 11
	FlagTC     = 1 << 9
	FlagRD     = 1 << 8
	FlagRA     = 1 << 7
	FlagAD     = 1 << 5
	FlagCD     = 1 << 4
	MaskRcode  = 0xF
)

// Response codes (RFC 1035 §4.1.1, RFC 6891 §9, RFC 7873 §8), RcodeDrop,
// and RcodeCookieQuery, which are ours: no reply at all, and one with a cookie.
const (
	RcodeCookieQuery = -2
	RcodeDrop        = -1
	RcodeNoError     = 0
	RcodeFormErr     = 1
	RcodeServFail    = 2
	RcodeNXDomain    = 3
	RcodeNotImp      = 4
	RcodeRefused     = 5
	RcodeBadVers     = 16
	RcodeBadCookie   = 23
)

// Types and classes that are treated apart.
const (
	TypeA     uint16 = 1
	TypeNS    uint16 = 2
	TypeCNAME uint16 = 5
	TypeSOA   uint16 = 6
	TypePTR   uint16 = 12
	TypeHINFO uint16 = 13
	TypeAAAA  uint16 = 28
	TypeOPT   uint16 = 41
	TypeRRSIG uint16 = 46
	TypeSVCB  uint16 = 64
	TypeHTTPS uint16 = 65
	TypeANY   uint16 = 255
	ClassIN   uint16 = 1
)

// EDNS options (RFC 6891 §9 and the IANA registry).
const (
	OptionSubnet    = 8  // RFC 7871
	OptionCookie    = 10 // RFC 7873
	OptionKeepalive = 11 // RFC 7828
	OptionPadding   = 12 // RFC 7830
	OptionEDE       = 15 // RFC 8914
)

// Extended errors (RFC 8914 §4).
const (
	EDEOther                uint16 = 0
	EDEStale                uint16 = 3
	EDEForged               uint16 = 4
	EDEBlocked              uint16 = 15
	EDEProhibited           uint16 = 18
	EDEStaleNXDomain        uint16 = 19
	EDENoReachableAuthority uint16 = 22
	EDENetworkError         uint16 = 23
)

// Sizes.
const (
	MaxNameBytes  = 255  // RFC 1035 §3.1, length bytes and root included
	MaxLabelBytes = 63   // RFC 1035 §3.1
	MaxQueryBytes = 4096 // no question needs more, padding included
	UDPPayload    = 1232 // fits every path without fragments
	MinUDPPayload = 512  // RFC 1035 §4.2.1
	MaxExtraText  = 200  // a reason is one line; it must not eat the reply

	maxQueryRecords = 8 // additional records of a query: OPT, TSIG and room
)
