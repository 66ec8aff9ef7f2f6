package web

import (
	"fmt"
	"os"
	"sync"
	"time"

	"go.uber.org/zap/zapcore"
)

// maxLines is how many log lines are kept.
const maxLines = 500

// Logs keeps the last lines that a process has logged. It is safe for
// concurrent use.
type Logs struct {
	host string

	mu    sync.Mutex // guards what follows
	lines []string
	next  int // where the next line goes once there are maxLines
}

// NewLogs returns an empty one.
func NewLogs() *Logs {
	host, err := os.Hostname()
	if err != nil {
		host = "master"
	}
	return &Logs{host: host}
}

// Lines are the lines, oldest first.
func (l *Logs) Lines() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append(append(make([]string, 0, len(l.lines)), l.lines[l.next:]...), l.lines[:l.next]...)
}

func (l *Logs) add(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.lines) < maxLines {
		l.lines = append(l.lines, line)
		return
	}
	l.lines[l.next] = line
	l.next = (l.next + 1) % maxLines
}

// Core is a core for a logger that keeps what is at or above a level: give it to
// zapcore.NewTee beside the one that writes.
func (l *Logs) Core(level zapcore.LevelEnabler) zapcore.Core {
	return &logsCore{LevelEnabler: level, logs: l}
}

type logsCore struct {
	zapcore.LevelEnabler
	logs   *Logs
	fields []zapcore.Field
}

func (c *logsCore) With(fields []zapcore.Field) zapcore.Core {
	return &logsCore{c.LevelEnabler, c.logs, append(append([]zapcore.Field{}, c.fields...), fields...)}
}

func (c *logsCore) Check(entry zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(entry.Level) {
		return checked.AddCore(entry, c)
	}
	return checked
}

// Write keeps the entry as a line of Locust's kind, with zap's fields at its
// end. The level's word is what the page colours it by.
func (c *logsCore) Write(entry zapcore.Entry, fields []zapcore.Field) error {
	name := entry.LoggerName
	if name == "" {
		name = "throng"
	}
	level := entry.Level.CapitalString()
	if entry.Level == zapcore.WarnLevel {
		level = "WARNING"
	}
	line := fmt.Sprintf("[%s,%03d] %s/%s/%s: %s", entry.Time.Format("2006-01-02 15:04:05"),
		entry.Time.Nanosecond()/int(time.Millisecond), c.logs.host, level, name, entry.Message)
	for _, field := range append(append([]zapcore.Field{}, c.fields...), fields...) {
		encoder := zapcore.NewMapObjectEncoder()
		field.AddTo(encoder)
		if value, ok := encoder.Fields[field.Key]; ok {
			line += fmt.Sprintf(" %s=%v", field.Key, value)
		}
	}
	c.logs.add(line)
	return nil
}

func (c *logsCore) Sync() error { return nil }
