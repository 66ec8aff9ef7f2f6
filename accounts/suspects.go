package accounts

import (
	"context"
	"errors"
	"hash/maphash"
	"slices"
	"strings"
)

// auditor is one audit under way.
type auditor struct {
	store          store
	report         AuditReport
	roles, holders []string
	seen           map[string]mark
	// names are usernames, with ids, that may not be the ones of their accounts.
	names []pair
	seed  maphash.Seed
}

// mark is what was met of an account.
type mark struct {
	// name is the hash of its username; role is the number of its role, counted
	// from 1, and 0 when no record was met.
	name uint64
	role uint8
	// places is in how many it was met, at most 255.
	places uint8
	// odd is set when it was met in a place of another role, indexed when its
	// username leads to it, and why is how many times more it was met with a
	// reason than in quarantine.
	odd, indexed bool
	why          int8
}

func (m mark) suspect() bool { return m.places != 1 || m.odd || m.role == 0 || m.why != 0 }

// meet looks into every place, and marks what it meets there. A scan may tell of
// an account twice, which then is one suspect more.
func (a *auditor) meet(ctx context.Context) error {
	a.seed = maphash.MakeSeed()
	s := a.store
	if err := s.scanHash(ctx, s.keys.records(), a.meetRecords); err != nil {
		return err
	}
	for _, role := range a.roles {
		if err := s.scanSet(ctx, s.keys.available(role), each(func(id, _ string) { a.met(id, role) })); err != nil {
			return err
		}
	}
	for _, holder := range a.holders {
		if err := s.scanHash(ctx, s.keys.held(holder), each(func(id, text string) {
			_, role, _ := strings.Cut(text, " ")
			a.met(id, role)
		})); err != nil {
			return err
		}
	}
	if err := s.scanHash(ctx, s.keys.retired(), each(a.met)); err != nil {
		return err
	}
	if err := s.scanSet(ctx, s.keys.quarantined(), each(func(id, _ string) {
		a.met(id, "")
		a.metReason(id, -1)
	})); err != nil {
		return err
	}
	if err := s.scanHash(ctx, s.keys.reasons(), each(func(id, _ string) { a.metReason(id, 1) })); err != nil {
		return err
	}
	return s.scanHash(ctx, s.keys.index(), a.meetNames)
}

func each(do func(id, text string)) func([]pair) error {
	return func(page []pair) error {
		for _, r := range page {
			do(r.key, r.text)
		}
		return nil
	}
}

// met marks an account in a place of the role; of any role when "".
func (a *auditor) met(id, role string) {
	m := a.seen[id]
	m.places = min(m.places, 254) + 1
	m.odd = m.odd || role != "" && m.role != 0 && a.roles[m.role-1] != role
	a.seen[id] = m
}

func (a *auditor) metReason(id string, by int) {
	m := a.seen[id]
	m.why = int8(max(min(int(m.why)+by, 127), -127))
	a.seen[id] = m
}

func (a *auditor) meetRecords(page []pair) error {
	for _, r := range page {
		account, err := a.store.codec.decode(r.key, r.text)
		if errors.Is(err, ErrKey) {
			return err
		}
		m := a.seen[r.key]
		// One that cannot be read stays without a role, and a suspect.
		if at, ok := slices.BinarySearch(a.roles, account.Role); err == nil && ok {
			m.role, m.name = uint8(at+1), maphash.String(a.seed, account.Username)
		}
		a.seen[r.key] = m
	}
	return nil
}

func (a *auditor) meetNames(page []pair) error {
	for _, r := range page {
		m, known := a.seen[r.text]
		if known && m.role != 0 && m.name == maphash.String(a.seed, r.key) {
			m.indexed = true
			a.seen[r.text] = m
		} else {
			a.names = append(a.names, r)
		}
	}
	return nil
}

// confirmPlaces looks again where the suspects are, and reports what is wrong.
func (a *auditor) confirmPlaces(ctx context.Context) error {
	var suspects []string
	for id, m := range a.seen {
		if m.suspect() {
			suspects = append(suspects, id)
		}
	}
	slices.Sort(suspects)
	return a.store.lookEverywhere(ctx, suspects, func(id string, _ int64, f found) error {
		account, err := a.store.codec.decode(id, f.record)
		if errors.Is(err, ErrKey) {
			return err
		}
		a.judge(id, account, err == nil, f)
		return nil
	})
}

// judge reports what is wrong with an account at one moment.
func (a *auditor) judge(id string, account Account, readable bool, f found) {
	var names []string
	for _, p := range f.places {
		if p.in == inReason {
			a.report.problem("account %s has a reason to be quarantined, and is not", id)
			continue
		}
		names = append(names, p.String())
	}
	switch {
	case f.record == "" && len(names) > 0:
		a.report.problem("account %s has no record, and is %s", id, strings.Join(names, ", "))
		return
	case f.record == "":
		return
	case len(names) == 0:
		a.report.problem("account %s is nowhere", id)
	case len(names) > 1:
		a.report.problem("account %s is in %d places: %s", id, len(names), strings.Join(names, ", "))
	}
	if !readable {
		a.report.problem("account %s: %v", id, errRecord)
		return
	}
	for _, p := range f.places {
		role := account.Role
		switch p.in {
		case inAvailable, inRetired:
			role = p.which
		case inHeld:
			_, role, _ = strings.Cut(p.what, " ")
		case inQuarantined:
			if p.what == "" {
				a.report.problem("account %s is quarantined without a reason", id)
			}
		}
		if role != account.Role {
			a.report.problem("account %s has the role %q, and is %s with the role %q", id, account.Role, p, role)
		}
	}
}

// confirmIndex looks up again what was not met as it should be, and reports what
// is wrong.
func (a *auditor) confirmIndex(ctx context.Context) error {
	var ids []string
	for id, m := range a.seen {
		if m.role != 0 && !m.indexed {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	accounts, err := a.store.accounts(ctx, ids)
	if err != nil {
		return err
	}
	for _, account := range accounts {
		a.names = append(a.names, pair{account.Username, account.ID})
	}
	for batch := range slices.Chunk(a.names, moveBatch) {
		indexed, records, err := a.store.lookUp(ctx, batch)
		if err != nil {
			return err
		}
		for i, name := range batch {
			account, err := a.store.codec.decode(name.text, records[i])
			readable := err == nil
			switch {
			case indexed[i] == name.text && records[i] == "":
				a.report.problem("username %q leads to account %s, which has no record", name.key, name.text)
			case indexed[i] == name.text && readable && account.Username != name.key:
				a.report.problem("username %q leads to account %s, which has another", name.key, name.text)
			case indexed[i] != name.text && readable && account.Username == name.key:
				a.report.problem("username %q does not lead to account %s, which has it", name.key, name.text)
			}
		}
	}
	return nil
}
