package exchange

import (
	"errors"
	"fmt"
	"maps"
	"net/textproto"
	"slices"
	"strings"
)

// rules is what one of an API's requests may have.
type rules struct {
	name, method string
	scope        Scope
	// keys are those of missing, taken, refused, id, token and value that it
	// can have.
	keys []string
}

// apiParser collects the mistakes of an API.
type apiParser struct{ mistakes []Mistake }

// keys are where something stands in an API.
func keys(keys ...string) []string { return keys }

// require notes a mistake at a place unless ok.
func (p *apiParser) require(ok bool, at []string, format string, args ...any) {
	if !ok {
		p.mistakes = append(p.mistakes, Mistake{Keys: at, Text: fmt.Sprintf(format, args...)})
	}
}

// wrong notes err, if it is one, as the mistake at a place.
func (p *apiParser) wrong(at []string, err error) {
	if err != nil {
		p.require(false, at, "%v", err)
	}
}

// call reads one request. It is nil if there is none, and of no use if there
// are mistakes.
func (p *apiParser) call(r *Request, common []Header, rules rules) *Call {
	if r == nil {
		return nil
	}
	c := &Call{Name: rules.name, Method: r.Method, ok: r.OK, missing: r.Missing, taken: r.Taken, refused: r.Refused}
	if c.Method == "" {
		c.Method = rules.method
	}
	p.require(isToken(c.Method) && c.Method == strings.ToUpper(c.Method), keys(rules.name, "method"), "%.40q is not a method such as POST", c.Method)
	var err error
	if r.Path == "" {
		err = errors.New("is missing: give the request's path, such as /users")
	} else {
		c.Path, err = ParsePath(r.Path, rules.scope)
	}
	p.wrong(keys(rules.name, "path"), err)
	if c.Path == nil {
		c.Path = new(Text)
	}
	c.Headers = merge(common, p.headers(keys(rules.name, "headers"), r.Headers, rules.scope))
	if r.Body != "" {
		c.Body, err = ParseText(r.Body, rules.scope)
		p.wrong(keys(rules.name, "body"), err)
	}
	p.statuses(rules, r)
	p.places(rules, r, c)
	return c
}

// statuses checks the lists of statuses.
func (p *apiParser) statuses(rules rules, r *Request) {
	seen := make(map[int]string)
	for _, list := range []struct {
		key      string
		statuses []int
	}{{"ok", r.OK}, {"missing", r.Missing}, {"taken", r.Taken}, {"refused", r.Refused}} {
		at := keys(rules.name, list.key)
		if list.key != "ok" && len(list.statuses) > 0 && !slices.Contains(rules.keys, list.key) {
			p.require(false, at, "%s has no such status", rules.name)
			continue
		}
		for _, status := range list.statuses {
			p.require(status >= 200 && status <= 599, at, "%d is not a status from 200 to 599", status)
			other, repeated := seen[status]
			p.require(!repeated, at, "%d is in %s already", status, other)
			seen[status] = list.key
		}
	}
}

// places reads where things stand in an answer.
func (p *apiParser) places(rules rules, r *Request, c *Call) {
	for _, place := range []struct {
		key, text string
		into      *Place
	}{{"id", r.ID, &c.ID}, {"token", r.Token, &c.Token}, {"error", r.Error, &c.Error}, {"value", r.Value, &c.Value}} {
		at := keys(rules.name, place.key)
		if place.key != "error" && place.text != "" && !slices.Contains(rules.keys, place.key) {
			p.require(false, at, "nothing of the kind is taken from the answer to %s", rules.name)
			continue
		}
		var err error
		*place.into, err = ParsePlace(place.text)
		p.wrong(at, err)
	}
}

// headers reads the headers that stand at a place, in the order of their names.
func (p *apiParser) headers(place []string, given map[string]string, scope Scope) []Header {
	var list []Header
	for _, name := range slices.Sorted(maps.Keys(given)) {
		at := append(slices.Clone(place), name)
		canonical := textproto.CanonicalMIMEHeaderKey(name)
		if !isToken(name) {
			p.require(false, at, "is not the name of a header")
			continue
		}
		switch canonical {
		case "Content-Length", "Transfer-Encoding", "Connection", "Trailer", "Upgrade":
			p.require(false, at, "is not for the configuration to set")
			continue
		}
		if slices.ContainsFunc(list, func(h Header) bool { return h.Name == canonical }) {
			p.require(false, at, "is given twice, in other letters")
			continue
		}
		value, err := ParseText(given[name], scope)
		if err == nil {
			err = checkVariables(value)
		}
		if err == nil && isSecret(canonical) && !HasVariable(given[name]) && len(value.fields) == 0 {
			err = errors.New("must not hold a secret: write ${NAME}, for the environment variable NAME")
		}
		if p.wrong(at, err); value == nil {
			value = new(Text)
		}
		list = append(list, Header{Name: canonical, Value: value, keys: at})
	}
	return list
}

// checkVariables says whether every ${NAME} outside of actions is well written.
func checkVariables(t *Text) error {
	_, err := t.Expand(func(string) (string, bool) { return "x", true })
	return err
}

// isSecret names the headers whose value lets somebody in.
func isSecret(header string) bool {
	return slices.Contains([]string{"Authorization", "Proxy-Authorization", "Cookie", "X-Api-Key"}, header)
}

// merge returns the headers of an API with those of one request, which win.
func merge(common, own []Header) []Header {
	all := slices.Clone(own)
	for _, h := range common {
		if !slices.ContainsFunc(own, func(o Header) bool { return o.Name == h.Name }) {
			all = append(all, h)
		}
	}
	return all
}

// isToken says whether text can be a method or the name of a header.
func isToken(text string) bool {
	const others = "!#$%&'*+-.^_`|~0123456789"
	return text != "" && strings.IndexFunc(text, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || strings.ContainsRune(others, r))
	}) < 0
}
