package target_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/throng-load/throng/internal/target"
)

func TestCountersAreExactUnderConcurrency(t *testing.T) {
	t.Parallel()
	const publishers, subscribers, channels, each = 12, 2, 4, 150
	s := newService(t, target.Config{Seed: 11})
	var authorizations []string
	for i := range publishers {
		authorizations = append(authorizations, s.login(fmt.Sprintf("user-%d", i), []string{"student", "proctor", "probe"}[i%3]))
	}
	s.want(200, "PUT", "/admin/faults", `{"loss":0.1,"duplicate":0.1,"refuse":0.1}`)

	var published, refused, loggedIn, loginRefused, delivered, polls atomic.Int64
	publishing := make(chan struct{}) // closed when all publishers are done
	var senders, readers sync.WaitGroup
	for i := range publishers {
		senders.Go(func() {
			for j := range each {
				switch code := s.do("POST", fmt.Sprintf("/channels/%d/events", j%channels), `{"a":1}`,
					"Authorization", authorizations[i], "X-Throng-Lease", fmt.Sprint(j)).Code; code {
				case 201:
					published.Add(1)
				case 503:
					refused.Add(1)
				default:
					t.Errorf("publish: %d", code)
				}
				switch code := s.do("POST", "/login", fmt.Sprintf(`{"username":"user-%d","password":"pw"}`, i)).Code; code {
				case 200:
					loggedIn.Add(1)
				case 503:
					loginRefused.Add(1)
				default:
					t.Errorf("log-in: %d", code)
				}
			}
		})
	}
	got := make([]atomic.Int64, channels)
	for i := range channels * subscribers {
		readers.Go(func() {
			channel, after := i%channels, int64(0)
			for last := false; ; {
				answer := s.poll(authorizations[0], fmt.Sprint(channel), fmt.Sprintf("?after=%d&wait=10ms", after))
				polls.Add(1)
				got[channel].Add(int64(len(answer.Events)))
				delivered.Add(int64(len(answer.Events)))
				after = answer.Position
				if last && len(answer.Events) == 0 {
					return
				}
				select {
				case <-publishing:
					last = true
				default:
				}
			}
		})
	}
	senders.Wait()
	close(publishing)
	readers.Wait()

	c := s.Counters()
	for _, row := range []struct {
		name      string
		got, want int64
	}{
		{"accepted", c.Accepted, published.Load()},
		{"publish 201", c.Requests["publish"]["201"], published.Load()},
		{"publish 503", c.Requests["publish"]["503"], refused.Load()},
		{"login 200", c.Requests["login"]["200"], loggedIn.Load() + publishers},
		{"login 503", c.Requests["login"]["503"], loginRefused.Load()},
		{"poll 200", c.Requests["poll"]["200"], polls.Load()},
		{"refused", c.Refused, refused.Load() + loginRefused.Load()},
		{"published and refused", published.Load() + refused.Load(), publishers * each},
		{"delivered", c.Delivered, delivered.Load()},
		{"delivered, by fate", c.Delivered, subscribers * (c.Accepted - c.Dropped + c.Duplicated)},
		{"reordered", c.Reordered, 0},
		{"accounts", c.Accounts, publishers},
		{"stale", c.StaleTokenRequests, 0},
	} {
		if row.got != row.want {
			t.Errorf("%s: got %d, want %d", row.name, row.got, row.want)
		}
	}
	if c.Dropped == 0 || c.Duplicated == 0 || refused.Load() == 0 || loginRefused.Load() == 0 {
		t.Errorf("a fault never struck: %+v", c)
	}
	var sum target.RoleCounters
	for _, role := range []string{"student", "proctor", "probe"} {
		part := c.ByRole[role]
		if part.Published != publishers/3*each {
			t.Errorf("%s published %d, want %d", role, part.Published, publishers/3*each)
		}
		sum.Published += part.Published
		sum.Accepted += part.Accepted
		sum.Dropped += part.Dropped
		sum.Duplicated += part.Duplicated
		sum.Refused += part.Refused
	}
	want := target.RoleCounters{Published: publishers * each, Accepted: c.Accepted, Dropped: c.Dropped, Duplicated: c.Duplicated, Refused: c.Refused}
	if sum != want {
		t.Errorf("sum of the roles: got %+v, want %+v", sum, want)
	}
}

// onWrite calls a function before anything of an answer is written.
type onWrite struct {
	http.ResponseWriter
	before func()
}

func (w onWrite) WriteHeader(status int) {
	w.before()
	w.ResponseWriter.WriteHeader(status)
}

func TestAnswersAreCountedBeforeTheyAreSeen(t *testing.T) {
	t.Parallel()
	s := newService(t, target.Config{})
	ada := s.login("ada", "probe")
	var seen target.Counters
	for _, r := range []*http.Request{
		newRequest("POST", "/channels/c/events", `{}`, "Authorization", ada),
		newRequest("GET", "/channels/c/events?after=0", "", "Authorization", ada),
	} {
		s.Handler().ServeHTTP(onWrite{httptest.NewRecorder(), func() { seen = s.Counters() }}, r)
		if got := s.Counters(); !reflect.DeepEqual(seen, got) {
			t.Errorf("%s: counted %+v when the answer was written, %+v afterwards", r.Method, seen, got)
		}
	}
	if seen.Delivered != 1 || seen.ByRole["probe"].Accepted != 1 {
		t.Errorf("counters %+v", seen)
	}
}

func TestCountersOverHTTPAreTheSnapshot(t *testing.T) {
	t.Parallel()
	s := newService(t, target.Config{})
	ada := s.login("ada", "probe")
	s.publish(ada, "c", `{}`)
	s.poll(ada, "c", "?after=0")
	s.do("GET", "/nowhere", "")
	const want = `{"requests":{"accounts_create":{"201":1},"accounts_delete":{},"accounts_read":{},"login":{"200":1},"other":{"404":1},"poll":{"200":1},"publish":{"201":1}},` +
		`"accepted":1,"delivered":1,"dropped":0,"duplicated":0,"reordered":0,"refused":0,"accounts":1,"stale_token_requests":0,` +
		`"by_role":{"probe":{"published":1,"accepted":1,"dropped":0,"duplicated":0,"refused":0}}}`
	for range 2 { // looking changes nothing
		if got := s.want(200, "GET", "/admin/counters", ""); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}
