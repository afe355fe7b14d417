package main

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/xml"
	"fmt"
)

// configurationProfile is a profile by which macOS and iOS trust an authority
// (Apple's Configuration Profile Reference: com.apple.security.root). The same
// certificate always gives the same profile, so that one installed again takes
// the place of the first.
func configurationProfile(c *x509.Certificate) []byte {
	sum := sha256.Sum256(c.Raw)
	var organisation string
	if len(c.Subject.Organization) > 0 {
		organisation = c.Subject.Organization[0]
	}
	identifier := fmt.Sprintf("sallyport.authority.%x", sum[:8])
	var b bytes.Buffer
	fmt.Fprintf(&b, `<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
<dict>
	<key>PayloadType</key><string>Configuration</string>
	<key>PayloadVersion</key><integer>1</integer>
	<key>PayloadScope</key><string>System</string>
	<key>PayloadIdentifier</key><string>%[1]s</string>
	<key>PayloadUUID</key><string>%[2]s</string>
	<key>PayloadDisplayName</key><string>%[3]s</string>
	<key>PayloadOrganization</key><string>%[4]s</string>
	<key>PayloadDescription</key><string>Lets the network explain over HTTPS why it has refused a site.</string>
	<key>PayloadContent</key>
	<array>
		<dict>
			<key>PayloadType</key><string>com.apple.security.root</string>
			<key>PayloadVersion</key><integer>1</integer>
			<key>PayloadIdentifier</key><string>%[1]s.certificate</string>
			<key>PayloadUUID</key><string>%[5]s</string>
			<key>PayloadDisplayName</key><string>%[3]s</string>
			<key>PayloadCertificateFileName</key><string>ca.cer</string>
			<key>PayloadContent</key>
			<data>
%[6]s			</data>
		</dict>
	</array>
</dict>
</plist>
`, identifier, uuid(sum[:16]), escaped(c.Subject.CommonName), escaped(organisation), uuid(sum[16:]), dataLines(c.Raw))
	return b.Bytes()
}

// uuid makes a UUID of 16 bytes (RFC 9562 §5.8: of a kind of our own).
func uuid(b []byte) string {
	var u [16]byte
	copy(u[:], b)
	u[6] = u[6]&0x0f | 0x80
	u[8] = u[8]&0x3f | 0x80
	return fmt.Sprintf("%X-%X-%X-%X-%X", u[:4], u[4:6], u[6:8], u[8:10], u[10:])
}

func escaped(text string) string {
	var b bytes.Buffer
	_ = xml.EscapeText(&b, []byte(text)) // a bytes.Buffer takes everything
	return b.String()
}

// dataLines is base64 in lines, as property lists have it.
func dataLines(data []byte) string {
	const width = 64
	text := base64.StdEncoding.EncodeToString(data)
	var b bytes.Buffer
	for ; len(text) > width; text = text[width:] {
		fmt.Fprintf(&b, "\t\t\t%s\n", text[:width])
	}
	fmt.Fprintf(&b, "\t\t\t%s\n", text)
	return b.String()
}
