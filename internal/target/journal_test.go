package target_test

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/throng-load/throng/internal/target"
)

// openJournal opens a file as `throng target --accounts-file` does.
func openJournal(t testing.TB, path string) *os.File {
	t.Helper()
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() })
	return file
}

// tokenOf logs in.
func (s service) tokenOf(username, password string) string {
	s.t.Helper()
	var answer struct{ Token string }
	body := s.want(http.StatusOK, http.MethodPost, "/login", `{"username":"`+username+`","password":"`+password+`"}`)
	if err := json.Unmarshal([]byte(body), &answer); err != nil {
		s.t.Fatal(err)
	}
	return answer.Token
}

func TestAccountsOutliveTheServer(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "accounts")
	before := newService(t, target.Config{Journal: openJournal(t, path)})
	const two = `[{"username":"ada","password":"p1","role":"student","attributes":{"group":"7"}},{"username":"bob","password":"p2"}]`
	before.want(http.StatusCreated, http.MethodPost, "/accounts", two, "Idempotency-Key", "k1")
	before.want(http.StatusCreated, http.MethodPost, "/accounts", `{"username":"cy","password":"p3"}`)
	before.want(http.StatusNoContent, http.MethodDelete, "/accounts/bob", "")
	before.want(http.StatusNotFound, http.MethodDelete, "/accounts/bob", "")
	token := before.tokenOf("ada", "p1")

	// The first process is not even told to end.
	after := newService(t, target.Config{Journal: openJournal(t, path)})
	if n := after.Counters().Accounts; n != 2 {
		t.Errorf("%d accounts after the restart, want 2", n)
	}
	if got := after.want(http.StatusOK, http.MethodGet, "/accounts/ada", ""); !strings.Contains(got, `"group":"7"`) || !strings.Contains(got, `"student"`) {
		t.Errorf("ada came back as %s", got)
	}
	after.want(http.StatusNotFound, http.MethodGet, "/accounts/bob", "")
	if got := after.tokenOf("ada", "p1"); got != token {
		t.Error("ada's token has changed: users would have to log in again")
	}
	after.want(http.StatusUnauthorized, http.MethodPost, "/login", `{"username":"cy","password":"wrong"}`)
	// The key is remembered: a repetition creates nothing, although bob is gone.
	after.want(http.StatusCreated, http.MethodPost, "/accounts", two, "Idempotency-Key", "k1")
	after.want(http.StatusConflict, http.MethodPost, "/accounts", `{"username":"dee","password":"p"}`, "Idempotency-Key", "k1")
	if n := after.Counters().Accounts; n != 2 {
		t.Errorf("%d accounts after the repetition, want 2", n)
	}
}

// A crash may leave a part of the last line. Its request was never answered.
func TestTornLineIsCutOff(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "accounts")
	first := newService(t, target.Config{Journal: openJournal(t, path)})
	first.want(http.StatusCreated, http.MethodPost, "/accounts", `{"username":"ada","password":"p1"}`)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for cut := 1; cut < len(whole); cut += 7 {
		if err := os.WriteFile(path, append(whole[:len(whole):len(whole)], whole[:cut]...), 0o600); err != nil {
			t.Fatal(err)
		}
		s := newService(t, target.Config{Journal: openJournal(t, path)})
		s.want(http.StatusCreated, http.MethodPost, "/accounts", `{"username":"bob","password":"p2"}`)
		again := newService(t, target.Config{Journal: openJournal(t, path)})
		if n := again.Counters().Accounts; n != 2 {
			t.Errorf("torn after %d bytes: %d accounts, want 2", cut, n)
		}
	}
}

func TestOtherFilesAreNoJournal(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"secret\n", "{}\n", `{"username":"secret"}` + "\n",
		`{"created":[{"username":"a","password":"secret","bearer":"t"}],"key":"k","sum":"00"}` + "\n",
		`{"deleted":"a"}` + "\n\n",
	} {
		path := filepath.Join(t.TempDir(), "accounts")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := target.New(target.Config{Journal: openJournal(t, path)})
		if err == nil || !strings.Contains(err.Error(), path+": line ") || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v, want an error that names the file and the line, and quotes nothing", text, err)
		}
		if kept, _ := os.ReadFile(path); string(kept) != text {
			t.Errorf("%q was changed to %q", text, kept)
		}
	}
}

// What cannot be kept is not created.
func TestJournalThatFails(t *testing.T) {
	t.Parallel()
	file := openJournal(t, filepath.Join(t.TempDir(), "accounts"))
	s := newService(t, target.Config{Journal: file})
	s.want(http.StatusCreated, http.MethodPost, "/accounts", `{"username":"ada","password":"p1"}`)
	_ = file.Close()
	s.want(http.StatusInternalServerError, http.MethodPost, "/accounts", `{"username":"bob","password":"p2"}`)
	s.want(http.StatusInternalServerError, http.MethodDelete, "/accounts/ada", "")
	s.want(http.StatusOK, http.MethodGet, "/accounts/ada", "")
	s.want(http.StatusNotFound, http.MethodGet, "/accounts/bob", "")
}
