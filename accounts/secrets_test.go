package accounts_test

import (
	"bytes"
	"context"
	"encoding/gob"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/throng-load/throng/accounts"
	"github.com/throng-load/throng/internal/redistest"
)

// hides is somebody's struct with a secret where fmt asks no method.
type hides struct {
	account accounts.Account
	keys    *accounts.Keyring
	list    []accounts.Secret
}

// Whatever prints an account, a secret or a keyring, in whatever they are, shows
// no secret.
func TestSecretsAreNotPrinted(t *testing.T) {
	t.Parallel()
	const secret = "hunter2"
	inHex := fmt.Sprintf("%x", secret)
	key := keyText('k')
	keys := keyring(t, "k:"+key)
	account := accounts.Account{Username: "ada", Role: "student", Password: accounts.NewSecret(secret)}
	values := map[string]any{
		"secret":       account.Password,
		"pointer":      &account.Password,
		"account":      account,
		"leased":       accounts.Leased{Account: account, Token: 7},
		"listed":       []accounts.Listed{{Account: account}},
		"quarantined":  map[string]accounts.Quarantined{"a": {Account: account}},
		"unexported":   hides{account, keys, []accounts.Secret{account.Password}},
		"pointer to":   &hides{account, keys, []accounts.Secret{account.Password}},
		"keyring":      keys,
		"keyring's":    *keys,
		"config":       accounts.Config{Name: "pool", Keys: keys},
		"in interface": struct{ V any }{account.Password},
	}
	show := map[string]func(v any) string{}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%10.3s", "%p", "%T"} {
		show[verb] = func(v any) string { return fmt.Sprintf(verb, v) }
	}
	encode := func(name string, marshal func(v any) ([]byte, error)) {
		show[name] = func(v any) string {
			text, err := marshal(v)
			return fmt.Sprint(string(text), err)
		}
	}
	encode("json", json.Marshal)
	encode("xml", xml.Marshal)
	encode("yaml", func(v any) ([]byte, error) { return yaml.Marshal(v) })
	encode("gob", func(v any) ([]byte, error) {
		var b bytes.Buffer
		err := gob.NewEncoder(&b).Encode(v)
		return b.Bytes(), err
	})
	show["errors"] = func(v any) string { return errors.Join(fmt.Errorf("account %v", v)).Error() }
	show["slog text"] = func(v any) string {
		return logged(func(h *bytes.Buffer) slog.Handler { return slog.NewTextHandler(h, nil) }, v)
	}
	show["slog json"] = func(v any) string {
		return logged(func(h *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(h, nil) }, v)
	}
	show["zap"] = func(v any) string {
		var b bytes.Buffer
		for _, encoder := range []zapcore.Encoder{zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.NewConsoleEncoder(zap.NewDevelopmentEncoderConfig())} {
			log := zap.New(zapcore.NewCore(encoder, zapcore.AddSync(&b), zap.DebugLevel))
			log.Info("here", zap.Any("v", v), zap.Reflect("r", v), zap.String("s", fmt.Sprint(v)))
			log.Sugar().Infow("here", "v", v)
			log.Sugar().Info(v)
		}
		return b.String()
	}
	for what, v := range values {
		for how, as := range show {
			text := as(v)
			for _, s := range []string{secret, inHex, strings.ToUpper(inHex), key[:12], "[107 107 107", "kkkkkkkk", "6b6b6b6b", "[104 117 110"} {
				if strings.Contains(text, s) {
					t.Errorf("%s of %s shows %q: %s", how, what, s, text)
				}
			}
		}
	}
	for how, as := range show {
		if text := as(account.Password); how != "%T" && how != "%p" && how != "gob" && !strings.Contains(text, "redacted") {
			t.Errorf("%s: got %s; want redacted", how, text)
		}
	}
}

func logged(handler func(*bytes.Buffer) slog.Handler, v any) string {
	var b bytes.Buffer
	log := slog.New(handler(&b))
	log.Info("here", "v", v, slog.Group("g", "v", v))
	return b.String()
}

func TestSecret(t *testing.T) {
	t.Parallel()
	var none accounts.Secret
	if none.Reveal() != "" || !none.Equal(accounts.NewSecret("")) || none.Equal(accounts.NewSecret("x")) {
		t.Error("the zero secret is not the empty text")
	}
	a, b := accounts.NewSecret("hunter2"), accounts.NewSecret("hunter2")
	if a.Reveal() != "hunter2" || !a.Equal(b) || a.Equal(accounts.NewSecret("hunter3")) || !reflect.DeepEqual(a, b) {
		t.Error("a secret is not equal to its like, or equal to another")
	}
}

// The whole life of an encrypted pool leaves no password in Redis, in a log line
// or in an error.
func TestALifeWithoutATrace(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	rdb, namespace := redistest.Real(t)
	core, logs := observer.New(zap.DebugLevel)
	faults := &redistest.Faults{}
	broken := redistest.Another(t, rdb)
	broken.AddHook(faults)
	config := accounts.Config{Redis: broken, Namespace: namespace, Name: "pool", Log: zap.New(core), Keys: keyring(t, accounts.GenerateKey()+","+accounts.GenerateKey())}
	p, err := accounts.Create(ctx, config, accounts.Settings{LeaseTTL: 500 * time.Millisecond, Rest: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	var texts []string
	tell := func(v any, err error) {
		texts = append(texts, fmt.Sprintf("%v %+v %#v %v", v, v, v, err), fmt.Sprintf("%+v", err))
	}
	fill(t, p, "student", 20)
	tell(p.Import(ctx, people("proctor", 5)))
	tell(p.Import(ctx, []accounts.Account{person("proctor-1", "student"), person("new", "student")}))
	tell(p.Intend(ctx, []accounts.Account{person("new", "student"), {Username: "bad", Password: accounts.NewSecret("hunter2\xff"), Role: "student"}}))
	tell(p.Intend(ctx, []accounts.Account{person("new", "student")}))
	tell(p.Intents(ctx, 5))
	tell(accounts.Open(ctx, accounts.Config{Redis: rdb, Namespace: namespace, Name: "pool", Keys: keyring(t, keyText('z'))}))
	h, stop := register(t, p)
	l := lease(t, h, "student")
	fault := faults.LoseReplies(3, redistest.Any)
	h.Release(lease(t, h, "student"), accounts.Refused("wrong password"))
	h.Release(l, accounts.OK)
	eventually(t, "answers were lost", func() bool { return fault.Hits() == 3 })
	fault.Lift()
	tell(l.Leased, l.Check())
	tell(p.Quarantine(ctx, []string{"student-1", "student-2"}, "x", 0))
	tell(p.Quarantined(ctx, 5))
	tell(p.RetireAccounts(ctx, []string{"student-3"}))
	tell(p.Retired(ctx, 5))
	tell(p.Rekey(ctx))
	tell(nil, p.List(ctx, accounts.Filter{}, func(l accounts.Listed) error { return fmt.Errorf("no more after %v", l) }))
	refuse := faults.Refuse(0, redistest.Any)
	tell(p.Import(ctx, people("teacher", 2)))
	tell(p.Confirm(ctx, people("student", 2)))
	tell(p.Audit(ctx))
	refuse.Lift()
	stop()
	if err := rdb.HSet(ctx, p.Key("rec"), l.ID, dump(t, rdb, namespace)[:20]).Err(); err != nil {
		t.Fatal(err)
	}
	tell(p.Audit(ctx))
	tell(nil, p.List(context.Background(), accounts.Filter{}, func(accounts.Listed) error { return nil }))

	texts = append(texts, dump(t, rdb, namespace))
	for _, entry := range logs.All() {
		texts = append(texts, fmt.Sprint(entry.Message, entry.ContextMap()))
	}
	for _, text := range texts {
		if strings.Contains(text, "hunter2") {
			t.Errorf("it tells a password: %s", text)
		}
	}
	if logs.Len() == 0 {
		t.Error("nothing was logged")
	}
}
