package proxy

import (
	"net"
	"testing"
)

// TestOriginsMakeNoSeries: whatever status an origin answers with, it is counted
// under one that has a name.
func TestOriginsMakeNoSeries(t *testing.T) {
	for answered, counted := range map[string]string{"204": "204", "299": "200", "499": "499", "599": "500", "777": "500"} {
		t.Run(answered, func(t *testing.T) {
			where := origin(t, func(c *net.TCPConn) {
				_, _ = c.Read(make([]byte, 4096))
				_, _ = c.Write([]byte("HTTP/1.1 " + answered + " Strange\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"))
			}).String()
			d := open(t, nil)
			c := d.client()
			c.send("GET http://" + where + "/ HTTP/1.1\r\nHost: " + where + "\r\n\r\n")
			if response, _ := c.answer("GET"); response.Status[:3] != answered {
				t.Fatalf("the client was told %s", response.Status)
			}
			d.awaitMetric(1, "sallyport_proxy_requests_total", methodHTTP, counted)
		})
	}
}
