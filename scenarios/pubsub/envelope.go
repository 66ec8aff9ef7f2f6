package pubsub

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
	"time"
)

// Sources of messages, the values of Envelope.Source.
const (
	SourceLoad  = "load"
	SourceProbe = "probe"
)

// EnvelopeField is the field of a payload that holds the envelope.
const EnvelopeField = "throng"

// Envelope identifies a message, whoever receives it. The triple (Run,
// Publisher, Sequence) is unique.
type Envelope struct {
	Run    string `json:"run"`
	Source string `json:"src"`
	// Publisher is unique for one session of one user, or one route of a
	// probe: a restarted publisher is another publisher.
	Publisher string `json:"pub"`
	// Sequence counts the publisher's messages from 1, without gaps.
	Sequence int64  `json:"seq"`
	Channel  string `json:"ch"`
	// At is when the message should have been sent, in microseconds of
	// Redis's clock since 1970.
	At int64 `json:"at"`
}

// ErrNoEnvelope says that a payload is not one of ours.
var ErrNoEnvelope = errors.New("pubsub: payload has no envelope")

// Time is At as a time.
func (e Envelope) Time() time.Time { return time.UnixMicro(e.At) }

// complete says whether the envelope identifies a message: every field but At
// must be set.
func (e Envelope) complete() bool {
	return e.Run != "" && e.Publisher != "" && e.Sequence >= 1 && e.Channel != "" &&
		(e.Source == SourceLoad || e.Source == SourceProbe)
}

// AppendPayload appends to dst the JSON object body with the envelope added as
// its first field. Body must be a JSON object, such as json.Marshal makes of a
// struct or a map; empty or nil means {}. The envelope must be complete: Source
// is one of the two, Sequence at least 1, nothing but At is empty. Text that is
// not UTF-8 does not survive.
func AppendPayload(dst []byte, e Envelope, body []byte) ([]byte, error) {
	if !e.complete() {
		return dst, errors.New("pubsub: a message's envelope must be complete")
	}
	rest := []byte("}")
	if len(body) > 0 {
		if len(body) < 2 || body[0] != '{' || body[len(body)-1] != '}' {
			return dst, errors.New("pubsub: a message's body must be a JSON object")
		}
		rest = bytes.TrimLeft(body[1:], jsonSpace)
	}
	dst = append(dst, `{"`+EnvelopeField+`":{"run":`...)
	dst = appendString(dst, e.Run)
	dst = append(dst, `,"src":`...)
	dst = appendString(dst, e.Source)
	dst = append(dst, `,"pub":`...)
	dst = appendString(dst, e.Publisher)
	dst = append(dst, `,"seq":`...)
	dst = strconv.AppendInt(dst, e.Sequence, 10)
	dst = append(dst, `,"ch":`...)
	dst = appendString(dst, e.Channel)
	dst = append(dst, `,"at":`...)
	dst = strconv.AppendInt(dst, e.At, 10)
	dst = append(dst, '}')
	if len(rest) > 1 {
		dst = append(dst, ',')
	}
	return append(dst, rest...), nil
}

// appendString quotes s. Ids and channel names are plain nearly always; the
// rest takes the library's way.
func appendString(dst []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c >= 0x7f || c == '"' || c == '\\' {
			quoted, _ := json.Marshal(s) // a string cannot fail
			return append(dst, quoted...)
		}
	}
	dst = append(dst, '"')
	dst = append(dst, s...)
	return append(dst, '"')
}

// ParsePayload reads the envelope of a payload. It returns ErrNoEnvelope for a
// payload of somebody else, and for one that arrived damaged: not JSON, cut
// short, or with an envelope that AppendPayload would not have written.
//
// The envelope is the first field named exactly EnvelopeField of the outermost
// object, wherever it stands. Neither a deeper field of that name, nor a text
// that looks like one, nor a second one is taken for it. Only the envelope is
// decoded; the rest is looked over.
func ParsePayload(payload []byte) (Envelope, error) {
	// Checking first costs no memory and lets the search rely on the form.
	if !json.Valid(payload) {
		return Envelope{}, ErrNoEnvelope
	}
	value := field(payload, EnvelopeField)
	if value == nil {
		return Envelope{}, ErrNoEnvelope
	}
	var e Envelope
	if err := json.Unmarshal(value, &e); err != nil || !e.complete() {
		return Envelope{}, ErrNoEnvelope
	}
	return e, nil
}

// jsonSpace is what JSON allows between tokens.
const jsonSpace = " \t\r\n"

// field returns the value of the first field of that name of a JSON object, or
// nil. The object must be valid JSON; any other valid JSON has no fields. A name
// that is spelled with escapes is not found: ours has nothing to escape.
func field(object []byte, name string) []byte {
	rest := bytes.TrimLeft(object, jsonSpace)
	if len(rest) == 0 || rest[0] != '{' {
		return nil
	}
	for {
		rest = bytes.TrimLeft(rest[1:], jsonSpace) // past the brace or the comma
		if rest[0] == '}' {
			return nil
		}
		end := stringEnd(rest)
		key := rest[1 : end-1]
		rest = bytes.TrimLeft(rest[end:], jsonSpace)
		rest = bytes.TrimLeft(rest[1:], jsonSpace) // past the colon
		end = valueEnd(rest)
		if string(key) == name {
			return rest[:end]
		}
		rest = bytes.TrimLeft(rest[end:], jsonSpace)
		if rest[0] == '}' {
			return nil
		}
	}
}

// stringEnd returns the length of the JSON string that s begins with.
func stringEnd(s []byte) int {
	for i := 1; ; i++ {
		switch s[i] {
		case '\\':
			i++ // whatever it is, it does not end the string
		case '"':
			return i + 1
		}
	}
}

// valueEnd returns the length of the JSON value that s begins with. A value is
// followed by something, since it stands in an object.
func valueEnd(s []byte) int {
	depth := 0
	for i := 0; ; i++ {
		switch s[i] {
		case '"':
			i += stringEnd(s[i:]) - 1
		case '{', '[':
			depth++
			continue
		case '}', ']':
			if depth == 0 {
				return i // the end of a number or a word, and of the object around it
			}
			depth--
		case ',':
			if depth == 0 {
				return i
			}
			continue
		default:
			continue
		}
		if depth == 0 {
			return i + 1
		}
	}
}
