package web

import "github.com/throng-load/throng/scenarios"

// followsStages says whether the load of a spec is given as stages: what Locust
// calls a load shape.
func followsStages(spec *scenarios.Spec) bool { return len(spec.Load.Stages) > 0 }

// loadIsFixed says whether the form's numbers say nothing: while a run follows
// stages, and before one if there is nothing else to choose.
func (s *Server) loadIsFixed(state State) bool {
	switch state {
	case StateSpawning, StateRunning:
		spec, _ := s.settings()
		return followsStages(spec)
	}
	return !s.cfg.ClassPicker && followsStages(s.cfg.Spec)
}

// setLoad puts the form's load into a spec: the stages of the file, or a ramp.
func setLoad(spec *scenarios.Spec, f *form, file *scenarios.Spec) {
	if f.stages {
		timeout := spec.Load.StopTimeout
		spec.Load = file.Load
		spec.Load.StopTimeout = timeout
		return
	}
	spec.Load.Users, spec.Load.SpawnRate, spec.Load.Stages = f.users, f.rate, nil
	spec.Load.RunTime = scenarios.Duration(f.runTime)
}
