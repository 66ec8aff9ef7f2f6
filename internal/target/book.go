package target

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"sync"
	"sync/atomic"
)

// rememberedKeys bounds how many idempotency keys the book keeps.
const rememberedKeys = 65_536

// account is one set of credentials as the target keeps it. All but lease is
// fixed at its creation, so it is read without a lock.
type account struct {
	username   string
	password   string // as given: this is a test service; never answered, never logged
	role       string
	attributes map[string]string
	bearer     string // what log-in answers
	tally      *roleTally

	lease atomic.Int64 // the newest fencing token seen
}

// witness notes the fencing token of a request and says whether an older one
// than a token seen before came.
func (a *account) witness(token int64) (stale bool) {
	for {
		newest := a.lease.Load()
		if token <= newest {
			return token < newest
		}
		if a.lease.CompareAndSwap(newest, token) {
			return false
		}
	}
}

// fits says whether the password is the account's.
func (a *account) fits(password string) bool {
	return subtle.ConstantTimeCompare([]byte(a.password), []byte(password)) == 1
}

// digest identifies the accounts of one request to create.
type digest [sha256.Size]byte

// book holds the accounts, and keeps them in a journal if it has one. One lock suffices: a user comes here once a session,
// to log in. Publishes and polls find their account by its bearer token, and
// that map is read without a lock.
type book struct {
	tally   *tally
	journal *journal // nil when nothing is kept; written under mu

	bearers sync.Map // bearer token -> *account; changed only under mu

	mu       sync.RWMutex
	accounts map[string]*account // by username
	created  map[string]digest   // by idempotency key
	keys     []string            // of created, a ring once it is full
	oldest   int                 // index in keys
}

func newBook(t *tally) *book {
	return &book{
		tally:    t,
		accounts: make(map[string]*account),
		created:  make(map[string]digest),
	}
}

// create adds all accounts or none. The usernames must differ. Under a key
// that is remembered it adds nothing, and succeeds if the digest is the same.
func (b *book) create(accounts []*account, key string, sum digest) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if key != "" {
		if before, ok := b.created[key]; ok {
			if before != sum {
				return fail(http.StatusConflict, "the Idempotency-Key was used for other accounts")
			}
			return nil
		}
	}
	for _, a := range accounts {
		if _, ok := b.accounts[a.username]; ok {
			return fail(http.StatusConflict, "account %q is there already", a.username)
		}
	}
	for _, a := range accounts {
		a.bearer = rand.Text()
	}
	if err := b.journal.created(accounts, key, sum); err != nil {
		return err
	}
	b.add(accounts, key, sum)
	return nil
}

// add needs mu, and accounts whose usernames are free.
func (b *book) add(accounts []*account, key string, sum digest) {
	for _, a := range accounts {
		a.tally = b.tally.role(a.role)
		b.accounts[a.username] = a
		b.bearers.Store(a.bearer, a)
	}
	if key != "" {
		b.remember(key, sum)
	}
	b.tally.accounts.Store(int64(len(b.accounts)))
}

// restore takes up the accounts of a journal, and goes on with it.
func (b *book) restore(j *journal) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.journal = j
	return j.replay(func(e entry, sum digest) {
		if len(e.Created) == 0 {
			b.strike(e.Deleted)
			return
		}
		accounts := make([]*account, len(e.Created))
		for i, k := range e.Created {
			accounts[i] = &account{username: k.Username, password: k.Password, role: k.Role, attributes: k.Attributes, bearer: k.Bearer}
		}
		b.add(accounts, e.Key, sum)
	})
}

// remember needs mu.
func (b *book) remember(key string, sum digest) {
	if len(b.keys) < rememberedKeys {
		b.keys = append(b.keys, key)
	} else {
		delete(b.created, b.keys[b.oldest])
		b.keys[b.oldest] = key
		b.oldest = (b.oldest + 1) % rememberedKeys
	}
	b.created[key] = sum
}

// named returns the account of a username, or nil.
func (b *book) named(username string) *account {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.accounts[username]
}

// bearing returns the account of a bearer token, or nil.
func (b *book) bearing(token string) *account {
	found, ok := b.bearers.Load(token)
	if !ok {
		return nil
	}
	return found.(*account)
}

// remove deletes an account and returns it, or nil if there is none.
func (b *book) remove(username string) (*account, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.accounts[username] == nil {
		return nil, nil
	}
	if err := b.journal.deleted(username); err != nil {
		return nil, err
	}
	return b.strike(username), nil
}

// strike needs mu. It returns the account that was struck out, or nil.
func (b *book) strike(username string) *account {
	a := b.accounts[username]
	if a == nil {
		return nil
	}
	delete(b.accounts, username)
	b.bearers.Delete(a.bearer)
	b.tally.accounts.Store(int64(len(b.accounts)))
	return a
}
