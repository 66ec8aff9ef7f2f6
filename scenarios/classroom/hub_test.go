package classroom_test

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/throng-load/throng/accounts"
	"github.com/throng-load/throng/scenarios"
	"github.com/throng-load/throng/scenarios/classroom"
	"github.com/throng-load/throng/scenarios/pubsub"
)

const run = "run-1"

// hub is a target in memory, which keeps a log of what was published.
type hub struct {
	mu   sync.Mutex
	subs map[string][]*subscription
	log  []message
}

// message is one entry of the log. At counts from the beginning of the test.
type message struct {
	at        time.Time
	publisher string
	channel   string
	event     string
	student   int
	question  int
}

func newHub() *hub { return &hub{subs: make(map[string][]*subscription)} }

// published returns the log, or the part of it that is about channels with a
// prefix.
func (h *hub) published(prefix string) []message {
	h.mu.Lock()
	defer h.mu.Unlock()
	var some []message
	for _, m := range h.log {
		if strings.HasPrefix(m.channel, prefix) {
			some = append(some, m)
		}
	}
	return some
}

// listeners is how many subscriptions a channel has.
func (h *hub) listeners(channel string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.subs[channel])
}

// conn is one user's connection to the hub.
type conn struct {
	hub  *hub
	mu   sync.Mutex
	subs []*subscription
}

type subscription struct {
	hub     *hub
	channel string

	mu      sync.Mutex // one message at a time
	handler pubsub.Handler
}

var errPayload = errors.New("hub: not a message of a classroom")

func (c *conn) Publish(_ context.Context, channel string, payload []byte) error {
	envelope, err := pubsub.ParsePayload(payload)
	if err != nil || envelope.Channel != channel {
		return errPayload
	}
	var body struct {
		Event    string
		Student  int
		Question int
	}
	_ = json.Unmarshal(payload, &body) // somebody else's events are none of ours
	c.hub.mu.Lock()
	c.hub.log = append(c.hub.log, message{time.Now(), envelope.Publisher, channel, body.Event, body.Student, body.Question})
	subs := append([]*subscription(nil), c.hub.subs[channel]...)
	c.hub.mu.Unlock()
	for _, s := range subs {
		s.mu.Lock()
		s.handler.Message(payload, time.Now())
		s.mu.Unlock()
	}
	return nil
}

func (c *conn) Subscribe(_ context.Context, channel string, handler pubsub.Handler) (pubsub.Subscription, error) {
	s := &subscription{hub: c.hub, channel: channel, handler: handler}
	c.hub.mu.Lock()
	c.hub.subs[channel] = append(c.hub.subs[channel], s)
	c.hub.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.subs = append(c.subs, s)
	return s, nil
}

func (s *subscription) Close() error {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	var left []*subscription
	for _, other := range s.hub.subs[s.channel] {
		if other != s {
			left = append(left, other)
		}
	}
	s.hub.subs[s.channel] = left
	return nil
}

func (c *conn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.subs {
		_ = s.Close()
	}
	c.subs = nil
	return nil
}

// wallClock is a swarm's clock that agrees with the process's.
type wallClock struct{}

func (wallClock) Now() time.Time               { return time.Now() }
func (wallClock) At(local time.Time) time.Time { return local }

// counts is a recorder that counts by "TYPE name".
type counts struct {
	mu sync.Mutex
	of map[string]int
}

func (c *counts) Record(kind, name string, _ time.Duration, _ int, _ error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.of == nil {
		c.of = make(map[string]int)
	}
	c.of[kind+" "+name]++
}

func (c *counts) get(operation string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.of[operation]
}

// seeded is a user's random numbers, as a worker makes them.
func seeded(number int) *rand.Rand { return rand.New(rand.NewPCG(uint64(number), 1)) }

// session makes one session of a user on a connection of its own. Token must
// differ between the sessions of one user.
func session(ctx context.Context, h *hub, c *classroom.Classroom, number int, token int64, random *rand.Rand, recorder scenarios.Recorder) error {
	link := &conn{hub: h}
	defer link.Close()
	u := scenarios.NewUser(scenarios.UserConfig{
		Run: run, Number: number, Conn: link, Rand: random, Clock: wallClock{}, Recorder: recorder, Account: accounts.Leased{Token: token},
	})
	return c.Classes()[c.ClassOf(number)].Session(ctx, u)
}

// crowd runs users 0..n-1 session after session until the returned function is
// called, which waits for them. What each has recorded is in the slice.
func crowd(t *testing.T, h *hub, c *classroom.Classroom, n int) (recorded []*counts, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var users sync.WaitGroup
	for number := range n {
		recorder := new(counts)
		recorded = append(recorded, recorder)
		users.Go(func() {
			random := seeded(number)
			for token := int64(1); ctx.Err() == nil; token++ {
				if err := session(ctx, h, c, number, token, random, recorder); err != nil && ctx.Err() == nil {
					t.Errorf("user %d: %v", number, err)
					return
				}
			}
		})
	}
	return recorded, func() { cancel(); users.Wait() }
}

// params returns the classroom's defaults, changed.
func params(change func(*classroom.Classroom)) *classroom.Classroom {
	c := classroom.Scenario.New().(*classroom.Classroom)
	change(c)
	return c
}
