package cookie

import (
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"testing"
	"time"

	"github.com/dchest/siphash"
)

func unhex(t testing.TB, digits string) []byte {
	t.Helper()
	b, err := hex.DecodeString(digits)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestVectors are those of RFC 9018, Appendix A.
func TestVectors(t *testing.T) {
	const first, old, new = "e5e973e5a6b2a43f48e7dc849e37bfcf", "dd3bdf9344b678b185a6f5cb60fca715", "445536bcd2513298075a5d379663c962"
	for _, c := range []struct {
		name          string
		secrets       []string
		addr          string
		client        string
		brought       string // the server cookie that the query has; empty: none
		want          Verdict
		at            int64
		madeInReplyTo string // the server cookie of the reply
	}{
		{"A.1 learning a new one", []string{first}, "198.51.100.100", "2464c4abcf10c957", "", Verdict{}, 1559731985, "010000005cf79f111f8130c3eee29480"},
		{"A.2 the same client renews", []string{first}, "198.51.100.100", "2464c4abcf10c957", "010000005cf79f111f8130c3eee29480", Verdict{Valid: true}, 1559734385, "010000005cf7a871d4a564a1442aca77"},
		{"A.3 reserved bytes that are set", []string{first}, "203.0.113.203", "fc93fc62807ddb86", "01abcdef5cf78f71a314227b6679ebf5", Verdict{}, 1559734700, "010000005cf7a9acf73a7810aca2381e"},
		{"A.4 IPv6 and a secret rolled over", []string{new, old}, "2001:db8:220:1:59de:d0f4:8769:82b8", "22681ab97d52c298", "010000005cf7c57926556bd0934c72f8", Verdict{Valid: true}, 1559741961, "010000005cf7c609a6bb79d16625507a"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var secrets [][16]byte
			for _, s := range c.secrets {
				secrets = append(secrets, [16]byte(unhex(t, s)))
			}
			jar, addr, client := New(secrets...), netip.MustParseAddr(c.addr), [8]byte(unhex(t, c.client))
			now := time.Unix(c.at, 0)
			if got := jar.Check(client, unhex(t, c.brought), addr, now); got != c.want {
				t.Errorf("the query's cookie is worth %+v, want %+v", got, c.want)
			}
			option := jar.Make(client, addr, now)
			if got := hex.EncodeToString(option[:]); got != c.client+c.madeInReplyTo {
				t.Errorf("made %s, want %s", got, c.client+c.madeInReplyTo)
			}
		})
	}
}

// TestReservedBytesAreHashed takes the cookie of A.3 while it is young: its
// reserved bytes are set and part of what was signed.
func TestReservedBytesAreHashed(t *testing.T) {
	jar := New([16]byte(unhex(t, "e5e973e5a6b2a43f48e7dc849e37bfcf")))
	addr, client := netip.MustParseAddr("203.0.113.203"), [8]byte(unhex(t, "fc93fc62807ddb86"))
	server := unhex(t, "01abcdef5cf78f71a314227b6679ebf5")
	now := time.Unix(0x5cf78f71, 0)
	if got := jar.Check(client, server, addr, now); !got.Valid {
		t.Errorf("verdict %+v, want valid", got)
	}
	server[1] = 0
	if got := jar.Check(client, server, addr, now); got.Valid {
		t.Error("a changed reserved byte is not noticed")
	}
}

func TestAge(t *testing.T) {
	jar, client, addr := New(), [8]byte{1, 2, 3}, netip.MustParseAddr("192.0.2.7")
	for _, c := range []struct {
		name string
		at   int64 // when the cookie was made
	}{{"now", 1_800_000_000}, {"about when 32 bits wrap around", 1 << 32}, {"just before they do", 1<<32 - 1}} {
		for _, age := range []struct {
			seconds int64
			want    Verdict
		}{
			{-301, Verdict{}},
			{-300, Verdict{Valid: true}},
			{0, Verdict{Valid: true}},
			{1800, Verdict{Valid: true}},
			{3600, Verdict{Valid: true}},
			{3601, Verdict{}},
			{1 << 31, Verdict{}},
		} {
			made := jar.Make(client, addr, time.Unix(c.at, 0))
			if got := jar.Check(client, made[ClientSize:], addr, time.Unix(c.at+age.seconds, 0)); got != age.want {
				t.Errorf("made %s, %d s old: %+v, want %+v", c.name, age.seconds, got, age.want)
			}
		}
	}
}

// TestAnyOtherBit changes each bit of what a cookie is made of.
func TestAnyOtherBit(t *testing.T) {
	for _, text := range []string{"192.0.2.7", "2001:db8::7"} {
		jar, client, addr := New(), [8]byte{1, 2, 3}, netip.MustParseAddr(text)
		now := time.Unix(1_800_000_000, 0)
		made := jar.Make(client, addr, now)
		server := made[ClientSize:]
		if !jar.Check(client, server, addr, now).Valid {
			t.Fatal("a cookie as made is not valid")
		}
		for bit := range 8 * ServerSize {
			other := [ServerSize]byte(server)
			other[bit/8] ^= 1 << (bit % 8)
			if jar.Check(client, other[:], addr, now).Valid {
				t.Errorf("%s: bit %d of the server cookie may change", text, bit)
			}
		}
		for bit := range 8 * ClientSize {
			other := client
			other[bit/8] ^= 1 << (bit % 8)
			if jar.Check(other, server, addr, now).Valid {
				t.Errorf("%s: bit %d of the client cookie may change", text, bit)
			}
		}
		for bit := range addr.BitLen() {
			raw := addr.AsSlice()
			raw[bit/8] ^= 1 << (bit % 8)
			other, _ := netip.AddrFromSlice(raw)
			if jar.Check(client, server, other, now).Valid {
				t.Errorf("%s: bit %d of the address may change", text, bit)
			}
		}
		for n := range ServerSize {
			if jar.Check(client, server[:n], addr, now).Valid {
				t.Errorf("%s: %d bytes of a server cookie are enough", text, n)
			}
		}
		if New().Check(client, server, addr, now).Valid {
			t.Error("two random secrets are the same")
		}
	}
}

func TestMappedAddressIsTheSameClient(t *testing.T) {
	jar, client, now := New(), [8]byte{9}, time.Unix(1_800_000_000, 0)
	made := jar.Make(client, netip.MustParseAddr("192.0.2.7"), now)
	if !jar.Check(client, made[ClientSize:], netip.MustParseAddr("::ffff:192.0.2.7"), now).Valid {
		t.Error("the cookie of an IPv4 client is not valid where a socket takes both families")
	}
}

func TestNoAllocation(t *testing.T) {
	jar, client, addr := New([16]byte{1}, [16]byte{2}), [8]byte{1}, netip.MustParseAddr("2001:db8::7")
	now := time.Unix(1_800_000_000, 0)
	made := jar.Make(client, addr, now)
	if n := testing.AllocsPerRun(100, func() {
		made = jar.Make(client, addr, now)
		if !jar.Check(client, made[ClientSize:], addr, now).Valid {
			t.Fatal("not valid")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzCheck holds Check to a slower reading of RFC 9018 §4.
func FuzzCheck(f *testing.F) {
	jar := New([16]byte{1, 2, 3})
	addr := netip.MustParseAddr("192.0.2.7")
	good := jar.Make([8]byte{5}, addr, time.Unix(1_800_000_000, 0))
	f.Add(good[:8], good[8:], addr.AsSlice(), int64(1_800_000_000))
	f.Add(good[:8], good[8:], addr.AsSlice(), int64(1_800_003_601))
	f.Add(good[:8], []byte{}, netip.MustParseAddr("2001:db8::1").AsSlice(), int64(0))
	f.Add(good[:8], good[8:15], []byte{}, int64(-1))
	f.Fuzz(func(t *testing.T, client, server, from []byte, at int64) {
		if len(client) != ClientSize {
			return
		}
		addr, ok := netip.AddrFromSlice(from)
		if !ok {
			return
		}
		addr = addr.Unmap()
		got := jar.Check([8]byte(client), server, addr, time.Unix(at, 0))
		want := false
		if len(server) == 16 && server[0] == 1 {
			secret := [16]byte{1, 2, 3}
			hash := siphash.New(secret[:])
			hash.Write(client)
			hash.Write(server[:8])
			hash.Write(addr.AsSlice())
			age := int64(int32(uint32(at) - binary.BigEndian.Uint32(server[4:])))
			want = hash.Sum64() == binary.LittleEndian.Uint64(server[8:]) && age >= -300 && age <= 3600
		}
		if got.Valid != want {
			t.Errorf("verdict %+v, want valid %v", got, want)
		}
	})
}

func BenchmarkCheck(b *testing.B) {
	jar, client, addr, now := New(), [8]byte{1}, netip.MustParseAddr("2001:db8::7"), time.Unix(1_800_000_000, 0)
	made := jar.Make(client, addr, now)
	b.ReportAllocs()
	for b.Loop() {
		jar.Check(client, made[ClientSize:], addr, now)
	}
}
