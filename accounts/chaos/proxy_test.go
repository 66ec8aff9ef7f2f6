//go:build linux

package chaos_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"
)

// proxy stands between somebody and a Redis, and breaks what passes.
type proxy struct {
	server *toxiproxy.ApiServer
	listen string
	*toxiproxy.Proxy
}

func startProxy(name, upstream string) (*proxy, error) {
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	p := &proxy{server: server, Proxy: toxiproxy.NewProxy(server, name, "127.0.0.1:0", upstream)}
	if err := p.Start(); err != nil {
		return nil, fmt.Errorf("start proxy %s: %w", name, err)
	}
	p.listen = p.Listen
	return p, nil
}

// down breaks all connections and refuses new ones.
func (p *proxy) down() { p.Stop() }

// up ends down, and leads to the upstream given.
func (p *proxy) up(upstream string) error {
	// A proxy that was stopped waits for nothing that its old links still do:
	// they belong to the one that is left behind.
	p.Stop()
	p.Proxy = toxiproxy.NewProxy(p.server, p.Name, p.listen, upstream)
	if err := p.Start(); err != nil {
		return fmt.Errorf("start proxy %s again: %w", p.Name, err)
	}
	return nil
}

// toxic is what a proxy does to what passes.
type toxic struct {
	Name       string         `json:"name"`
	Type       string         `json:"type"`
	Stream     string         `json:"stream"`
	Toxicity   float64        `json:"toxicity"`
	Attributes map[string]int `json:"attributes"`
}

// poison adds a toxic, to the connections that there are too.
func (p *proxy) poison(ctx context.Context, t toxic) error {
	if t.Name = t.Type + "-" + t.Stream; t.Toxicity == 0 {
		t.Toxicity = 1
	}
	text, err := json.Marshal(t)
	if err != nil {
		return err
	}
	return p.within(ctx, "add "+t.Name, func() error {
		_, err := p.Toxics.AddToxicJson(bytes.NewReader(text))
		return err
	})
}

// heal removes all toxics.
func (p *proxy) heal(ctx context.Context) error {
	upstream, toxics := p.Upstream, p.Toxics
	err := p.within(ctx, "remove toxics", func() error { toxics.ResetToxics(context.WithoutCancel(ctx)); return nil })
	if err != nil {
		return p.up(upstream)
	}
	return nil
}

// within bounds what the library may wait for: it can wait for ever for a link
// whose ends have both gone. What hangs is left behind with its proxy.
func (p *proxy) within(ctx context.Context, what string, do func() error) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- do() }()
	select {
	case err := <-done:
		if err != nil {
			return fmt.Errorf("proxy %s: %s: %w", p.Name, what, err)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("proxy %s: %s: %w", p.Name, what, ctx.Err())
	}
}

// probe asks a Redis behind the address for an echo of size bytes, on a
// connection of its own, and returns how long connection and answer took: the
// proof that a fault is there.
func probe(address string, size int, patience time.Duration) (time.Duration, error) {
	began := time.Now()
	conn, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(began.Add(patience)); err != nil {
		return 0, err
	}
	if _, err := fmt.Fprintf(conn, "*2\r\n$4\r\nECHO\r\n$%d\r\n%s\r\n", size, strings.Repeat("x", size)); err != nil {
		return 0, err
	}
	answer := bufio.NewReader(conn)
	for range 2 {
		if _, err := answer.ReadString('\n'); err != nil {
			return 0, err
		}
	}
	return time.Since(began), nil
}
