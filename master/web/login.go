package web

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	_ "embed"
	"html/template"
	"net/http"
	"strings"
	"sync"
	"time"
)

const (
	sessionCookie   = "throng_session"
	sessionLifetime = 12 * time.Hour
	maxSessions     = 1000
	// failureDelay slows guessing: one attempt at a time, and a wrong one takes
	// this long.
	failureDelay = 500 * time.Millisecond
)

//go:embed login.html
var loginText string

var loginTemplate = template.Must(template.New("login").Parse(loginText))

// login is who may use the page. Browsers have a session in a cookie, scripts
// may send user and password with each request (HTTP basic authentication).
// Sessions end with the process.
type login struct {
	user, password [sha256.Size]byte
	base           string

	attempt sync.Mutex // held while a password is tried

	mu       sync.Mutex // guards sessions
	sessions map[string]time.Time
}

func newLogin(user, password, base string) *login {
	return &login{user: sha256.Sum256([]byte(user)), password: sha256.Sum256([]byte(password)), base: base, sessions: make(map[string]time.Time)}
}

// right says whether these are the user and the password, in a time that tells
// nothing about them.
func (l *login) right(user, password string) bool {
	u, p := sha256.Sum256([]byte(user)), sha256.Sum256([]byte(password))
	return subtle.ConstantTimeCompare(u[:], l.user[:])&subtle.ConstantTimeCompare(p[:], l.password[:]) == 1
}

// admits says whether a request comes from somebody who is logged in.
func (l *login) admits(r *http.Request) bool {
	if cookie, err := r.Cookie(sessionCookie); err == nil {
		l.mu.Lock()
		end, ok := l.sessions[cookie.Value]
		l.mu.Unlock()
		if ok && time.Now().Before(end) {
			return true
		}
	}
	user, password, given := r.BasicAuth()
	return given && l.tried(r, user, password)
}

// tried tries a password, slowly when it is wrong.
func (l *login) tried(r *http.Request, user, password string) bool {
	if l.right(user, password) {
		return true
	}
	l.attempt.Lock()
	defer l.attempt.Unlock()
	select {
	case <-time.After(failureDelay):
	case <-r.Context().Done():
	}
	return false
}

// open makes a session; the oldest makes room for it.
func (l *login) open() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	oldest := ""
	for id, end := range l.sessions {
		if now.After(end) {
			delete(l.sessions, id)
		} else if oldest == "" || end.Before(l.sessions[oldest]) {
			oldest = id
		}
	}
	if len(l.sessions) >= maxSessions {
		delete(l.sessions, oldest)
	}
	id := rand.Text()
	l.sessions[id] = now.Add(sessionLifetime)
	return id
}

func (l *login) end(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.sessions, id)
}

func (l *login) cookie(r *http.Request, value string, age time.Duration) *http.Cookie {
	return &http.Cookie{Name: sessionCookie, Value: value, Path: l.base + "/", MaxAge: int(age / time.Second),
		HttpOnly: true, Secure: r.TLS != nil, SameSite: http.SameSiteLaxMode}
}

// turnAway answers who is not logged in: a person with the way to the login
// page, a script with 401.
func (s *Server) turnAway(w http.ResponseWriter, r *http.Request) {
	if strings.Contains(r.Header.Get("Accept"), "text/html") {
		http.Redirect(w, r, s.cfg.BasePath+"/login", http.StatusFound)
		return
	}
	plainPage(w, http.StatusUnauthorized, "Unauthorized", "Log in first, or send the user and the password with HTTP basic authentication.")
}

// loginPage asks for user and password; without a login it leads to the page.
func (s *Server) loginPage(w http.ResponseWriter, r *http.Request) {
	if s.login == nil || s.login.admits(r) {
		http.Redirect(w, r, s.cfg.BasePath+"/", http.StatusFound)
		return
	}
	s.writeLogin(w, http.StatusOK, "")
}

func (s *Server) writeLogin(w http.ResponseWriter, status int, problem string) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = loginTemplate.Execute(w, map[string]string{"Action": s.cfg.BasePath + "/login", "Problem": problem}) // whoever asked may have gone
}

func (s *Server) logIn(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		s.writeLogin(w, http.StatusBadRequest, "The form cannot be read.")
		return
	}
	if !s.login.tried(r, r.PostForm.Get("username"), r.PostForm.Get("password")) {
		s.writeLogin(w, http.StatusUnauthorized, "The user name or the password is wrong.")
		return
	}
	http.SetCookie(w, s.login.cookie(r, s.login.open(), sessionLifetime))
	http.Redirect(w, r, s.cfg.BasePath+"/", http.StatusSeeOther)
}

func (s *Server) logOut(w http.ResponseWriter, r *http.Request) {
	if cookie, err := r.Cookie(sessionCookie); err == nil {
		s.login.end(cookie.Value)
	}
	http.SetCookie(w, s.login.cookie(r, "", -time.Second))
	http.Redirect(w, r, s.cfg.BasePath+"/login", http.StatusSeeOther)
}
