package web

import "github.com/throng-load/throng/scenarios"

// hasStages says whether the file gives the load as stages.
func hasStages(*scenarios.Spec) bool { return false }

// followsStages says whether the run of this spec follows stages.
func followsStages(spec *scenarios.Spec) bool { return hasStages(spec) }

// setLoad puts the form's load into a spec: the stages of the file, or a ramp.
func setLoad(spec *scenarios.Spec, f *form, file *scenarios.Spec) {
	if f.stages {
		spec.Load = file.Load
		return
	}
	spec.Load.Users, spec.Load.SpawnRate = f.users, f.rate
	spec.Load.RunTime = scenarios.Duration(f.runTime)
}
