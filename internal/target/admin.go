package target

import (
	"encoding/json"
	"net/http"

	"go.uber.org/zap"
)

func (s *Server) readFaults(*http.Request) (answer, error) {
	return jsonAnswer(http.StatusOK, s.faults.Load())
}

// replaceFaults puts other faults in force for what comes. Events that were
// accepted before keep their fate.
func (s *Server) replaceFaults(r *http.Request) (answer, error) {
	body, err := readBody(r)
	if err != nil {
		return answer{}, err
	}
	if !json.Valid(body) {
		return answer{}, fail(http.StatusBadRequest, "the faults are not JSON")
	}
	var f Faults
	if err := json.Unmarshal(body, &f); err != nil {
		return answer{}, fail(http.StatusBadRequest, "%v", err)
	}
	s.force(f)
	return jsonAnswer(http.StatusOK, f)
}

func (s *Server) clearFaults(*http.Request) (answer, error) {
	s.force(Faults{})
	return answer{status: http.StatusNoContent}, nil
}

func (s *Server) force(f Faults) {
	s.faults.Store(&f)
	s.log.Info("target changes its faults", zap.Stringer("delay", f.Delay),
		zap.Float64("loss", f.Loss), zap.Float64("duplicate", f.Duplicate), zap.Float64("refuse", f.Refuse))
}

func (s *Server) readCounters(*http.Request) (answer, error) {
	return jsonAnswer(http.StatusOK, s.Counters())
}

func (s *Server) health(*http.Request) (answer, error) {
	return jsonAnswer(http.StatusOK, map[string]string{"status": "ok"})
}
