package dial_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
)

// resolverTo returns a resolver that answers every question for an A record
// with ip, over an in-memory connection.
func resolverTo(ip netip.Addr) *net.Resolver {
	return &net.Resolver{
		PreferGo: true,
		Dial: func(context.Context, string, string) (net.Conn, error) {
			ours, theirs := net.Pipe()
			go answer(theirs, ip) // ends when the resolver closes its side
			return ours, nil
		},
	}
}

// answer serves DNS queries in their TCP framing (a length before each message).
func answer(c net.Conn, ip netip.Addr) {
	defer c.Close()
	for {
		var size [2]byte
		if _, err := io.ReadFull(c, size[:]); err != nil {
			return
		}
		query := make([]byte, binary.BigEndian.Uint16(size[:]))
		if _, err := io.ReadFull(c, query); err != nil {
			return
		}
		// The question follows the 12-byte header: a name that ends in a zero
		// byte, then type and class.
		end := 12 + bytes.IndexByte(query[12:], 0) + 5
		question := query[12:end]
		isA := binary.BigEndian.Uint16(question[len(question)-4:]) == 1

		reply := append([]byte{}, query[:2]...)
		reply = append(reply, 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0)
		reply = append(reply, question...)
		if isA {
			reply[7] = 1
			reply = append(reply, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4)
			reply = append(reply, ip.AsSlice()...)
		}
		framed := binary.BigEndian.AppendUint16(nil, uint16(len(reply)))
		if _, err := c.Write(append(framed, reply...)); err != nil {
			return
		}
	}
}
