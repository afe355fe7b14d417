// Command connectload measures how many CONNECT tunnels a second a proxy
// opens: each is opened, carries one byte to an echo server and back, and is
// closed by the server. With -serve it is that server. It talks to loopback only.
package main
