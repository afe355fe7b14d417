package gateway

import (
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// TestScrapeDuringAnEdit gathers while revisions follow each other: one is
// always shown, and one alone once an edit is done.
func TestScrapeDuringAnEdit(t *testing.T) {
	reg := prometheus.NewRegistry()
	m := newMetrics(reg, Build{})
	shown := func(name string) []string {
		families, err := reg.Gather()
		if err != nil {
			t.Error(err)
		}
		var values []string
		for _, family := range families {
			for _, series := range family.GetMetric() {
				if family.GetName() == name {
					values = append(values, series.GetLabel()[0].GetValue())
				}
			}
		}
		return values
	}
	m.good("0", time.Now(), []ListState{{Name: "kept"}, {Name: "dropped"}})
	done := make(chan struct{})
	var scraping sync.WaitGroup
	scraping.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			if len(shown("sallyport_policy_info")) == 0 || !slices.Contains(shown("sallyport_policy_list_stale"), "kept") {
				t.Error("a scrape during an edit finds no policy, or not its list")
				return
			}
		}
	})
	for i := range 20_000 {
		m.good(strconv.Itoa(i), time.Now(), []ListState{{Name: "kept"}})
	}
	close(done)
	scraping.Wait()
	if got := shown("sallyport_policy_info"); !slices.Equal(got, []string{"19999"}) {
		t.Errorf("the revisions %v are shown", got)
	}
	if got := shown("sallyport_policy_list_stale"); !slices.Equal(got, []string{"kept"}) {
		t.Errorf("the lists %v are shown", got)
	}
}
