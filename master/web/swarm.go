package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/throng-load/throng/scenarios"
)

// stopPatience is how long /stop waits for the run to have ended, beyond what
// users are given to finish.
const stopPatience = 30 * time.Second

// swarm starts a run, or changes the one that goes on.
func (s *Server) swarm(w http.ResponseWriter, r *http.Request) {
	s.starting.Lock()
	defer s.starting.Unlock()
	answer, err := s.drive(r)
	var refused *refusal
	switch {
	case errors.As(err, &refused):
		writeJSON(w, refused.status, encode(s.refused(refused.message)))
	case err != nil: // of the swarm: the page is to show it
		s.log.Warn("start or edit refused", zap.Error(err))
		writeJSON(w, http.StatusOK, encode(s.refused(strings.ReplaceAll(err.Error(), "\n", "; "))))
	default:
		writeJSON(w, http.StatusOK, encode(answer))
	}
}

// refused is the answer to a form that is not accepted.
func (s *Server) refused(message string) map[string]any {
	spec, _ := s.settings()
	return map[string]any{"success": false, "message": message, "host": spec.Target}
}

// drive does what a form asks for and returns the answer.
func (s *Server) drive(r *http.Request) (map[string]any, error) {
	values, err := formValues(r)
	if err != nil {
		return nil, err
	}
	spec, _ := s.settings()
	f, err := s.readForm(values, spec)
	if err != nil {
		return nil, err
	}
	message := "Swarming started"
	if f.stages {
		message = fmt.Sprintf("Swarming started using shape class '%s'", stagesShape)
	}
	running := false
	switch s.newest().State {
	case StateSpawning, StateRunning:
		running = true
	}
	if running {
		err = s.edit(r.Context(), f, spec)
	} else {
		spec, err = s.begin(r.Context(), f, spec)
	}
	if err != nil {
		return nil, err
	}
	answer := map[string]any{"success": true, "message": message, "host": spec.Target}
	if f.hasRunTime {
		answer["run_time"] = int64(f.runTime / time.Second)
	}
	if s.cfg.ClassPicker {
		answer["user_classes"] = f.classes
	}
	return answer, nil
}

// edit changes the run that goes on.
func (s *Server) edit(ctx context.Context, f *form, spec *scenarios.Spec) error {
	if s.cfg.ClassPicker {
		// All is what the page's form says, which has no picker now, and what is
		// meant by a script that names none.
		acting := actingNames(spec)
		if len(f.classes) < len(classNames(spec)) && !slices.Equal(f.classes, acting) {
			return refuse("The user classes stay as they are while the swarm runs (%s); stop it first", strings.Join(acting, ", "))
		}
		f.classes = acting
	}
	if f.stages || followsStages(spec) {
		s.log.Info("the load follows its stages; a second start changes nothing")
		return nil
	}
	if f.users > spec.Safety.MaxUsers {
		return refuse("%d users are more than safety.max_users allows (%d)", f.users, spec.Safety.MaxUsers)
	}
	changed, err := spec.WithParams(f.params, s.cfg.Scenarios)
	if err != nil {
		return refuse("%s", problems(err))
	}
	before, _ := spec.Params()
	after, _ := changed.Params()
	for i, param := range after {
		if param != before[i] {
			return refuse("%s: parameters stay as they are while the swarm runs; stop it first", param.Name)
		}
	}
	if err := s.cfg.Swarm.Edit(ctx, Load{Users: f.users, SpawnRate: f.rate, RunTime: f.runTime}); err != nil {
		return err
	}
	next := *spec
	next.Load.Users, next.Load.SpawnRate = f.users, f.rate
	if f.hasRunTime {
		next.Load.RunTime = scenarios.Duration(f.runTime)
	}
	s.keep(&next, f.values)
	return nil
}

// begin starts a run and returns its spec.
func (s *Server) begin(ctx context.Context, f *form, spec *scenarios.Spec) (*scenarios.Spec, error) {
	next, err := spec.WithParams(f.params, s.cfg.Scenarios)
	if err != nil {
		return nil, refuse("%s", problems(err))
	}
	if f.host != "" && f.host != next.Target {
		if s.cfg.FixedTarget {
			return nil, refuse("The target is fixed here: %s", next.Target)
		}
		next.Target = f.host
	}
	setLoad(next, f, s.cfg.Spec)
	if s.cfg.ClassPicker {
		next.Load.Classes = f.classes
		if len(f.classes) == len(classNames(next)) {
			next.Load.Classes = nil // all, whatever there will be
		}
	}
	none := !f.stages && f.users == 0
	if none {
		next.Load.Users = 1 // a run of no users is one that is told so before it has any
	}
	if found := next.Check(); len(found) > 0 {
		return nil, refuse("%s", problems(&scenarios.SpecError{Problems: found}))
	}
	if s.newest().WorkerCount == 0 {
		s.log.Warn("no worker is connected: nothing was started. Start one with `throng worker`")
		return next, nil
	}
	s.mu.Lock()
	s.begun, s.begunAfter = time.Now(), s.view.Load().runID()
	s.mu.Unlock()
	s.refresh() // a page that asks meanwhile must not see the run before
	if err := s.cfg.Swarm.Start(ctx, next); err != nil {
		s.mu.Lock()
		s.begun = time.Time{}
		s.mu.Unlock()
		s.refresh()
		return nil, err
	}
	if none {
		if err := s.cfg.Swarm.Edit(ctx, Load{SpawnRate: f.rate}); err != nil {
			return nil, err
		}
	}
	s.mu.Lock()
	s.begun = time.Now() // making accounts may have taken a while
	s.mu.Unlock()
	s.keep(next, f.values)
	return next, nil
}

// keep remembers what was asked for, for the next form.
func (s *Server) keep(spec *scenarios.Spec, values url.Values) {
	s.mu.Lock()
	s.spec = spec
	if values.Has("profile") {
		s.profile = values.Get("profile")
	}
	s.mu.Unlock()
	s.refresh()
}

// problems are the mistakes of a spec in one line.
func problems(err error) string {
	var spec *scenarios.SpecError
	if !errors.As(err, &spec) {
		return err.Error()
	}
	texts := make([]string, len(spec.Problems))
	for i, p := range spec.Problems {
		texts[i] = p.String()
	}
	return strings.Join(texts, "; ")
}

// stop ends the run and answers when it has ended, or is taking too long.
func (s *Server) stop(w http.ResponseWriter, r *http.Request) {
	if err := s.cfg.Swarm.Stop(r.Context()); err != nil {
		writeJSON(w, http.StatusOK, encode(map[string]any{"success": false, "message": err.Error()}))
		return
	}
	spec, _ := s.settings()
	patience := time.NewTimer(stopPatience + time.Duration(spec.Load.StopTimeout))
	defer patience.Stop()
	for waiting := true; waiting; {
		f, changed := s.figures()
		if f.State == StateReady || f.State == StateStopped {
			break
		}
		select {
		case <-changed:
		case <-patience.C:
			waiting = false
		case <-r.Context().Done():
			return
		}
	}
	writeJSON(w, http.StatusOK, encode(map[string]any{"success": true, "message": "Test stopped"}))
}

// userChange is what /user asks for: any part of a class.
type userChange struct {
	Class      string   `json:"user_class_name"`
	Weight     *float64 `json:"weight"`
	FixedCount *int     `json:"fixed_count"`
	Host       *string  `json:"host"`
	Tasks      []string `json:"tasks"`
}

// user accepts what is so already. A class's weight follows from the scenario's
// parameters, and its users from their numbers: nothing can be changed here.
func (s *Server) user(w http.ResponseWriter, r *http.Request) {
	var change userChange
	if err := json.NewDecoder(r.Body).Decode(&change); err != nil {
		writeJSON(w, http.StatusBadRequest, encode(map[string]string{"message": "the body is not JSON as /user wants it"}))
		return
	}
	spec, _ := s.settings()
	class, ok := userClasses(spec)[change.Class]
	if !ok {
		writeJSON(w, http.StatusBadRequest, encode(map[string]string{"message": fmt.Sprintf("there is no user class %q", short(change.Class))}))
		return
	}
	same := (change.Weight == nil || int(*change.Weight) == class.Weight) &&
		(change.FixedCount == nil || *change.FixedCount == 0) &&
		(change.Host == nil || *change.Host == "" || *change.Host == class.Host) &&
		(change.Tasks == nil || slices.Equal(change.Tasks, class.Tasks))
	if !same {
		writeJSON(w, http.StatusConflict, encode(map[string]string{"message": "user classes follow from the scenario's parameters: change those"}))
		return
	}
	writeJSON(w, http.StatusCreated, encode(struct{}{}))
}
