package relay

import (
	"unsafe"

	"github.com/fairlead-gateway/fairlead/internal/loop"
)

// For the tests, which are outside.
const ReadsPerTurn = readsPerTurn

func LoopOf(s *Session) *loop.Loop { return s.loop() }

// LinkSize is what a session that can move takes beside a Session.
const LinkSize = unsafe.Sizeof(link{}) + unsafe.Sizeof(ear{})

// What keeps are tested by.
var (
	Extend   = extend
	GiveBack = giveBack
	NextLook = nextLook
)
