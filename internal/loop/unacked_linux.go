package loop

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// unacked is how many bytes the socket fd has that the peer has not acknowledged, or -1. It never blocks, so the scheduler need not
// know of it.
func unacked(fd int) int {
	var n int32
	_, _, errno := unix.RawSyscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCOUTQ, uintptr(unsafe.Pointer(&n)))
	if errno != 0 {
		return -1
	}
	return int(n)
}

// limitUnsent has the socket fd take no more while n bytes or more are not sent yet.
func limitUnsent(fd, n int) {
	most := int32(n) // without it the kernel keeps more, that is all
	_, _, _ = unix.RawSyscall6(unix.SYS_SETSOCKOPT, uintptr(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT,
		uintptr(unsafe.Pointer(&most)), unsafe.Sizeof(most), 0)
}
