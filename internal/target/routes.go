package target

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"go.uber.org/zap"
)

const (
	maxBody = 1 << 20

	// statusGone is counted for a poll whose subscriber left while it waited.
	// Nothing is written.
	statusGone = 499
)

// answer is what a request gets. Handlers return it instead of writing it, so
// that it is counted before its receiver can see it and no lock is held while
// it is written.
type answer struct {
	status int
	body   []byte // JSON, or nil for none
	events int64  // how many events the body delivers
}

// failure is an error with the status it is answered with. Its text is shown:
// it must be short and must not contain a password.
type failure struct {
	status int
	text   string
}

func (f *failure) Error() string { return f.text }

func fail(status int, format string, args ...any) error {
	return &failure{status: status, text: fmt.Sprintf(format, args...)}
}

// route is what one method does at one path.
type route struct {
	operation operation
	handle    func(*http.Request) (answer, error)
}

func (s *Server) routes() http.Handler {
	table := map[string]map[string]route{
		"/accounts": {
			http.MethodPost: {opAccountsCreate, s.createAccounts},
		},
		"/accounts/{username}": {
			http.MethodGet:    {opAccountsRead, s.readAccount},
			http.MethodDelete: {opAccountsDelete, s.deleteAccount},
		},
		"/login": {
			http.MethodPost: {opLogin, s.login},
		},
		// The name is taken from the escaped path (channelName): a wildcard
		// for one segment would not match an unescaped name with slashes.
		"/channels/{rest...}": {
			http.MethodPost: {opPublish, s.publish},
			http.MethodGet:  {opPoll, s.poll},
		},
		"/admin/faults": {
			http.MethodGet:    {opUncounted, s.readFaults},
			http.MethodPut:    {opUncounted, s.replaceFaults},
			http.MethodDelete: {opUncounted, s.clearFaults},
		},
		"/admin/counters": {
			http.MethodGet: {opUncounted, s.readCounters},
		},
		"/healthz": {
			http.MethodGet:  {opUncounted, s.health},
			http.MethodHead: {opUncounted, s.health}, // some health checks ask so
		},
		"/": nil,
	}
	mux := http.NewServeMux()
	for path, methods := range table {
		mux.Handle(path, s.dispatch(methods))
	}
	return mux
}

// dispatch chooses the route by method: the mux's own answers to a wrong path
// or method would be neither JSON nor counted. A HEAD is a wrong method, since
// an answer without its body would count events that nobody got.
func (s *Server) dispatch(methods map[string]route) http.HandlerFunc {
	allow := strings.Join(slices.Sorted(maps.Keys(methods)), ", ")
	return func(w http.ResponseWriter, r *http.Request) {
		found, ok := methods[r.Method]
		switch {
		case ok:
			r.Body = http.MaxBytesReader(w, r.Body, maxBody)
			a, err := found.handle(r)
			s.answer(w, found.operation, a, err)
		case len(methods) == 0:
			s.answer(w, opOther, answer{}, fail(http.StatusNotFound, "no such path"))
		default:
			w.Header().Set("Allow", allow)
			s.answer(w, opOther, answer{}, fail(http.StatusMethodNotAllowed, "method not allowed, use %s", allow))
		}
	}
}

// answer counts the answer, then writes it. The order matters: who has the
// answer and then reads the counters must find it there.
func (s *Server) answer(w http.ResponseWriter, o operation, a answer, err error) {
	if err != nil {
		a = s.failed(err)
	}
	s.tally.answered(o, a)
	if a.status == statusGone {
		return
	}
	header := w.Header()
	if a.status == http.StatusUnauthorized {
		header.Set("WWW-Authenticate", "Bearer")
	}
	if a.body != nil {
		header.Set("Content-Type", "application/json")
		header.Set("Content-Length", strconv.Itoa(len(a.body)))
	}
	w.WriteHeader(a.status)
	if a.body != nil {
		// An error means that the peer is gone; there is nobody to tell.
		_, _ = w.Write(a.body)
	}
}

// failed turns an error into an answer.
func (s *Server) failed(err error) answer {
	var f *failure
	if !errors.As(err, &f) {
		s.log.Error("target answers 500", zap.Error(err))
		f = &failure{status: http.StatusInternalServerError, text: "internal error"}
	}
	a, err := jsonAnswer(f.status, map[string]string{"error": f.text})
	if err != nil { // a map of strings cannot fail
		return answer{status: http.StatusInternalServerError}
	}
	return a
}

func jsonAnswer(status int, v any) (answer, error) {
	body, err := json.Marshal(v)
	if err != nil {
		return answer{}, fmt.Errorf("encode answer: %w", err)
	}
	return answer{status: status, body: body}, nil
}

// readBody returns the whole body of a request, which dispatch has limited.
func readBody(r *http.Request) ([]byte, error) {
	if r.ContentLength > maxBody {
		return nil, tooLarge()
	}
	var body []byte
	var err error
	if r.ContentLength >= 0 {
		body = make([]byte, r.ContentLength)
		_, err = io.ReadFull(r.Body, body)
	} else {
		body, err = io.ReadAll(r.Body)
	}
	var limit *http.MaxBytesError
	switch {
	case errors.As(err, &limit):
		return nil, tooLarge()
	case err != nil:
		return nil, fail(http.StatusBadRequest, "the body ended early")
	}
	return body, nil
}

func tooLarge() error {
	return fail(http.StatusRequestEntityTooLarge, "the body is larger than 1 MiB")
}
