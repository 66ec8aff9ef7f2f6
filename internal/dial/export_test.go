package dial

import "net"

// UseResolver makes an Allow, and the Dialers that share it, resolve names with
// r: tests must not depend on the machine's name service.
func (a *Allow) UseResolver(r *net.Resolver) { a.resolver = r }
