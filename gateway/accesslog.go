package gateway

import (
	"errors"
	"fmt"
	"io/fs"

	"go.uber.org/zap"

	"github.com/sallyport/sallyport/accesslog"
	"github.com/sallyport/sallyport/proxy"
)

// accessLogs are the access logs of the proxy door, which may be none.
type accessLogs []*accesslog.Log

// newAccessLogs opens every configured access log, or none.
func (g *Gateway) newAccessLogs() (accessLogs, error) {
	if len(g.config.Proxy.AccessLogs) == 0 {
		return nil, nil
	}
	metrics, err := accesslog.NewMetrics(g.registry)
	if err != nil {
		return nil, err
	}
	var logs accessLogs
	for _, c := range g.config.Proxy.AccessLogs {
		log, err := accesslog.Open(accesslog.Config{File: c.File, Format: c.Format, KeepQuery: c.KeepQuery}, accesslog.Dependencies{
			Metrics: metrics,
			Log:     g.deps.Log.Named("access"),
			Mask:    g.mask,
		})
		if err != nil {
			return nil, errors.Join(accessLogError(err), logs.close())
		}
		logs = append(logs, log)
	}
	return logs, nil
}

// accessLogError adds what the administrator can do where the file is what
// failed.
func accessLogError(err error) error {
	remedy := "make the folder writable for the user that the gateway runs as, or name another file"
	if errors.Is(err, fs.ErrNotExist) {
		remedy = "make the folder, writable for the user that the gateway runs as, or name another file"
	}
	return fmt.Errorf("proxy.access_logs: %w: %s", err, remedy)
}

// sink takes what the proxy door reports; nil where there is no log, so that
// the door need not put it together.
func (logs accessLogs) sink() func(*proxy.Access) {
	if len(logs) == 0 {
		return nil
	}
	return func(a *proxy.Access) {
		entry := accessEntry(a)
		for _, log := range logs {
			log.Append(&entry)
		}
	}
}

// accessEntry says in the words of access logs what the proxy door has seen.
func accessEntry(a *proxy.Access) accesslog.Entry {
	return accesslog.Entry{
		End:         a.End,
		Duration:    a.Duration,
		Client:      a.Client,
		User:        a.User,
		Result:      accessResult(a),
		Aborted:     a.ClientLeft,
		Status:      a.Status,
		Sent:        a.Sent,
		SentBody:    a.SentBody,
		Method:      a.Method,
		URL:         a.URL,
		Major:       a.Major,
		Minor:       a.Minor,
		Server:      a.Server,
		Parent:      a.Parent,
		ContentType: a.ContentType,
		Referer:     a.Referer,
		UserAgent:   a.UserAgent,
	}
}

// accessResult is what Squid would have written: to it a CONNECT that leads
// nowhere has no result, while another request has missed all the same.
func accessResult(a *proxy.Access) accesslog.Result {
	switch a.Outcome {
	case proxy.OutcomeRefused:
		return accesslog.ResultDenied
	case proxy.OutcomeForwarded:
		return accesslog.ResultMiss
	case proxy.OutcomeTunnelled:
		return accesslog.ResultTunnel
	case proxy.OutcomeFailed:
		if a.Method != "CONNECT" {
			return accesslog.ResultMiss
		}
	}
	return accesslog.ResultNone
}

// reopen opens every file again, after rotation.
func (logs accessLogs) reopen(log *zap.Logger) {
	for _, one := range logs {
		if err := one.Reopen(); err != nil {
			log.Error("access log not opened again: it goes on where it was", zap.Error(err))
		}
	}
}

// close writes what is queued and closes every file.
func (logs accessLogs) close() error {
	var errs []error
	for _, one := range logs {
		errs = append(errs, one.Close())
	}
	return errors.Join(errs...)
}

// logTroubles says which of the decision log and the access logs are not being
// written, and why. The gateway decides all the same.
func (g *Gateway) logTroubles() []string {
	var all []string
	if trouble := g.audit.Trouble(); trouble != "" {
		all = append(all, trouble)
	}
	for _, log := range g.access {
		if trouble := log.Trouble(); trouble != "" {
			all = append(all, trouble)
		}
	}
	return all
}
