package scenarios

import (
	"fmt"
	"net/netip"
	"strconv"
)

// Spec is throng.yaml: all that a run is told beside its command line. ParseSpec
// makes one, with defaults for every key but scenario and target. The yaml tags
// are the keys.
type Spec struct {
	// Scenario is the name of the scenario.
	Scenario string `yaml:"scenario"`
	// Target is the URL of the system under test; its scheme picks the driver.
	Target string `yaml:"target"`
	// Behaviour is the scenario with the parameters of the key params.
	Behaviour  Behaviour    `yaml:"params"`
	Accounts   AccountsSpec `yaml:"accounts"`
	Load       LoadSpec     `yaml:"load"`
	Probe      ProbeSpec    `yaml:"probe"`
	Thresholds []Threshold  `yaml:"thresholds"`
	Safety     SafetySpec   `yaml:"safety"`
	Trust      TrustSpec    `yaml:"trust"`
	// DeadMan is how long users go on when nobody controls them: when Redis
	// does not answer their worker, or no master leads the swarm.
	DeadMan Duration `yaml:"dead_man"`

	// Settings has the flags that the file gives, by the name as ParseEnv has
	// it: at the top level, or under load. It is for the process that read the
	// file and is not marshalled: a flag may be a secret, or a path.
	Settings map[string]Setting `yaml:"-"`
}

// Setting is a command-line flag's value as the file gives it.
type Setting struct {
	// Text is what would follow the flag on a command line.
	Text string
	// Line and Column are the place of the value, counted from 1.
	Line, Column int
}

// AccountsSpec is how the pool of accounts is sized, leased and filled.
type AccountsSpec struct {
	// Pool is the pool's name; the scenario's name by default.
	Pool string `yaml:"pool"`
	// Size is how many accounts the pool is to hold.
	Size PoolSize `yaml:"size"`
	// Headroom is added to an automatic size: 0.34 is a third more.
	Headroom float64 `yaml:"headroom"`
	// LowWater is the share of a role's accounts that must be available;
	// below it more are created. With 0 none ever are while a run goes on.
	LowWater float64 `yaml:"low_water"`
	// Max is the most accounts that are ever created; 0 is no limit.
	Max int `yaml:"max"`
	// LeaseWait is how long a user waits for an account before it is an error.
	LeaseWait Duration `yaml:"lease_wait"`
	// Rest is how long an account rests after each use.
	Rest Duration `yaml:"rest"`
	// MaxUses and MaxAge are when an account retires: after so many uses, so
	// long after it was created. 0 is no limit.
	MaxUses int      `yaml:"max_uses"`
	MaxAge  Duration `yaml:"max_age"`
	// ReplicaLag is by how much a replica of Redis that may be promoted can be
	// behind.
	ReplicaLag Duration      `yaml:"replica_lag"`
	Provision  ProvisionSpec `yaml:"provision"`
}

// PoolSize is a number of accounts, or 0 for "auto": the peak users of each
// role plus headroom plus the probe's accounts.
type PoolSize int

// String is "auto" or the number.
func (p PoolSize) String() string {
	if p == 0 {
		return "auto"
	}
	return strconv.Itoa(int(p))
}

// MarshalText returns "auto" or the number.
func (p PoolSize) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText reads "auto" or a number above 0.
func (p *PoolSize) UnmarshalText(text []byte) error {
	s := string(text)
	n, err := strconv.Atoi(s)
	switch {
	case s == "auto":
		n = 0
	case err != nil || n < 1:
		return fmt.Errorf("%s is neither auto nor a whole number above 0", quote(s))
	}
	*p = PoolSize(n)
	return nil
}

// LoadSpec is how many users run for how long.
type LoadSpec struct {
	Users int `yaml:"users"`
	// SpawnRate is how many users start a second.
	SpawnRate float64 `yaml:"spawn_rate"`
	// Stages are what the load does in turn, in place of a single ramp to
	// Users, which is their peak then.
	Stages []Stage `yaml:"stages,omitempty"`
	// Classes picks the user classes that run; all when empty.
	Classes []string `yaml:"classes,omitempty"`
	// RunTime ends the run; 0 is never, or with the last of the stages.
	RunTime Duration `yaml:"run_time"`
	// StopTimeout is how long a stopping user may take to finish; 0 is not
	// at all.
	StopTimeout Duration `yaml:"stop_timeout"`
}

// ProbeSpec is how delivery is measured.
type ProbeSpec struct {
	// Rate is how often each route sends.
	Rate Rate `yaml:"rate"`
	// Routes names what is measured, each at most once. If there are none
	// the run has no probe.
	Routes []string `yaml:"routes"`
	// OnTime and Timeout part messages into on time, late and lost.
	OnTime  Duration `yaml:"on_time"`
	Timeout Duration `yaml:"timeout"`
}

// The routes of a probe.
const (
	RouteQuiet = "quiet" // a channel of its own
	RouteCrowd = "crowd" // the scenario's crowd channel
)

// SafetySpec limits what a run can do to others.
type SafetySpec struct {
	// Allow lists the addresses that traffic may go to, beside loopback.
	Allow []netip.Prefix `yaml:"allow"`
	// MaxUsers is the most users that a run may have.
	MaxUsers int `yaml:"max_users"`
}

// TrustSpec is when a generator's own state spoils what it measures.
type TrustSpec struct {
	// CPU is the share of its cores that a process may use, and CPUFor how
	// long it may exceed that.
	CPU    Ratio    `yaml:"cpu"`
	CPUFor Duration `yaml:"cpu_for"`
	// SchedLag is the scheduling delay that 99 % must not exceed.
	SchedLag Duration `yaml:"sched_lag"`
	// LateSends is the share of the probe's sends that may be late.
	LateSends Ratio `yaml:"late_sends"`
	// Excluded is the share of a run that may be left out of its figures
	// because its own parts failed, and Unwatched the share during which
	// delivery may have gone unmeasured. With more the run is invalid.
	Excluded  Ratio `yaml:"excluded"`
	Unwatched Ratio `yaml:"unwatched"`
}

const second = Duration(1e9)

// defaultSpec is a throng.yaml in which nothing is given.
func defaultSpec() *Spec {
	provision := new(HTTPProvisionSpec)
	provision.setDefaults()
	return &Spec{
		Accounts: AccountsSpec{
			Headroom: 0.34, LowWater: 0.1,
			LeaseWait: 30 * second,
			Provision: ProvisionSpec{HTTP: provision},
		},
		Load: LoadSpec{Users: 1, SpawnRate: 1},
		Probe: ProbeSpec{
			Rate: 20 * perSecond, Routes: []string{RouteQuiet, RouteCrowd},
			OnTime: 2 * second, Timeout: 15 * second,
		},
		Safety:  SafetySpec{MaxUsers: 10000},
		Trust:   TrustSpec{CPU: 0.85, CPUFor: 5 * second, SchedLag: second / 50, LateSends: 0.01, Excluded: 0.5, Unwatched: 0.1},
		DeadMan: 60 * second,
	}
}

// Marshal returns the spec as text. ParseSpec, with the same scenarios, reads
// it back to an equal Spec, but for Settings, which are left out. It fails for
// values without a text form, such as a parameter of half a millisecond.
func (s *Spec) Marshal() ([]byte, error) {
	text, err := encode(s)
	if err != nil {
		return nil, fmt.Errorf("marshal spec: %w", err)
	}
	return text, nil
}
