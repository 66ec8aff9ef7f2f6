package web

import (
	"io"
	"maps"
	"net/http"
	"slices"

	"github.com/throng-load/throng/scenarios"
)

func (s *Server) statsRequests(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, s.newest().body)
}

func (s *Server) statsReset(w http.ResponseWriter, _ *http.Request) {
	s.reset()
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = io.WriteString(w, "ok")
}

func (s *Server) workerCount(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, encode(map[string]int{"worker_count": s.newest().WorkerCount}))
}

// exception is a kind of failure of the generator's own code. Throng has none
// apart from operations: what a session's code fails by is counted as the
// operation SESSION, and stands among the failures.
type exception struct {
	Count     int64  `json:"count"`
	Message   string `json:"msg"`
	Traceback string `json:"traceback"`
	Nodes     string `json:"nodes"`
}

// opSession is the operation that a session's own failure counts as.
const opSession = "SESSION"

// sessionExceptions are the failures of sessions' own code.
func (f *figures) sessionExceptions() []exception {
	found := []exception{}
	for _, e := range f.errors {
		if e.Method == opSession {
			found = append(found, exception{Count: e.Occurrences, Message: e.Error, Traceback: "session of user class " + e.Name, Nodes: ""})
		}
	}
	return found
}

func (s *Server) exceptions(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, encode(map[string]any{"exceptions": s.newest().sessionExceptions()}))
}

func (s *Server) logs(w http.ResponseWriter, _ *http.Request) {
	lines := []string{}
	if s.cfg.Logs != nil {
		lines = s.cfg.Logs.Lines()
	}
	writeJSON(w, http.StatusOK, encode(map[string]any{"master": lines, "workers": map[string][]string{}}))
}

// taskName is the one task of a user class: its session.
const taskName = "session"

type classRatio struct {
	Ratio float64              `json:"ratio"`
	Tasks map[string]taskRatio `json:"tasks"`
}

type taskRatio struct {
	Ratio float64 `json:"ratio"`
}

// ratios are the shares of the user classes that run among so many users.
func ratios(spec *scenarios.Spec, users int) map[string]map[string]classRatio {
	counts := classCounts(spec, users)
	perClass, total := make(map[string]classRatio), make(map[string]classRatio)
	for _, name := range actingNames(spec) {
		ratio := 0.
		if users > 0 {
			ratio = float64(counts[name]) / float64(users)
		}
		perClass[name] = classRatio{ratio, map[string]taskRatio{taskName: {1}}}
		total[name] = classRatio{ratio, map[string]taskRatio{taskName: {ratio}}}
	}
	return map[string]map[string]classRatio{"per_class": perClass, "total": total}
}

// classCounts says how many of the users 0..n-1 are of each class.
func classCounts(spec *scenarios.Spec, n int) map[string]int {
	acting, counts := spec.Acting(), make(map[string]int)
	classes := acting.Classes()
	for number := range n {
		counts[classes[acting.ClassOf(number)].Name]++
	}
	return counts
}

func (s *Server) tasks(w http.ResponseWriter, _ *http.Request) {
	spec, _ := s.settings()
	writeJSON(w, http.StatusOK, encode(ratios(spec, s.newest().UserCount)))
}

// actingNames are the user classes that run, sorted.
func actingNames(spec *scenarios.Spec) []string {
	if len(spec.Load.Classes) > 0 {
		return slices.Sorted(slices.Values(spec.Load.Classes))
	}
	return classNames(spec)
}

// classNames are the user classes, sorted.
func classNames(spec *scenarios.Spec) []string {
	names := make(map[string]bool)
	for _, class := range spec.Behaviour.Classes() {
		names[class.Name] = true
	}
	return slices.Sorted(maps.Keys(names))
}
