package accounts

import "github.com/redis/go-redis/v9"

// Key is a key of the pool, as keys.go names it.
func (p *Pool) Key(parts ...string) string { return p.store.keys.space.Key(parts...) }

func ImportScript() *redis.Script { return importScript }

// ID is the holder's id in Redis.
func (h *Holder) ID() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.id
}
