package cmd

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Where the user and the password for --web-login come from: a flag would show
// them to everybody on the machine.
const (
	webUser     = "THRONG_WEB_USER"
	webPassword = "THRONG_WEB_PASSWORD"
)

// webFlags are Locust's flags for its web page.
type webFlags struct {
	host, basePath  string
	port            int
	login           bool
	tlsCert, tlsKey string
	autostart       bool
	autoquit        int
	classPicker     bool
	user, password  string
	certificate     *tls.Certificate
}

func (w *webFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&w.host, "web-host", "127.0.0.1", "`address` that the web page is served on")
	flags.IntVarP(&w.port, "web-port", "P", 8089, "`port` that the web page is served on; 0 is any free one")
	flags.StringVar(&w.basePath, "web-base-path", "", "`path` that everything of the web page is under, such as /throng")
	flags.BoolVar(&w.login, "web-login", false, "ask for a user and a password: those of "+webUser+" and "+webPassword)
	flags.StringVar(&w.tlsCert, "tls-cert", "", "`file` with the certificate to serve the web page over TLS")
	flags.StringVar(&w.tlsKey, "tls-key", "", "`file` with the certificate's private key")
	flags.BoolVar(&w.autostart, "autostart", false, "start a run at once; the web page stays when it has ended")
	flags.IntVar(&w.autoquit, "autoquit", -1, "with --autostart, quit so many `seconds` after the run; -1 is never")
	flags.BoolVar(&w.classPicker, "class-picker", false, "show the user classes and the load shapes in the start form")
}

// check finds what is wrong with the flags, and reads what they name.
func (w *webFlags) check(e env) error {
	var problems []error
	if w.port < 0 || w.port > 65535 {
		problems = append(problems, usageError("--web-port: %d is not from 0 to 65535", w.port))
	}
	w.basePath = strings.TrimRight(w.basePath, "/")
	if w.basePath != "" && !strings.HasPrefix(w.basePath, "/") {
		problems = append(problems, usageError("--web-base-path: %q does not begin with /", w.basePath))
	}
	if w.autoquit >= 0 && !w.autostart {
		problems = append(problems, usageError("--autoquit is for --autostart: without it nothing would ever quit"))
	}
	if w.login {
		w.user, _ = e.lookup(webUser)
		w.password, _ = e.lookup(webPassword)
		if w.user == "" || w.password == "" {
			problems = append(problems, usageError("--web-login: set %s and %s", webUser, webPassword))
		}
	}
	switch {
	case (w.tlsCert == "") != (w.tlsKey == ""):
		problems = append(problems, usageError("--tls-cert and --tls-key: give both or none"))
	case w.tlsCert != "":
		certificate, err := tls.LoadX509KeyPair(w.tlsCert, w.tlsKey)
		if err != nil {
			problems = append(problems, usageError("--tls-cert: %w", err))
		}
		w.certificate = &certificate
	}
	return errors.Join(problems...)
}

// address is where the page is, for people.
func (w *webFlags) address(listener net.Listener) string {
	scheme, host := "http", w.host
	if w.certificate != nil {
		scheme = "https"
	}
	port := listener.Addr().(*net.TCPAddr).Port
	return fmt.Sprintf("%s://%s%s/", scheme, net.JoinHostPort(host, strconv.Itoa(port)), w.basePath)
}

// webOrHeadless refuses flags of the web page for a run without one.
func webOrHeadless(cmd *cobra.Command, web bool, how string) error {
	if web {
		return nil
	}
	for _, name := range []string{"autostart", "autoquit", "class-picker", "web-login"} {
		if f := cmd.Flags().Lookup(name); f != nil && f.Changed {
			return usageError("--%s is of the web page: %s", name, how)
		}
	}
	return nil
}
