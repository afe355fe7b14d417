package ingress

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"reflect"
	"strings"
	"testing"
)

func TestCertificatePeer(t *testing.T) {
	tests := []struct {
		name        string
		certificate x509.Certificate
		want        *Peer
	}{
		{"user", x509.Certificate{EmailAddresses: []string{"Alice@Corp.Example", "bob@corp.example"}},
			&Peer{User: "alice@corp.example", Source: "certificate"}},
		{"devices", x509.Certificate{DNSNames: []string{"Laptop-7.Corp.Example", "laptop-7"}, Subject: pkix.Name{CommonName: "ignored"}},
			&Peer{Devices: []string{"laptop-7.corp.example", "laptop-7"}, Source: "certificate"}},
		{"common name", x509.Certificate{Subject: pkix.Name{CommonName: "Kiosk"}},
			&Peer{Devices: []string{"kiosk"}, Source: "certificate"}},
		{"both", x509.Certificate{EmailAddresses: []string{"a@b.example"}, Subject: pkix.Name{CommonName: "Kiosk"}},
			&Peer{User: "a@b.example", Devices: []string{"kiosk"}, Source: "certificate"}},
		{"nobody", x509.Certificate{}, nil},
		{"a name with a space", x509.Certificate{Subject: pkix.Name{CommonName: "Alice Smith"}}, nil},
		{"a name with a line break", x509.Certificate{EmailAddresses: []string{"a@b\nadmin"}, DNSNames: []string{"x\x00y"}}, nil},
		{"bad DNS names are not made up for", x509.Certificate{DNSNames: []string{"x y"}, Subject: pkix.Name{CommonName: "kiosk"}}, nil},
		{"a long name", x509.Certificate{DNSNames: []string{strings.Repeat("x", 254), "y"}}, &Peer{Devices: []string{"y"}, Source: "certificate"}},
		{"many names", x509.Certificate{DNSNames: strings.Split(strings.Repeat("x ", 40)+"x", " ")},
			&Peer{Devices: strings.Split(strings.Repeat("x ", 15)+"x", " "), Source: "certificate"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := CertificatePeer(&test.certificate); !reflect.DeepEqual(got, test.want) {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
		})
	}
}
