package web

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/throng-load/throng/scenarios"
)

// What Locust says of a form that it does not accept. The texts are part of its
// API.
const (
	missingCounts = "Missing user_count or spawn_rate from /swarm request"
	wrongRunTime  = "Valid run_time formats are : 20, 20s, 3m, 2h, 1h20m, 3h30m10s, etc."
)

// The load shapes of the form: none, and the stages of the run's file.
const (
	defaultShape = "Default"
	stagesShape  = "Stages"
)

// refusal is a form that is not accepted. Locust's page shows the message only
// with status 200; 400 is for what Locust itself fails at.
type refusal struct {
	status  int
	message string
}

func (r *refusal) Error() string { return r.message }

func refuse(format string, args ...any) error {
	return &refusal{http.StatusOK, fmt.Sprintf(format, args...)}
}

func badRequest(format string, args ...any) error {
	return &refusal{http.StatusBadRequest, fmt.Sprintf(format, args...)}
}

// form is what a start or an edit asks for.
type form struct {
	values     url.Values
	users      int
	rate       float64
	runTime    time.Duration
	hasRunTime bool
	host       string // empty: as it was
	stages     bool
	classes    []string
	params     map[string]string
}

// formValues are the fields of a form in the body. What is no form has none.
func formValues(r *http.Request) (url.Values, error) {
	kind, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
	switch strings.ToLower(strings.TrimSpace(kind)) {
	case "multipart/form-data":
		if err := r.ParseMultipartForm(maxBody); err != nil {
			return nil, badRequest("the form cannot be read: %v", err)
		}
		return url.Values(r.MultipartForm.Value), nil
	case "application/x-www-form-urlencoded":
		if err := r.ParseForm(); err != nil {
			return nil, badRequest("the form cannot be read: %v", err)
		}
		return r.PostForm, nil
	}
	return url.Values{}, nil
}

func (s *Server) readForm(values url.Values, spec *scenarios.Spec) (*form, error) {
	f := &form{values: values, params: make(map[string]string)}
	var err error
	if s.cfg.ClassPicker {
		if f.classes, err = pickClasses(values["user_classes"], spec); err != nil {
			return nil, err
		}
	}
	if f.stages, err = s.pickShape(values, spec); err != nil {
		return nil, err
	}
	if !f.stages {
		if err := f.readCounts(); err != nil {
			return nil, err
		}
	}
	if text := values.Get("run_time"); text != "" && !f.stages {
		d, err := parseRunTime(text)
		if err != nil {
			return nil, refuse("%s", wrongRunTime)
		}
		f.runTime, f.hasRunTime = d, true
	}
	f.host = strings.TrimSpace(strings.NewReplacer("<", "", ">", "").Replace(values.Get("host")))
	params, err := spec.Params()
	if err != nil {
		return nil, err
	}
	for _, param := range params {
		// An empty field leaves the parameter as it is.
		if text := strings.TrimSpace(strings.Join(values[param.Name], ", ")); text != "" {
			f.params[param.Name] = text
		}
	}
	return f, nil
}

// readCounts reads the number of users and the rate.
func (f *form) readCounts() error {
	if !f.values.Has("user_count") || !f.values.Has("spawn_rate") {
		return refuse("%s", missingCounts)
	}
	count, rate := strings.TrimSpace(f.values.Get("user_count")), strings.TrimSpace(f.values.Get("spawn_rate"))
	var err error
	if f.users, err = strconv.Atoi(count); err != nil {
		return badRequest("user_count: %q is not a whole number", short(count))
	}
	if f.rate, err = strconv.ParseFloat(rate, 64); err != nil || math.IsNaN(f.rate) || math.IsInf(f.rate, 0) {
		return badRequest("spawn_rate: %q is not a number", short(rate))
	}
	switch {
	case f.rate == 0:
		return refuse("%s", missingCounts)
	case f.users < 0:
		return badRequest("user_count: %d is below 0", f.users)
	case f.rate < 0:
		return badRequest("spawn_rate: %v is below 0", f.rate)
	}
	return nil
}

// short cuts what is repeated in a message.
func short(text string) string {
	if runes := []rune(text); len(runes) > 40 {
		return string(runes[:40]) + "…"
	}
	return text
}

// parseRunTime reads Locust's durations: they have no milliseconds.
func parseRunTime(text string) (time.Duration, error) {
	text = strings.TrimSpace(text)
	if strings.Contains(text, "ms") {
		return 0, errors.New("milliseconds")
	}
	return scenarios.ParseDuration(text)
}

// pickClasses returns the classes that were picked and exist; all when none was.
func pickClasses(picked []string, spec *scenarios.Spec) ([]string, error) {
	all := classNames(spec)
	if len(picked) == 0 {
		return all, nil
	}
	known := slices.DeleteFunc(slices.Clone(all), func(name string) bool { return !slices.Contains(picked, name) })
	if len(known) == 0 {
		return nil, refuse("Scenario %s has none of these user classes: pick of %s", spec.Scenario, strings.Join(all, ", "))
	}
	return known, nil
}

// pickShape says whether the load is to follow the stages of the run's file. As
// with Locust, the form chooses only with the class picker; without it the
// stages, if there are some, are what is run.
func (s *Server) pickShape(values url.Values, spec *scenarios.Spec) (stages bool, err error) {
	if !s.cfg.ClassPicker {
		return followsStages(s.cfg.Spec), nil
	}
	switch name := values.Get("shape_class"); {
	case name == "" || name == defaultShape:
		return false, nil
	case name == stagesShape && followsStages(s.cfg.Spec):
		return true, nil
	default:
		return false, badRequest("shape_class: there is no load shape %q", short(name))
	}
}
