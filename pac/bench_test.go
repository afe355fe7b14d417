package pac

import (
	"net/netip"
	"testing"

	"github.com/sallyport/sallyport/policy"
)

// BenchmarkScript is a fetch when the plan is there, and the writing of one.
func BenchmarkScript(b *testing.B) {
	program := compiled(b, officePolicy, nil)
	m := NewMaker(MakerConfig{Settings: Settings{Judged: true}, SignIn: true, Program: func() *policy.Program { return program }})
	client, proxies, portal := netip.MustParseAddr("10.1.1.1"), testProxy(b), hostOf(b, "portal.corp.example")
	b.Run("kept", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			m.Plan(client).Script(proxies, portal)
		}
	})
	b.Run("written", func(b *testing.B) {
		b.ReportAllocs()
		subject := subjectAt(program, "10.1.1.1")
		for b.Loop() {
			NewPlan(&m.settings, program.Scope(&subject, policy.DoorProxy, true))
		}
	})
}
