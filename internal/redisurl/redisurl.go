// Package redisurl turns the value of --redis into a go-redis client, with the
// settings that scripts need. It knows addresses, and nothing of what is kept
// in Redis.
//
//	redis://[user:password@]host[:port][/db]
//	rediss://...                                    the same over TLS
//	redis+sentinel://host1[:port],host2/master[/db]
//	redis+cluster://host1[:port],host2
package redisurl

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	dialTimeout = 2 * time.Second
	ioTimeout   = 3 * time.Second
	pingTimeout = 4 * time.Second
)

// ErrURL is wrapped by errors about the form of a URL.
var ErrURL = errors.New("not a Redis URL")

// forms is shown to whoever wrote something else.
const forms = "use redis://HOST:PORT, rediss://HOST:PORT, redis+sentinel://H1,H2/MASTER/DB or redis+cluster://H1,H2"

// Parse reads a URL. Errors wrap ErrURL and never repeat the URL, which may
// hold a password: nor a part of it, since an unescaped character in a password
// makes anything look like a path or a port.
func Parse(text string) (*redis.UniversalOptions, error) {
	u, hosts, err := split(text)
	if err != nil {
		return nil, err
	}
	o := &redis.UniversalOptions{
		// go-redis would repeat a command after a timeout, although it may have
		// been executed. Our callers repeat with the same sequence number.
		MaxRetries:  -1,
		DialTimeout: dialTimeout, ReadTimeout: ioTimeout, WriteTimeout: ioTimeout,
		ContextTimeoutEnabled: true,
		Username:              u.User.Username(),
	}
	o.Password, _ = u.User.Password()
	if o.Addrs, err = addresses(u.Scheme, hosts); err != nil {
		return nil, err
	}
	path := strings.FieldsFunc(u.Path, func(r rune) bool { return r == '/' })
	if u.Scheme != "redis" && u.Scheme != "rediss" && u.RawQuery != "" {
		return nil, fmt.Errorf("%w: nothing can stand behind a question mark: %s", ErrURL, forms)
	}
	switch u.Scheme {
	case "redis", "rediss":
		if len(hosts) > 1 {
			return nil, fmt.Errorf("%w: for several hosts say whether they are Sentinels or a Cluster: %s", ErrURL, forms)
		}
		single, err := redis.ParseURL(text)
		if err != nil || single.DB < 0 {
			return nil, fmt.Errorf("%w: behind the host only a database's number can stand: %s", ErrURL, forms)
		}
		o.DB, o.TLSConfig = single.DB, single.TLSConfig
	case "redis+sentinel":
		if len(path) < 1 || len(path) > 2 || strings.Contains(u.Path, "@") {
			return nil, fmt.Errorf("%w: redis+sentinel needs the master's name: redis+sentinel://H1,H2/MASTER/DB", ErrURL)
		}
		o.MasterName = path[0]
		if len(path) == 2 {
			if o.DB, err = strconv.Atoi(path[1]); err != nil || o.DB < 0 {
				return nil, fmt.Errorf("%w: the database must be a number: redis+sentinel://H1,H2/MASTER/DB", ErrURL)
			}
		}
	case "redis+cluster":
		if len(path) > 0 {
			return nil, fmt.Errorf("%w: a Cluster has only database 0", ErrURL)
		}
		o.IsClusterMode = true
	default:
		return nil, fmt.Errorf("%w: unknown scheme: %s", ErrURL, forms)
	}
	return o, nil
}

// split reads a URL whose host may be a list: url.Parse, which refuses most of
// those, is given a stand-in for it and reads the rest.
func split(text string) (u *url.URL, hosts []string, err error) {
	scheme, rest, found := strings.Cut(text, "://")
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	user := strings.LastIndexByte(rest[:end], '@') + 1
	u, err = url.Parse(scheme + "://" + rest[:user] + "hosts" + rest[end:])
	if !found || err != nil || u.Fragment != "" {
		return nil, nil, fmt.Errorf("%w: %s; write special characters of a password as %%XX", ErrURL, forms)
	}
	return u, strings.Split(rest[user:end], ","), nil
}

// addresses checks the hosts of a URL and gives those without a port the
// default one.
func addresses(scheme string, hosts []string) ([]string, error) {
	port := "6379"
	if scheme == "redis+sentinel" {
		port = "26379"
	}
	addrs := make([]string, len(hosts))
	for i, host := range hosts {
		u, err := url.Parse("//" + host)
		if err != nil || u.Hostname() == "" || host[0] != '[' && strings.Contains(u.Hostname(), ":") {
			return nil, fmt.Errorf("%w: each host is NAME, NAME:PORT, [IPV6] or [IPV6]:PORT: %s", ErrURL, forms)
		}
		p := cmp.Or(u.Port(), port)
		if n, err := strconv.ParseUint(p, 10, 16); err != nil || n == 0 {
			return nil, fmt.Errorf("%w: a port is a number from 1 to 65535: %s", ErrURL, forms)
		}
		addrs[i] = net.JoinHostPort(u.Hostname(), p)
	}
	return addrs, nil
}

// Connect parses the URL and makes sure that Redis answers. The caller closes
// the client.
func Connect(ctx context.Context, text string) (redis.UniversalClient, error) {
	o, err := Parse(text)
	if err != nil {
		return nil, err
	}
	client := redis.NewUniversalClient(o)
	pingCtx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	if err := client.Ping(pingCtx).Err(); err != nil {
		return nil, errors.Join(fmt.Errorf("redis at %s does not answer: %w", strings.Join(o.Addrs, ", "), err), client.Close())
	}
	return client, nil
}
