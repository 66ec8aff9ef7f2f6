package exchange

import (
	"fmt"
	"net/http"
	"strconv"
)

// Failure is one way in which a request can fail: the zero value is none,
// Unreachable is that no connection came about, anything else is a status.
type Failure int

// Unreachable is that no connection came about, so that nothing was sent.
const Unreachable Failure = -1

// String is "unreachable", or the status.
func (f Failure) String() string {
	switch f {
	case 0:
		return ""
	case Unreachable:
		return "unreachable"
	}
	return strconv.Itoa(int(f))
}

// MarshalText returns the text form.
func (f Failure) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// UnmarshalText reads "unreachable", or a status from 400 to 599.
func (f *Failure) UnmarshalText(text []byte) error {
	if string(text) == "unreachable" {
		*f = Unreachable
		return nil
	}
	status, err := strconv.Atoi(string(text))
	if err != nil || status < http.StatusBadRequest || status > 599 {
		return fmt.Errorf("%.40q is neither unreachable nor a status from 400 to 599", text)
	}
	*f = Failure(status)
	return nil
}
