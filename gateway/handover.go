package gateway

import (
	"context"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/sallyport/sallyport/handover"
)

// How long clients that are connected when another process takes over may take to
// ask what they came for, and how long they and their answers may take.
const (
	leavePatience = 5 * time.Second
	leaveTime     = 7 * time.Second
)

// Leave is Shutdown for a gateway whose sockets another process serves already.
// It reads and accepts nothing more; who is connected may still ask for a moment,
// and tunnels, the quiet ones too, may go on for as long as proxy.drain allows,
// edits and schedules holding for them. From when hasty is closed quiet ones end.
// The admin listener is the other process's from the beginning.
func (g *Gateway) Leave(ctx context.Context, hasty <-chan struct{}) error {
	g.stopping.Store(true)
	drain, cancel := context.WithTimeout(ctx, max(g.config.Proxy.Drain, leaveTime))
	defer cancel()
	var leaving sync.WaitGroup
	var errDNS, errProxy error
	leaving.Go(func() { errDNS = g.dns.Leave(drain, leavePatience) })
	leaving.Go(func() { errProxy = g.proxy.Leave(drain, leavePatience, hasty) })
	leaving.Go(func() { g.admin.leave(drain, leavePatience) })
	leaving.Go(func() { g.portal.leave(drain, leavePatience); g.coach.stopKeeping() })
	leaving.Wait()
	return g.stopped(ctx, errDNS, errProxy)
}

// reserve makes sure, where this process takes over from another, that it will
// have the addresses that the other did not have: one that serves and then finds
// that it cannot stay would take clients with it. The DNS door, which opens
// first, binds all of its own before it serves.
func (g *Gateway) reserve(ctx context.Context) error {
	var config net.ListenConfig
	config.SetMultipathTCP(false) // as the proxy door wants it
	for _, l := range g.config.listeners() {
		if strings.HasPrefix(l.setting, "dns.") || !slices.Contains(l.networks, "TCP") {
			continue
		}
		for _, address := range l.addresses {
			if address == "" { // off
				continue
			}
			if err := g.deps.Sockets.Reserve(ctx, &config, address); err != nil {
				return g.listenError(l.setting, err)
			}
		}
	}
	return nil
}

// settleSockets closes what was inherited and is not configured any more.
func (g *Gateway) settleSockets() error {
	unused, err := g.deps.Sockets.Settle()
	for _, socket := range unused {
		g.deps.Log.Warn("no longer listening on an address of the process before", zap.String("closed", socket))
	}
	return err
}

// registerUpgrades shows how often one process has taken over from another. The
// counts are handed on with the sockets, since on success it is another process
// that is asked.
func registerUpgrades(registry prometheus.Registerer, sockets *handover.Sockets) {
	for _, result := range []string{resultSuccess, resultFailure} {
		registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name:        "sallyport_upgrades_total",
			Help:        "Attempts to have a new process take over, by result: success or failure.",
			ConstLabels: prometheus.Labels{"result": result},
		}, func() float64 {
			succeeded, failed := sockets.Upgrades()
			if result == resultSuccess {
				return float64(succeeded)
			}
			return float64(failed)
		}))
	}
}
