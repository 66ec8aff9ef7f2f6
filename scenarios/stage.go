package scenarios

import (
	"fmt"
	"math"
	"time"
)

// Stage is one part of a load that changes over time: a ramp from the users
// before it to Users that takes all of For, or with a SpawnRate a ramp at that
// rate and then a plateau. A stage without length is a step, which is followed
// at the load's spawn rate.
type Stage struct {
	For       Duration `yaml:"for"`
	Users     int      `yaml:"users"`
	SpawnRate float64  `yaml:"spawn_rate,omitempty"`
}

// Length is how long the load lasts by itself: the run time, or else that of
// all stages; 0 is without end.
func (l *LoadSpec) Length() time.Duration {
	if l.RunTime > 0 {
		return time.Duration(l.RunTime)
	}
	length := time.Duration(0)
	for _, stage := range l.Stages {
		length += time.Duration(stage.For)
	}
	return length
}

// peak is the most users of any stage.
func (l *LoadSpec) peak() int {
	most := 0
	for _, stage := range l.Stages {
		most = max(most, stage.Users)
	}
	return most
}

// stages checks the stages; those that are in order have at least one user.
func (c *checker) stages(l LoadSpec) {
	before, length := 0, time.Duration(0)
	for i, stage := range l.Stages {
		at := func(key string) string { return fmt.Sprintf("load.stages[%d].%s", i, key) }
		c.require(stage.For >= 0, at("for"), "%v is below 0", stage.For)
		c.require(stage.Users >= 0, at("users"), "%d is below 0", stage.Users)
		c.require(stage.SpawnRate >= 0 && !math.IsInf(stage.SpawnRate, 0), at("spawn_rate"), "%v is not a rate in users a second", stage.SpawnRate)
		change := max(stage.Users-before, before-stage.Users)
		if takes := float64(change) / stage.SpawnRate; stage.SpawnRate > 0 {
			c.require(takes <= time.Duration(stage.For).Seconds()+1e-9, at("spawn_rate"),
				"from %d to %d users at %v a second takes %.4gs, and the stage lasts %v", before, stage.Users, stage.SpawnRate, takes, stage.For)
		}
		before, length = stage.Users, length+time.Duration(stage.For)
	}
	if len(l.Stages) == 0 {
		return
	}
	c.require(length > 0, "load.stages", "none of them lasts: give for")
	c.require(l.peak() > 0, "load.stages", "none of them has users")
	c.require(l.Users == l.peak() || l.peak() <= 0, "load.users",
		"%d is not the peak of load.stages, which is %d: leave it out, or leave the stages out", l.Users, l.peak())
}
