package notify

import (
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"
)

// metadataV6 is where a large cloud serves credentials to its machines.
func metadataV6() netip.Addr { return netip.MustParseAddr("fd00:ec2::254") }

// allowed is the policy about addresses: link-local ones (where clouds serve
// credentials), multicast and unspecified ones never; private ones and those of this
// machine unless publicOnly.
func allowed(addr netip.Addr, publicOnly bool) error {
	addr = addr.Unmap().WithZone("")
	switch {
	case addr.IsLinkLocalUnicast(), addr.IsMulticast(), addr.IsUnspecified(), addr == metadataV6():
		return fmt.Errorf("%w: %s", errAddress, addr)
	case publicOnly && (addr.IsPrivate() || addr.IsLoopback() || shared().Contains(addr)):
		return fmt.Errorf("%w: %s is not public", errAddress, addr)
	}
	return nil
}

// shared is the address space between carriers and customers (RFC 6598).
func shared() netip.Prefix { return netip.MustParsePrefix("100.64.0.0/10") }

// dialer connects under the policy. It judges the address that is connected to, so a
// name that leads elsewhere the second time gains nothing.
func dialer(publicOnly bool) *net.Dialer {
	return &net.Dialer{
		Timeout: 10 * time.Second,
		Control: func(_, address string, _ syscall.RawConn) error {
			to, err := netip.ParseAddrPort(address)
			if err != nil {
				return fmt.Errorf("%w: %s", errAddress, address)
			}
			return allowed(to.Addr(), publicOnly)
		},
	}
}
