package servercert

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"reflect"
	"strings"
	"testing"
)

func TestClientIn(t *testing.T) {
	tests := []struct {
		name        string
		certificate x509.Certificate
		want        *Client
	}{
		{"user", x509.Certificate{EmailAddresses: []string{"Alice@Corp.Example", "bob@corp.example"}},
			&Client{User: "alice@corp.example"}},
		{"devices", x509.Certificate{DNSNames: []string{"Laptop-7.Corp.Example", "laptop-7"}, Subject: pkix.Name{CommonName: "ignored"}},
			&Client{Devices: []string{"laptop-7.corp.example", "laptop-7"}}},
		{"common name", x509.Certificate{Subject: pkix.Name{CommonName: "Kiosk"}},
			&Client{Devices: []string{"kiosk"}}},
		{"both", x509.Certificate{EmailAddresses: []string{"a@b.example"}, Subject: pkix.Name{CommonName: "Kiosk"}},
			&Client{User: "a@b.example", Devices: []string{"kiosk"}}},
		{"nobody", x509.Certificate{}, nil},
		{"a name with a space", x509.Certificate{Subject: pkix.Name{CommonName: "Alice Smith"}}, nil},
		{"a name with a line break", x509.Certificate{EmailAddresses: []string{"a@b\nadmin"}, DNSNames: []string{"x\x00y"}}, nil},
		{"bad DNS names are not made up for", x509.Certificate{DNSNames: []string{"x y"}, Subject: pkix.Name{CommonName: "kiosk"}}, nil},
		{"a long name", x509.Certificate{DNSNames: []string{strings.Repeat("x", 254), "y"}}, &Client{Devices: []string{"y"}}},
		{"many names", x509.Certificate{DNSNames: strings.Split(strings.Repeat("x ", 40)+"x", " ")},
			&Client{Devices: strings.Split(strings.Repeat("x ", 15)+"x", " ")}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, ok := clientIn(&test.certificate)
			if ok != (test.want != nil) {
				t.Fatalf("got %+v, %v, want %+v", got, ok, test.want)
			}
			if ok && !reflect.DeepEqual(got, *test.want) {
				t.Errorf("got %+v, want %+v", got, *test.want)
			}
		})
	}
}

// What has not been verified names nobody, and neither does a connection
// without a certificate.
func TestClientOfVerifiedAlone(t *testing.T) {
	shown := &x509.Certificate{DNSNames: []string{"laptop"}}
	for name, state := range map[string]tls.ConnectionState{
		"no certificate": {},
		"not verified":   {PeerCertificates: []*x509.Certificate{shown}},
		"an empty chain": {PeerCertificates: []*x509.Certificate{shown}, VerifiedChains: [][]*x509.Certificate{{}}},
	} {
		if client, ok := ClientOf(state); ok {
			t.Errorf("%s: %+v", name, client)
		}
	}
	verified := tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{shown}}}
	if client, ok := ClientOf(verified); !ok || client.Devices[0] != "laptop" {
		t.Errorf("verified: %+v, %v", client, ok)
	}
}
