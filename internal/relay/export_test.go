package relay

import "github.com/fairlead-gateway/fairlead/internal/loop"

// For the tests, which are outside.
const ReadsPerTurn = readsPerTurn

func LoopOf(s *Session) *loop.Loop { return s.loop() }
