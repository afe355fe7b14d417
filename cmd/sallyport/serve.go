package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/handover"
)

func newServe(p process) *cobra.Command {
	var from files
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the gateway in the foreground",
		Long: `Run the gateway in the foreground. Once everything listens, the addresses and
the word ready are printed on standard output; logs go to standard error.

The policy is watched: an edit is in force at once, a bad one changes nothing.

SIGHUP   reads the policy again, opens the logs again and reads the htpasswd file
SIGUSR2  starts the program on disk again, which takes over the sockets: a new
         version or a new configuration, without a refused connection; where it
         fails, nothing has changed
SIGTERM, SIGINT
         stop the gateway, also while it waits for lists that it has no copy of:
         tunnels in which something moves may go on for proxy.drain, quiet ones
         end; a second one cuts everything, a third one ends the process

Sockets that systemd passes (LISTEN_FDS) are used, each for the listener that is
configured for its address; systemd is told what becomes of the gateway
(NOTIFY_SOCKET), and that all is well (WATCHDOG_USEC).`,
		Example: `  sallyport serve --config configs/sallyport.yaml
  sallyport serve --config /etc/sallyport/sallyport.yaml --policy trial.yaml
  kill -USR2 "$(pgrep -nx sallyport)"   # after the program or sallyport.yaml was replaced`,
		Args: flagsOnly,
		RunE: func(cmd *cobra.Command, _ []string) error { return serve(cmd.Context(), p, &from) },
	}
	from.configFlag(cmd)
	from.policyFlag(cmd)
	return cmd
}

func serve(ctx context.Context, p process, from *files) (err error) {
	sockets, err := inherit(p)
	if err != nil {
		return fail("", err)
	}
	defer sockets.Close()
	defer func() { sockets.Failed(err) }() // which is said only to whom Ready was not
	program, errProgram := handover.Self() // while our file is sure to be there
	path, err := from.findConfig()
	if err != nil {
		return err
	}
	config, problems := gateway.ReadConfig(path)
	if config == nil {
		return configFailure(path, problems)
	}
	if from.policy != "" {
		config.Policy = from.policy
	}
	log, restore, err := openLog(p, config.Log)
	if err != nil {
		return fail("", err)
	}
	defer restore()
	for _, problem := range problems {
		log.Warn(problem.Message, zap.Stringer("place", problem.Position))
	}
	for _, remark := range sockets.Remarks() {
		log.Warn(remark)
	}
	s := &service{
		process: p, config: config, log: log, sockets: sockets,
		systemd: &systemd{notifier: handover.NewNotifier(p.getenv), log: log.Named("systemd")},
		program: program, errProgram: errProgram,
		pace: &memoryPace{fixed: p.getenv("GOGC") != ""},
	}
	s.gateway, err = gateway.New(config, gateway.Dependencies{
		Log:       log,
		Stdout:    p.stdout,
		Hangup:    p.hangup,
		Build:     build(),
		Sockets:   sockets,
		Reloading: s.systemd.reloading,
		Settle:    s.pace.settle,
		// A stop does not wait for lists that a first start fetches.
		Interrupt: ctx.Done(),
	})
	if err != nil {
		return notStarted(ctx, log, startFailure(path, err))
	}
	if err := s.gateway.Start(ctx); err != nil {
		return notStarted(ctx, log, fail("", errors.Join(err, s.shutdown())))
	}
	if err := s.run(ctx); err != nil {
		return fail("", err)
	}
	return nil
}

// openLog makes the log, which libraries write to as well until restore is
// called.
func openLog(p process, c gateway.LogConfig) (log *zap.Logger, restore func(), err error) {
	if log, err = newLog(p, c); err != nil {
		return nil, nil, err
	}
	if restore, err = zap.RedirectStdLogAt(log.Named("library"), zapcore.WarnLevel); err != nil {
		return nil, nil, fmt.Errorf("take over the standard log: %w", err)
	}
	return log, restore, nil
}

// inherit takes over the sockets that the process was started with.
func inherit(p process) (*handover.Sockets, error) {
	if p.inherit == nil {
		return nil, nil
	}
	return p.inherit()
}

// notStarted is how serve ends that was never ready: well, where it was told to
// stop before, and what it had begun could not be finished for that reason.
func notStarted(ctx context.Context, log *zap.Logger, err error) error {
	if ctx.Err() == nil {
		return err
	}
	log.Info("stopped before it was ready", zap.Error(err))
	return nil
}

func startFailure(path string, err error) error {
	var bad *gateway.PolicyError
	if errors.As(err, &bad) {
		return fail(fmt.Sprintf("sallyport check --config %s shows warnings too", path), err)
	}
	return fail("", err)
}

// newLog makes the log on standard error.
func newLog(p process, c gateway.LogConfig) (*zap.Logger, error) {
	level, err := zapcore.ParseLevel(c.Level)
	if err != nil {
		return nil, fmt.Errorf("log.level: %w", err)
	}
	sink := zapcore.Lock(zapcore.AddSync(p.stderr))
	if c.Format == "json" {
		encoder := zap.NewProductionEncoderConfig()
		encoder.TimeKey = "time"
		encoder.EncodeTime = zapcore.RFC3339NanoTimeEncoder
		encoder.EncodeDuration = zapcore.StringDurationEncoder
		return zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(encoder), sink, level)), nil
	}
	encoder := zap.NewDevelopmentEncoderConfig()
	encoder.EncodeTime = zapcore.TimeEncoderOfLayout(time.RFC3339)
	encoder.EncodeLevel = zapcore.LowercaseLevelEncoder
	if colours(p, p.stderr).on {
		encoder.EncodeLevel = zapcore.LowercaseColorLevelEncoder
	}
	return zap.New(zapcore.NewCore(zapcore.NewConsoleEncoder(encoder), sink, level)), nil
}
