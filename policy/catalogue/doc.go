// Package catalogue holds the apps that sallyport knows: conferencing,
// messaging and telephony products, and the services that lead around a filter
// (DNS over HTTPS, relays, VPNs, tunnels).
//
// Each app is one file under apps, embedded in the binary and read with
// [policy.ParseApp]. Adding an app is adding one file and nothing else; the
// README beside this file describes the form and how facts are cited.
package catalogue
