package proxy

import (
	"net/netip"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// tellDestination has a socket say of each datagram to which of our addresses it came (ip(7), ipv6(7)).
func tellDestination(network, _ string, c syscall.RawConn) error {
	var failed error
	err := c.Control(func(fd uintptr) {
		if network == "udp4" {
			failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_PKTINFO, 1)
		} else {
			failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1)
		}
	})
	if err != nil {
		return err
	}
	return failed
}

// destination is the address that control messages tell, not valid if they tell none.
func destination(control []byte) netip.Addr {
	switch m := packetInfo(control); {
	case m == nil:
		return netip.Addr{}
	case m.Header.Level == unix.IPPROTO_IP:
		return netip.AddrFrom4((*unix.Inet4Pktinfo)(unsafe.Pointer(&m.Data[0])).Spec_dst)
	default:
		return netip.AddrFrom16((*unix.Inet6Pktinfo)(unsafe.Pointer(&m.Data[0])).Addr).Unmap()
	}
}

// answerFrom makes control messages of those of a datagram that have the answer come from where it came to. The interface is
// the kernel's choice, but for addresses that are good on one alone.
func answerFrom(control []byte) []byte {
	m := packetInfo(control)
	if m == nil {
		return nil
	}
	if m.Header.Level == unix.IPPROTO_IP {
		return unix.PktInfo4(&unix.Inet4Pktinfo{Spec_dst: (*unix.Inet4Pktinfo)(unsafe.Pointer(&m.Data[0])).Spec_dst})
	}
	info := *(*unix.Inet6Pktinfo)(unsafe.Pointer(&m.Data[0]))
	if !netip.AddrFrom16(info.Addr).IsLinkLocalUnicast() {
		info.Ifindex = 0
	}
	return unix.PktInfo6(&info)
}

// packetInfo finds the message, nil if there is none.
func packetInfo(control []byte) *unix.SocketControlMessage {
	all, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return nil
	}
	for i := range all {
		switch m := &all[i]; {
		case m.Header.Level == unix.IPPROTO_IP && m.Header.Type == unix.IP_PKTINFO && len(m.Data) >= unix.SizeofInet4Pktinfo,
			m.Header.Level == unix.IPPROTO_IPV6 && m.Header.Type == unix.IPV6_PKTINFO && len(m.Data) >= unix.SizeofInet6Pktinfo:
			return m
		}
	}
	return nil
}
