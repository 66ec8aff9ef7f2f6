package worker_test

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/throng-load/throng/scenarios"
)

// users watches the sessions of all users.
type users struct {
	play func(context.Context, *scenarios.User) error

	mu     sync.Mutex
	began  map[int][]time.Time // by number
	acting map[int]int
	twice  []int // numbers that ran twice at once
	tokens map[string]int64
	ends   []end
	draws  map[int][]uint64
}

// end is how a session ended.
type end struct {
	number int
	at     time.Time
	cause  error // of its context, nil if that had not ended
}

func newUsers(play func(context.Context, *scenarios.User) error) *users {
	if play == nil {
		play = func(ctx context.Context, _ *scenarios.User) error { <-ctx.Done(); return context.Cause(ctx) }
	}
	return &users{
		play: play, began: make(map[int][]time.Time), acting: make(map[int]int), tokens: make(map[string]int64), draws: make(map[int][]uint64),
	}
}

func (s *users) session(ctx context.Context, u *scenarios.User) error {
	s.mu.Lock()
	s.began[u.Number] = append(s.began[u.Number], time.Now())
	s.draws[u.Number] = append(s.draws[u.Number], u.Rand.Uint64())
	if s.acting[u.Number]++; s.acting[u.Number] > 1 {
		s.twice = append(s.twice, u.Number)
	}
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.acting[u.Number]--; s.acting[u.Number] == 0 {
			delete(s.acting, u.Number)
		}
		s.ends = append(s.ends, end{u.Number, time.Now(), context.Cause(ctx)})
	}()
	return s.play(ctx, u)
}

// running returns the numbers in a session, in order.
func (s *users) running() (numbers []int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for number := range s.acting {
		numbers = append(numbers, number)
	}
	slices.Sort(numbers)
	return numbers
}

// sessions returns when each session of a number began.
func (s *users) sessions(number int) []time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.began[number])
}

// total is how many sessions have begun.
func (s *users) total() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, all := range s.began {
		n += len(all)
	}
	return n
}

func (s *users) ended() []end {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.ends)
}

// doubled returns the numbers that ever ran twice at once.
func (s *users) doubled() []int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.twice)
}

// upTo is 0..n-1.
func upTo(n int) (numbers []int) {
	for i := range n {
		numbers = append(numbers, i)
	}
	return numbers
}
