package audit

import (
	"bytes"
	"testing"
	"time"

	"github.com/sallyport/sallyport/policy"
)

func TestParseExtent(t *testing.T) {
	for _, a := range []Extent{ExtentAll, ExtentSampled, ExtentNone} {
		if got, err := ParseExtent(a.String()); err != nil || got != a {
			t.Errorf("ParseExtent(%q) = %v, %v", a, got, err)
		}
	}
	for _, s := range []string{"", "ALL", "some", "invalid"} {
		if got, err := ParseExtent(s); err == nil {
			t.Errorf("ParseExtent(%q) = %v, want an error", s, got)
		}
	}
	if Extent(9).want(&sampler{}, 0) {
		t.Error("a choice that does not exist writes allows")
	}
}

func TestSampled(t *testing.T) {
	var s sampler
	at := time.Date(2020, 3, 28, 9, 0, 0, 0, time.UTC)
	burst := func(n int) (picked int) {
		for range n {
			if ExtentSampled.want(&s, at.UnixNano()) {
				picked++
			}
		}
		return picked
	}
	if got := burst(sampleFirst); got != sampleFirst {
		t.Errorf("%d of the first %d in a second", got, sampleFirst)
	}
	if got := burst(1000); got != 1000/sampleEvery {
		t.Errorf("%d of the next 1000, want %d", got, 1000/sampleEvery)
	}
	at = at.Add(999 * time.Millisecond)
	if got := burst(sampleEvery - 1); got != 0 {
		t.Errorf("%d at the end of the same second, want 0", got)
	}
	at = at.Add(time.Millisecond)
	if got := burst(1); got != 1 {
		t.Error("the first of the next second was left out")
	}
}

// What is written under each choice, and that one chatty kind of decision does
// not crowd out a rare one.
func TestAllowsChoice(t *testing.T) {
	for _, test := range []struct {
		allows       Extent
		chatty, rare int
		ends         int
	}{
		{ExtentAll, 510, 1, 2},
		{ExtentSampled, sampleFirst + 500/sampleEvery, 1, 2},
		{ExtentNone, 0, 0, 1},
	} {
		t.Run(test.allows.String(), func(t *testing.T) {
			var out bytes.Buffer
			l := open(t, Config{Allows: test.allows}, Dependencies{Stdout: &out})
			for range 510 {
				l.Record(allowed())
			}
			rare := allowed()
			rare.Verdict.App = zoom
			l.Record(rare)
			l.Record(blocked())
			l.Record(rehearsed())
			warned := blocked()
			warned.Verdict.Action = policy.ActionWarn
			l.Record(warned)
			l.RecordEnd(&policy.TunnelEnd{Decision: allowed(), Time: start, ClosedBy: "client"})
			l.RecordEnd(&policy.TunnelEnd{Decision: allowed(), Time: start, ClosedBy: "policy", Rule: "zoom-memo"})
			closeLog(t, l)

			got := map[string]int{}
			for _, e := range readLines(t, out.Bytes()) {
				switch {
				case e["event"] == "close":
					got["end"]++
				case e["would"] != "":
					got["rehearsed"]++
				case e["action"] == "allow":
					got["allow "+e["app"].(string)]++
				default:
					got[e["action"].(string)]++
				}
			}
			for what, want := range map[string]int{"allow webex": test.chatty, "allow zoom": test.rare,
				"block": 1, "warn": 1, "rehearsed": 1, "end": test.ends} {
				if got[what] != want {
					t.Errorf("%s: %d entries, want %d", what, got[what], want)
				}
			}
		})
	}
}

// Refusals are written whole unless the configuration says otherwise, and
// counted whatever it says.
func TestRefusalsAreWrittenUnlessSwitchedOff(t *testing.T) {
	for extent, want := range map[Extent]int{ExtentAll: 3, ExtentNone: 0} {
		var out bytes.Buffer
		l, err := New(Config{Refusals: extent}, Dependencies{Stdout: &out})
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			l.Record(&policy.Decision{Door: policy.DoorDNS, Verdict: policy.Verdict{Action: policy.ActionBlock}})
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if got := bytes.Count(out.Bytes(), []byte("\n")); got != want {
			t.Errorf("%s: %d entries, want %d", extent, got, want)
		}
	}
}
