// Package exchange describes, as configuration, what is asked of somebody
// else's HTTP API for accounts and how its answers are read: requests whose
// texts are templates over an account, paths into JSON answers, what a status
// means, and values that come from the environment.
//
// It is shared by those who read the configuration and those who make the
// requests. It makes none itself; it knows no pool, no file format and no
// target, and an account only as the Fields that a template may name.
package exchange
