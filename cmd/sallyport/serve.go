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
)

// stopTime is how long a stop may take beyond the draining of tunnels.
const stopTime = 10 * time.Second

func newServe(p process) *cobra.Command {
	var from files
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the gateway in the foreground",
		Long: `Run the gateway in the foreground. Once everything listens, the addresses and
the word ready are printed on standard output; logs go to standard error.

The policy is watched: an edit is in force at once, a bad one changes nothing.
SIGHUP reads it again, opens the decision log again and reads the htpasswd file.
SIGTERM and SIGINT stop the gateway, also while it waits for lists that it has
no copy of; a second one stops it without waiting.`,
		Example: `  sallyport serve --config configs/sallyport.yaml
  sallyport serve --config /etc/sallyport/sallyport.yaml --policy trial.yaml`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return serve(cmd.Context(), p, &from) },
	}
	from.configFlag(cmd)
	from.policyFlag(cmd)
	return cmd
}

func serve(ctx context.Context, p process, from *files) error {
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
	log, err := newLog(p, config.Log)
	if err != nil {
		return fail("", err)
	}
	restore, err := zap.RedirectStdLogAt(log.Named("library"), zapcore.WarnLevel)
	if err != nil {
		return fail("", fmt.Errorf("take over the standard log: %w", err))
	}
	defer restore()
	// A second signal while stopping ends the process at once.
	defer context.AfterFunc(ctx, p.impatient)()
	for _, problem := range problems {
		log.Warn(problem.String())
	}
	pace := &memoryPace{fixed: p.getenv("GOGC") != ""}
	g, err := gateway.New(config, gateway.Dependencies{
		Log:    log,
		Stdout: p.stdout,
		Hangup: p.hangup,
		Build:  build(),
		Settle: pace.settle,
		// A stop does not wait for lists that a first start fetches.
		Interrupt: ctx.Done(),
	})
	if err != nil {
		return notStarted(ctx, log, startFailure(path, err))
	}
	if err := g.Start(ctx); err != nil {
		return notStarted(ctx, log, fail("", errors.Join(err, stop(g, config))))
	}
	pace.follow(ctx)
	log.Info("stopping", zap.Duration("drain", config.Proxy.Drain))
	if err := stop(g, config); err != nil {
		return fail("", err)
	}
	log.Info("stopped")
	return nil
}

// stop shuts the gateway down. The context that started it has ended already.
func stop(g *gateway.Gateway, config *gateway.Config) error {
	ctx, cancel := context.WithTimeout(context.Background(), config.Proxy.Drain+stopTime)
	defer cancel()
	return g.Shutdown(ctx)
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
