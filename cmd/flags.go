package cmd

import (
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/throng-load/throng/internal/keyspace"
	"github.com/throng-load/throng/scenarios"
)

const defaultRedis = "redis://127.0.0.1:6379"

// commonFlags are those of every command that talks to Redis.
type commonFlags struct {
	redis    string
	swarm    string
	loglevel string
}

func (c *commonFlags) add(flags *pflag.FlagSet, redis, loglevel string) {
	c.addRedis(flags, redis)
	c.addSwarm(flags)
	c.addLog(flags, loglevel)
}

func (c *commonFlags) addRedis(flags *pflag.FlagSet, redis string) {
	usage := "where Redis is: redis://, rediss://, redis+sentinel://H1,H2/MASTER/DB or redis+cluster://H1,H2"
	if redis == "" {
		usage += " (default: an embedded one)"
	}
	flags.StringVar(&c.redis, "redis", redis, usage)
}

func (c *commonFlags) addSwarm(flags *pflag.FlagSet) {
	flags.StringVar(&c.swarm, "swarm", "default", "`name` of the swarm")
}

func (c *commonFlags) addLog(flags *pflag.FlagSet, loglevel string) {
	flags.StringVarP(&c.loglevel, "loglevel", "L", loglevel, "`level` of the log on stderr: DEBUG, INFO, WARNING, ERROR")
}

func (c *commonFlags) check() error {
	if err := keyspace.Check(c.swarm); err != nil {
		return usageError("--swarm: %w", err)
	}
	return nil
}

// logger makes the process's logger; it writes to stderr.
func (c *commonFlags) logger(e env) (*zap.Logger, error) {
	levels := map[string]zapcore.Level{
		"DEBUG": zap.DebugLevel, "INFO": zap.InfoLevel, "WARNING": zap.WarnLevel, "WARN": zap.WarnLevel, "ERROR": zap.ErrorLevel,
	}
	level, ok := levels[c.loglevel]
	if !ok {
		return nil, usageError("--loglevel: %q is none of DEBUG, INFO, WARNING, ERROR", c.loglevel)
	}
	encoder := zap.NewDevelopmentEncoderConfig()
	encoder.EncodeTime = zapcore.TimeEncoderOfLayout("15:04:05.000")
	encoder.CallerKey, encoder.StacktraceKey = zapcore.OmitKey, zapcore.OmitKey
	core := zapcore.NewCore(zapcore.NewConsoleEncoder(encoder), zapcore.AddSync(e.stderr), level)
	return zap.New(core), nil
}

// loadFlags are Locust's flags for the load. They are given to the spec, which
// has their defaults.
type loadFlags struct {
	users       int
	spawnRate   float64
	runTime     scenarios.Duration
	stopTimeout scenarios.Duration
	deadMan     scenarios.Duration
}

// add adds the flags. Users, rate and runTime are the defaults as the help
// says them: the spec has them.
func (l *loadFlags) add(flags *pflag.FlagSet, users, rate, runTime string) {
	l.addUsers(flags, users)
	flags.Float64VarP(&l.spawnRate, "spawn-rate", "r", 0, "`rate` at which users start, in users a second (default "+rate+")")
	flags.VarP(&l.runTime, "run-time", "t", "stop after this `time`: 300, 20s, 3m, 1h30m; users stay while the probe waits for what is open (default "+runTime+")")
	flags.VarP(&l.stopTimeout, "stop-timeout", "s", "`time` for sessions to end by themselves when the run stops (default none)")
	flags.Var(&l.deadMan, "dead-man", "`time` after which users end when Redis or the master is gone (default 60s)")
	noZero(flags, "run-time", "stop-timeout", "dead-man")
}

// noZero keeps the help from saying that a default is 0 where that means none.
func noZero(flags *pflag.FlagSet, names ...string) {
	for _, name := range names {
		flags.Lookup(name).DefValue = ""
	}
}

func (l *loadFlags) addUsers(flags *pflag.FlagSet, users string) {
	flags.IntVarP(&l.users, "users", "u", 0, "peak `number` of users, in place of load.stages (default "+users+")")
}

// apply puts the flags that were given into the spec.
func (l *loadFlags) apply(cmd *cobra.Command, spec *scenarios.Spec) {
	for name, set := range map[string]func(){
		// Stages say how many users there are and when: whoever gives a number
		// of users wants that instead.
		"users":        func() { spec.Load.Users, spec.Load.Stages = l.users, nil },
		"spawn-rate":   func() { spec.Load.SpawnRate = l.spawnRate },
		"run-time":     func() { spec.Load.RunTime = l.runTime },
		"stop-timeout": func() { spec.Load.StopTimeout = l.stopTimeout },
		"dead-man":     func() { spec.DeadMan = l.deadMan },
	} {
		if f := cmd.Flags().Lookup(name); f != nil && f.Changed {
			set()
		}
	}
}

// checkSpec reports what flags have made wrong.
func checkSpec(spec *scenarios.Spec) error {
	if problems := spec.Check(); len(problems) > 0 {
		return &scenarios.SpecError{Problems: problems}
	}
	return nil
}

// outputFlags say what is made of the outcome.
type outputFlags struct {
	json            string
	out             string
	onlySummary     bool
	exitCodeOnError int
}

func (o *outputFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&o.json, "json", "", "write the summary as JSON to this `file`")
	flags.StringVar(&o.out, "out", "", "`folder` for the run's files (default throng-runs/<run id>)")
	flags.BoolVar(&o.onlySummary, "only-summary", false, "no table while it runs")
	flags.IntVar(&o.exitCodeOnError, "exit-code-on-error", 1, "exit `code` when operations failed and no threshold names failures")
}

// poolFlags are settings that are stored with a pool when it is made.
type poolFlags struct {
	leaseTTL  scenarios.Duration
	lockDelay scenarios.Duration
}

func (p *poolFlags) add(flags *pflag.FlagSet, leaseTTL, lockDelay time.Duration) {
	p.leaseTTL, p.lockDelay = scenarios.Duration(leaseTTL), scenarios.Duration(lockDelay)
	flags.Var(&p.leaseTTL, "lease-ttl", "`time` that leases last without a word from their holder")
	flags.Var(&p.lockDelay, "lock-delay", "`time` that a dead holder's accounts rest on top of that")
}

func (p *poolFlags) addDefaults(flags *pflag.FlagSet) { p.add(flags, 30*time.Second, 5*time.Second) }

func (p *poolFlags) check() error {
	if p.leaseTTL <= 0 || p.lockDelay <= 0 {
		return usageError("--lease-ttl %v and --lock-delay %v: both must be above 0", p.leaseTTL, p.lockDelay)
	}
	return nil
}

// check finds out before the run what would lose its outcome at the end.
func (o *outputFlags) check() error {
	if o.exitCodeOnError < 0 || o.exitCodeOnError > 255 {
		return usageError("--exit-code-on-error: %d is not from 0 to 255", o.exitCodeOnError)
	}
	if o.out != "" {
		if err := os.MkdirAll(o.out, 0o777); err != nil {
			return usageError("--out: %w", err)
		}
	}
	if o.json == "" {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(o.json), 0o777); err != nil {
		return usageError("--json: %w", err)
	}
	f, err := os.OpenFile(o.json, os.O_WRONLY|os.O_CREATE, 0o666)
	if err != nil {
		return usageError("--json: %w", err)
	}
	return f.Close()
}

// waitFlags say whom a run waits for.
type waitFlags struct {
	workers int
	maxWait scenarios.Duration
}

func (w *waitFlags) add(flags *pflag.FlagSet) {
	flags.IntVar(&w.workers, "expect-workers", 1, "`number` of workers to wait for before users start")
	flags.Var(&w.maxWait, "expect-workers-max-wait", "give up after waiting this `time` (default never)")
	noZero(flags, "expect-workers-max-wait")
}

func (w *waitFlags) limit() time.Duration { return time.Duration(w.maxWait) }
