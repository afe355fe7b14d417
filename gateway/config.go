package gateway

import (
	"net/netip"
	"time"

	"github.com/sallyport/sallyport/policy"
	"github.com/sallyport/sallyport/proxy"
	"github.com/sallyport/sallyport/proxy/outbound"
)

// Config is sallyport.yaml as it was read: what needs a restart to change.
// Paths are resolved already, relative ones against the file's own folder.
type Config struct {
	// Path is the file that the configuration came from; empty where it was
	// made in memory, as tests do.
	Path string

	// Policy is the policy's file or folder.
	Policy string

	policyNamed policyNamed

	// State is the folder for what must outlive the process: the copies of lists
	// by URL, the grants of people who continued past a warning and the key that
	// signs their links. It is made when it is needed. Empty: "state" beside the policy.
	State string

	// Tenant is carried in every entry of the decision log.
	Tenant string

	DNS      DNSConfig
	Proxy    ProxyConfig
	Admin    AdminConfig
	Portal   PortalConfig
	Coaching CoachingConfig
	Audit    AuditConfig
	Log      LogConfig
	Users    UsersConfig
	Reload   ReloadConfig

	Upgrade UpgradeConfig
}

// policyNamed is where a configuration file names its policy; zero where it does not.
type policyNamed struct {
	path string
	at   policy.Position
}

// policyPlace is where the policy is named that is in use, or the policy itself
// where that is not in the configuration.
func (c *Config) policyPlace() policy.Position {
	if c.policyNamed.path == c.Policy && c.policyNamed.at.Line > 0 {
		return c.policyNamed.at
	}
	return policy.Position{File: c.Policy}
}

// ProxyConfig is the proxy door's part.
type ProxyConfig struct {
	Listen       []string // host:port
	SOCKS        []string // host:port; none: off
	Transparent  TransparentConfig
	TLS          EndpointConfig // the proxy protocol itself inside TLS
	Clients      []netip.Prefix
	ProxyFrom    []netip.Prefix // of load balancers, whose PROXY headers are believed
	DenyNone     bool           // deny_networks: none
	DenyNetworks []netip.Prefix // deny_networks: a list; empty with DenyNone false: private
	UsersFile    string         // htpasswd; empty: nobody can sign in
	Advertise    string         // host:port for the PAC file; empty: as the client reached the portal
	Dial         time.Duration
	Header       time.Duration
	FirstByte    time.Duration
	Peek         time.Duration // for a redirected client's first byte
	Idle         time.Duration
	Drain        time.Duration // how long a stop waits for open tunnels
	MaxConns     int
	MaxTunnels   int
	Limits       ProxyLimitsConfig
	Parents      []outbound.Parent // other proxies, through which destinations are reached
	Routes       []outbound.Route  // which way; none: directly
	AccessLogs   []AccessLogConfig
	Interception InterceptionConfig
	Mismatch     proxy.Mismatch
}

// AdminConfig is the admin listener's part.
type AdminConfig struct {
	Listen string   // host:port; empty: off
	Hosts  []string // further names by which it may be called
}

// PortalConfig is the portal listener's part.
type PortalConfig struct {
	Listen    string       // host:port; empty: off
	Hosts     []string     // its own names
	URL       string       // by which people reach it: scheme and host; empty: where it listens
	Addresses []netip.Addr // what `answer: page` gives; empty: where it listens
	PAC       PACConfig
}

// LogConfig is the log on standard error.
type LogConfig struct {
	Level  string // debug, info, warn or error
	Format string // console or json
}

// UsersConfig is how users are known.
type UsersConfig struct {
	Remember time.Duration // a user seen at the proxy is known at the DNS door for this long; 0: not
}

// ReloadConfig is how policy edits are noticed.
type ReloadConfig struct {
	Poll time.Duration // how often files are looked at where no notification comes
}

// UpgradeConfig is how a new process takes over.
type UpgradeConfig struct {
	Ready time.Duration // how long it may take until it serves
}

// DefaultConfig is what an empty sallyport.yaml means: both doors on loopback
// and unprivileged ports, for clients on loopback and private networks, with
// the policy in policy.yaml.
func DefaultConfig() *Config {
	return &Config{
		Policy: "policy.yaml",
		Tenant: "default",
		DNS:    defaultDNS(),
		Proxy: ProxyConfig{
			Listen:     []string{"127.0.0.1:3128"},
			Clients:    localNetworks(),
			Dial:       10 * time.Second,
			Header:     10 * time.Second,
			FirstByte:  5 * time.Second,
			Peek:       300 * time.Millisecond,
			Idle:       time.Hour,
			Drain:      10 * time.Second,
			MaxConns:   16 << 10,
			MaxTunnels: 64 << 10,
			Limits:     defaultProxyLimits(),

			Interception: InterceptionConfig{Clients: "browsers"},
		},
		Admin:  AdminConfig{Listen: "127.0.0.1:9180"},
		Portal: PortalConfig{Listen: "127.0.0.1:8080", PAC: defaultPAC()},
		Audit:  defaultAudit(),
		Log:    LogConfig{Level: "info", Format: "console"},
		Reload: ReloadConfig{Poll: 10 * time.Second},

		Upgrade: UpgradeConfig{Ready: time.Minute},
	}
}

// localNetworks are the private and loopback networks: who may ask where the
// configuration does not say. A gateway that answered the whole internet would
// be an open resolver and an open proxy.
func localNetworks() []netip.Prefix {
	return []netip.Prefix{
		netip.MustParsePrefix("127.0.0.0/8"),
		netip.MustParsePrefix("10.0.0.0/8"),
		netip.MustParsePrefix("172.16.0.0/12"),
		netip.MustParsePrefix("192.168.0.0/16"),
		netip.MustParsePrefix("169.254.0.0/16"),
		netip.MustParsePrefix("100.64.0.0/10"), // RFC 6598
		netip.MustParsePrefix("::1/128"),
		netip.MustParsePrefix("fc00::/7"),  // RFC 4193
		netip.MustParsePrefix("fe80::/10"), // link-local
	}
}
