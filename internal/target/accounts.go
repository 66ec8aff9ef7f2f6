package target

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
)

const (
	leaseHeader       = "X-Throng-Lease"
	idempotencyHeader = "Idempotency-Key"

	// maxName bounds names that are kept: usernames, roles, idempotency keys
	// and channels. In bytes.
	maxName = 256
)

// application is one account as a request to create it gives it.
type application struct {
	Username   string            `json:"username"`
	Password   string            `json:"password"`
	Role       string            `json:"role"`
	Attributes map[string]string `json:"attributes"`
}

// profile is an account as it is answered: without its password.
type profile struct {
	Username   string            `json:"username"`
	Role       string            `json:"role"`
	Attributes map[string]string `json:"attributes"`
}

func profileOf(a *account) profile {
	p := profile{Username: a.username, Role: a.role, Attributes: a.attributes}
	if p.Attributes == nil {
		p.Attributes = map[string]string{}
	}
	return p
}

func (s *Server) createAccounts(r *http.Request) (answer, error) {
	body, err := readBody(r)
	if err != nil {
		return answer{}, err
	}
	key := r.Header.Get(idempotencyHeader)
	if len(key) > maxName {
		return answer{}, fail(http.StatusBadRequest, "the Idempotency-Key is longer than %d bytes", maxName)
	}
	applications, list, err := parseApplications(body)
	if err != nil {
		return answer{}, err
	}
	// The digest is of what was understood, not of the bytes: a repetition
	// may have been encoded anew.
	canonical, err := json.Marshal(applications)
	if err != nil {
		return answer{}, fmt.Errorf("encode accounts: %w", err)
	}
	accounts := make([]*account, len(applications))
	profiles := make([]profile, len(applications))
	for i, a := range applications {
		accounts[i] = &account{username: a.Username, password: a.Password, role: a.Role, attributes: a.Attributes}
		profiles[i] = profileOf(accounts[i])
	}
	if err := s.book.create(accounts, key, sha256.Sum256(canonical)); err != nil {
		return answer{}, err
	}
	if list {
		return jsonAnswer(http.StatusCreated, profiles)
	}
	return jsonAnswer(http.StatusCreated, profiles[0])
}

// parseApplications reads one account or a list of at least one, and says
// which it was.
func parseApplications(body []byte) (applications []application, list bool, err error) {
	list = bytes.HasPrefix(bytes.TrimLeft(body, " \t\r\n"), []byte("["))
	if list {
		err = json.Unmarshal(body, &applications)
	} else {
		applications = make([]application, 1)
		err = json.Unmarshal(body, &applications[0])
	}
	if err != nil {
		// The decoder's text may quote the body, and so a password.
		return nil, list, fail(http.StatusBadRequest, "want an account {username,password,role,attributes} or an array of them")
	}
	if len(applications) == 0 {
		return nil, list, fail(http.StatusBadRequest, "no account given")
	}
	seen := make(map[string]bool, len(applications))
	for i, a := range applications {
		switch {
		case a.Username == "" || a.Password == "":
			return nil, list, fail(http.StatusBadRequest, "account %d of %d: username and password are needed", i+1, len(applications))
		case len(a.Username) > maxName || len(a.Role) > maxName:
			return nil, list, fail(http.StatusBadRequest, "account %d of %d: username or role is longer than %d bytes", i+1, len(applications), maxName)
		case seen[a.Username]:
			return nil, list, fail(http.StatusBadRequest, "account %d of %d: %q is given twice", i+1, len(applications), a.Username)
		}
		seen[a.Username] = true
	}
	return applications, list, nil
}

func (s *Server) readAccount(r *http.Request) (answer, error) {
	a := s.book.named(r.PathValue("username"))
	if a == nil {
		return answer{}, fail(http.StatusNotFound, "no such account")
	}
	if err := s.witness(a, r); err != nil {
		return answer{}, err
	}
	return jsonAnswer(http.StatusOK, profileOf(a))
}

func (s *Server) deleteAccount(r *http.Request) (answer, error) {
	// The header is looked at first: a request that is answered 400 must not
	// have deleted anything.
	token, given, err := leaseOf(r)
	if err != nil {
		return answer{}, err
	}
	a, err := s.book.remove(r.PathValue("username"))
	if err != nil {
		return answer{}, err
	}
	if a == nil {
		return answer{}, fail(http.StatusNotFound, "no such account")
	}
	if given && a.witness(token) {
		s.tally.stale.Add(1)
	}
	return answer{status: http.StatusNoContent}, nil
}

func (s *Server) login(r *http.Request) (answer, error) {
	body, err := readBody(r)
	if err != nil {
		return answer{}, err
	}
	var credentials struct {
		Username string `json:"username"`
		Password string `json:"password"`
	}
	if err := json.Unmarshal(body, &credentials); err != nil {
		return answer{}, fail(http.StatusBadRequest, "want {username,password}")
	}
	a := s.book.named(credentials.Username)
	if a != nil {
		if err := s.witness(a, r); err != nil {
			return answer{}, err
		}
	}
	n := s.tally.logins.Add(1) - 1
	if s.dice.hits(s.faults.Load().Refuse, drawRefuseLogin, n) {
		s.tally.refused.Add(1)
		if a != nil {
			a.tally.refused.Add(1)
		}
		return answer{}, refused()
	}
	if a == nil || !a.fits(credentials.Password) {
		return answer{}, fail(http.StatusUnauthorized, "wrong username or password")
	}
	return jsonAnswer(http.StatusOK, map[string]string{"token": a.bearer})
}

func refused() error { return fail(http.StatusServiceUnavailable, "refused") }

// authorized returns the account of a request to a channel.
func (s *Server) authorized(r *http.Request) (*account, error) {
	const scheme = "Bearer "
	header := r.Header.Get("Authorization")
	if len(header) <= len(scheme) || header[:len(scheme)] != scheme {
		return nil, fail(http.StatusUnauthorized, "not logged in")
	}
	a := s.book.bearing(header[len(scheme):])
	if a == nil {
		return nil, fail(http.StatusUnauthorized, "unknown token")
	}
	if err := s.witness(a, r); err != nil {
		return nil, err
	}
	return a, nil
}

// witness looks at the fencing token of a request for the account.
func (s *Server) witness(a *account, r *http.Request) error {
	token, given, err := leaseOf(r)
	if err != nil {
		return err
	}
	if given && a.witness(token) {
		s.tally.stale.Add(1)
	}
	return nil
}

// leaseOf returns the fencing token that a request carries, if any. One that
// cannot be read is an error: dropped silently, it would blind the witness.
func leaseOf(r *http.Request) (token int64, given bool, err error) {
	text := r.Header.Get(leaseHeader)
	if text == "" {
		return 0, false, nil
	}
	token, err = strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, false, fail(http.StatusBadRequest, "%s is not a whole number", leaseHeader)
	}
	return token, true, nil
}
