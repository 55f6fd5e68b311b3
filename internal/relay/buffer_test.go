package relay_test

import (
	"bytes"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/relay"
)

// Buffers of many owners grow, are emptied and given back in any order: each holds what its owner put there.
func TestBuffersAreNotShared(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	sizes := []int{0, 1, 100, 4 << 10, 4<<10 + 1, 16 << 10, 20 << 10, 20<<10 + 1, 64 << 10, 136 << 10, 136<<10 + 1}
	type owner struct{ buf, want []byte }
	owners := make([]owner, 20)
	for range 3000 {
		o := &owners[rnd.IntN(len(owners))]
		switch rnd.IntN(4) {
		case 0:
			relay.GiveBack(o.buf)
			*o = owner{}
		case 1:
			o.buf, o.want = o.buf[:0], nil
		default:
			p := bytes.Repeat([]byte{byte(rnd.Uint32())}, sizes[rnd.IntN(len(sizes))])
			o.buf, o.want = relay.Extend(o.buf, p), append(o.want, p...)
		}
		if len(o.want) > 300<<10 {
			o.buf, o.want = o.buf[:0], nil
		}
		for i := range owners {
			if !bytes.Equal(owners[i].buf, owners[i].want) {
				t.Fatalf("owner %d has %d bytes that are not its own", i, len(owners[i].buf))
			}
		}
	}
}

// Sessions of one loop look at what they keep at the same few times.
func TestLooksComeTogether(t *testing.T) {
	for now := time.Duration(1); now < 3*time.Second; now += 997 * time.Microsecond {
		at := relay.NextLook(now)
		if at%(250*time.Millisecond) != 0 || at-now < time.Second || at-now > 1250*time.Millisecond {
			t.Fatalf("at %v the next look is at %v", now, at)
		}
	}
}
