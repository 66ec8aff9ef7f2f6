package accounts

import (
	"encoding/json"
	"errors"
	"maps"
	"strings"
	"testing"
)

// full is an account that has everything.
func full() Account {
	return Account{Username: "ü@example.org", Password: NewSecret("\"<\\ \x00hunter2"), Role: "student",
		Attributes: map[string]string{"group": "7", "": ""}, TargetID: "8f14e45f", Created: true, Key: "k"}
}

func same(a, b Account) bool {
	return a.ID == b.ID && a.Username == b.Username && a.Password.Equal(b.Password) && a.Role == b.Role &&
		maps.Equal(a.Attributes, b.Attributes) && a.TargetID == b.TargetID && a.Created == b.Created && a.Key == b.Key
}

func keyring(t testing.TB, text string) *Keyring {
	t.Helper()
	k, err := ParseKeyring(text)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestRecordsComeBackAsTheyWere(t *testing.T) {
	t.Parallel()
	long := full()
	long.Attributes = map[string]string{"long": strings.Repeat("x", 300), strings.Repeat("name", 40): "y"}
	key := keyring(t, GenerateKey())
	for name, want := range map[string]Account{
		"everything":   full(),
		"long fields":  long,
		"nothing more": {Username: "u", Role: "r"},
	} {
		for _, c := range []codec{{}, {keys: key, pool: "a pool"}} {
			want.ID = "12"
			got, err := c.decode("12", c.encode(want))
			if err != nil || !same(got, want) {
				t.Errorf("%s, %v: got %+v, %v; want %+v", name, c.keys, got, err, want)
			}
		}
	}
}

// An encrypted record can be read in its own pool only, and with its own key.
func TestRecordsAreBoundToTheirPool(t *testing.T) {
	t.Parallel()
	a, b := GenerateKey(), GenerateKey()
	text := codec{keyring(t, a), "pool"}.encode(full())
	for name, test := range map[string]struct {
		c    codec
		text string
		want error
	}{
		"as it is":       {codec{keyring(t, b+","+a), "pool"}, text, nil},
		"another pool":   {codec{keyring(t, a), "another"}, text, errRecord},
		"another key":    {codec{keyring(t, b), "pool"}, text, ErrKey},
		"no key":         {codec{pool: "pool"}, text, ErrKey},
		"a changed byte": {codec{keyring(t, a), "pool"}, text[:len(text)-1] + string(text[len(text)-1]^1), errRecord},
		"cut off":        {codec{keyring(t, a), "pool"}, text[:20], errRecord},
	} {
		got, err := test.c.decode("", test.text)
		if !errors.Is(err, test.want) || err == nil && !same(got, full()) {
			t.Errorf("%s: got %+v, %v; want %v", name, got, err, test.want)
		}
	}
	if again := (codec{keyring(t, a), "pool"}).encode(full()); again == text {
		t.Error("the same account is encrypted to the same record twice")
	}
}

// What stands in Redis is a contract with whoever reads the pool next.
func TestTheFormOfARecord(t *testing.T) {
	t.Parallel()
	a := Account{Username: "ada", Password: NewSecret("pw"), Role: "r", TargetID: "7", Created: true, Key: "k",
		Attributes: map[string]string{"b": "2", "a": "1"}}
	const want = "\x01\x01\x03ada\x02pw\x01r\x017\x01k\x02\x01a\x011\x01b\x012"
	if got := (codec{}).encode(a); got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestUnreadableRecordsAreNotQuoted(t *testing.T) {
	t.Parallel()
	good := (codec{}).encode(Account{Username: "u", Password: NewSecret("424242"), Role: "r"})
	tests := []string{
		"", "\x01", "\x01\x00", "\x03\x00", `{"u":"x","r":"y","p":424242}`,
		good + "4242", good[:len(good)-1], good[:8], "\x01\x02" + good[2:], "\x01\x00\xff\xff\xff\xff\xff\xff4242",
		"\x01\x00\x00\x064242xx\x01r\x00\x00\x00",                  // no username
		"\x01\x00\x01u\x064242xx\x00\x00\x00\x00",                  // no role
		"\x01\x00\x01u\x044242\x01r\x00\x00\x7f",                   // attributes that are not there
		"\x01\x00\x01u\x044242\x01r\x00\x00\x02\x01a\x00\x01a\x00", // the same attribute twice
		"\x02", "\x02\x03ab", "\x02\x00", "\x02\x034.4242",
	}
	for _, text := range tests {
		_, err := codec{}.decode("1", text)
		if !errors.Is(err, errRecord) {
			t.Errorf("%q: got %v, want errRecord", text, err)
		} else if strings.Contains(err.Error(), "4242") {
			t.Errorf("%q: the error quotes it: %v", text, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	key := keyring(f, "k:"+strings.Repeat("A", 43)+"=")
	for _, c := range []codec{{}, {keys: key, pool: "p"}} {
		f.Add(c.encode(full()))
		f.Add(c.encode(Account{Username: "a", Role: "b"}))
	}
	for _, text := range []string{"", "\x01", "\x02\x01k", "\xff", "{}"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, c := range []codec{{}, {keys: key, pool: "p"}} {
			a, err := c.decode("1", text)
			if err != nil {
				if !errors.Is(err, errRecord) && !errors.Is(err, ErrKey) {
					t.Fatalf("got %v, want errRecord or ErrKey", err)
				}
				continue
			}
			b, err := c.decode("1", c.encode(a))
			if err != nil || !same(a, b) {
				t.Fatalf("got %+v, %v; want %+v", b, err, a)
			}
		}
	})
}

// BenchmarkDecode compares reading a record with reading the JSON of the same.
func BenchmarkDecode(b *testing.B) {
	a := Account{Username: "student-k4mz7q2hx9vb", Password: NewSecret(strings.Repeat("p", 26)), Role: "student",
		Created: true, Key: strings.Repeat("k", 26), TargetID: "b6d767d2-f8ed-5d21-a44b-0e5886680cb9"}
	run := func(name string, read func() error) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := read(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	plain, sealed := codec{}, codec{keys: keyring(b, GenerateKey()), pool: "p"}
	inPlain, inSealed := plain.encode(a), sealed.encode(a)
	inJSON := `{"u":"` + a.Username + `","p":"` + a.Password.Reveal() + `","r":"student","t":"` + a.TargetID + `","k":"` + a.Key + `","c":true}`
	run("plain", func() error { _, err := plain.decode("1", inPlain); return err })
	run("sealed", func() error { _, err := sealed.decode("1", inSealed); return err })
	run("json", func() error {
		var r struct {
			U, P, R, T, K string
			C             bool
			A             map[string]string
		}
		return json.Unmarshal([]byte(inJSON), &r)
	})
}

// FuzzReplies feeds the decoders answers of any shape: they must not panic,
// and what they accept must make sense.
func FuzzReplies(f *testing.F) {
	f.Add([]byte("OK\x00t17\x00(t1\x00)(t{}\x00)n\x01n\x02n\x03n\x04n\x05"))
	f.Add([]byte("tDUP\x00"))
	f.Add([]byte("tOK\x00n\x09((trec\x00tquarantined\x00tinf\x00t17 {}\x00)(t\x00theld\x00th\x00t9 r\x00))"))
	f.Add([]byte("tOK\x00n\x01n\x01n\x00n\x00n\x00n\x00(n\x01n\x00n\x00n\x00)"))
	f.Add([]byte("tOK\x00((("))
	f.Fuzz(func(t *testing.T, data []byte) {
		answer, _ := build(data, 0)
		if g, err := decodeGrant(codec{}, answer, 3); err == nil && g.token == 0 && len(g.accounts) > 1000 {
			t.Errorf("granted %d accounts without a token", len(g.accounts))
		}
		if stats, _, err := decodeStats(answer, []string{"a", "b"}); err == nil && len(stats) != 2 {
			t.Errorf("stats of %d roles", len(stats))
		}
		if g, err := decodeGeneration(answer); err == nil && g.schema == "" && len(answer) > 0 && answer[0] != "" {
			t.Error("a generation without a schema")
		}
		_, _ = counted(answer, nil)
		if _, all, err := decodePlaces(answer, 2); err == nil && len(all) != 2 {
			t.Errorf("places of %d accounts; want 2", len(all))
		} else if err == nil {
			var l Listed
			for _, p := range append(all[0].places, all[1].places...) {
				_ = l.at(p, 1)
			}
		}
		if totals, err := decodeTotals(answer, 3); err == nil && len(totals.roles) != 3 {
			t.Errorf("counts of %d roles; want 3", len(totals.roles))
		}
		if places, err := placed(2, answer, nil); err == nil && len(places) != 2 {
			t.Errorf("%d places; want 2", len(places))
		}
	})
}

func FuzzDecodeReason(f *testing.F) {
	f.Add(`1763683200000 {"reason":"locked","token":"17","holder":"h","name":"worker-1"}`)
	f.Add(`1 {}`)
	f.Add(`{"reason":"locked"}`)
	f.Fuzz(func(t *testing.T, text string) {
		if since, why := decodeReason(text); since.IsZero() && why.Reason != unreadableReason {
			t.Errorf("%q: got %v, %+v", text, since, why)
		}
	})
}

// build makes an answer out of bytes: t text, n number, 0 nil, ( list ).
func build(data []byte, depth int) (answer []any, rest []byte) {
	for len(data) > 0 {
		kind := data[0]
		data = data[1:]
		switch {
		case kind == 't':
			text, after, _ := strings.Cut(string(data), "\x00")
			answer, data = append(answer, text), []byte(after)
		case kind == 'n' && len(data) > 0:
			answer, data = append(answer, int64(int8(data[0]))), data[1:]
		case kind == '(' && depth < 4:
			var list []any
			list, data = build(data, depth+1)
			answer = append(answer, list)
		case kind == ')':
			return answer, data
		default:
			answer = append(answer, nil)
		}
	}
	return answer, nil
}
