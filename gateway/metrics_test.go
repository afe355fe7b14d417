package gateway

import (
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// TestScrapeDuringAnEdit gathers while revisions follow each other: one is
// always shown, and one alone once an edit is done.
func TestScrapeDuringAnEdit(t *testing.T) {
	reg := prometheus.NewRegistry()
	m := newMetrics(reg, Build{})
	var lists atomic.Pointer[[]ListState]
	lists.Store(&[]ListState{{Name: "kept"}, {Name: "dropped"}})
	reg.MustRegister(newListCollector(func() []ListState { return *lists.Load() }))
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
	m.good("0", time.Now(), time.Now())
	if got := shown("sallyport_policy_list_stale"); !slices.Equal(got, []string{"dropped", "kept"}) {
		t.Errorf("the lists %v are shown", got)
	}
	lists.Store(&[]ListState{{Name: "kept"}})
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
		m.good(strconv.Itoa(i), time.Now(), time.Now())
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

// TestListMetrics shows a list as it is at the moment of the scrape, and drops
// what was counted of one that is gone.
func TestListMetrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	m := newListMetrics(reg)
	at := time.Unix(1_000_000_000, 500_000_000)
	reg.MustRegister(newListCollector(func() []ListState {
		return []ListState{{Name: "threats", Entries: 7, Bytes: 99, Good: at, Trouble: "gone"}}
	}))
	m.fetched("threats", fetchFresh, time.Second)
	m.fetched("other", fetchNetwork, time.Second)
	m.drop("other")
	const want = `
# HELP sallyport_list_bytes Size of the list in force, as it was read.
# TYPE sallyport_list_bytes gauge
sallyport_list_bytes{list="threats"} 99
# HELP sallyport_list_entries Names and networks that the list in force matches.
# TYPE sallyport_list_entries gauge
sallyport_list_entries{list="threats"} 7
# HELP sallyport_list_fetches_total Fetches of lists by URL, by result: fresh, unchanged, or why it failed.
# TYPE sallyport_list_fetches_total counter
sallyport_list_fetches_total{list="threats",result="fresh"} 1
# HELP sallyport_list_last_success_timestamp_seconds A list by URL: the last fetch that went well. A file: when what is in force was written.
# TYPE sallyport_list_last_success_timestamp_seconds gauge
sallyport_list_last_success_timestamp_seconds{list="threats"} 1.0000000005e+09
# HELP sallyport_policy_list_stale 1 where the file of a list cannot be used, or its URL not be fetched, and its last good copy decides.
# TYPE sallyport_policy_list_stale gauge
sallyport_policy_list_stale{list="threats"} 1
`
	err := testutil.GatherAndCompare(reg, strings.NewReader(want), "sallyport_list_bytes", "sallyport_list_entries",
		"sallyport_list_fetches_total", "sallyport_list_last_success_timestamp_seconds", "sallyport_policy_list_stale")
	if err != nil {
		t.Error(err)
	}
}
