package gate

import "testing"

func TestGate(t *testing.T) {
	var g Gate
	first, second := g.Enter(), g.Enter()
	if !first || !second {
		t.Fatal("the gate is shut")
	}
	empty := g.Close()
	if g.Enter() {
		t.Fatal("entered a closed gate")
	}
	g.Leave()
	select {
	case <-empty:
		t.Fatal("empty with one inside")
	default:
	}
	g.Leave()
	<-empty
	<-g.Close()
	var unused Gate
	<-unused.Close()
}
