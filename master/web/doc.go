// Package web is the master's front end: Locust's REST API, the web page that
// is built on Locust's own (ui), an HTML report and Prometheus metrics.
//
// It answers from the last View that Observe was given and asks a Swarm to
// start, to change and to stop; it never waits for the master and never makes it
// wait. What an answer costs is paid once per view, by Run's goroutine, however
// many pages ask.
//
// The package knows figures and how Locust shows them. It does not know Redis,
// users or the target.
package web
