package upstream

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

var errTest = errors.New("connect: connection refused")

// ejecting is a pool with one service, and what it tells of ejections.
type ejecting struct {
	pool *Pool
	*Service
	mu  sync.Mutex
	log []string
}

func newEjecting(t *testing.T, n int, o Options) *ejecting {
	t.Helper()
	x := &ejecting{pool: NewPool()}
	tell := func(what string) func(*Endpoint) {
		return func(e *Endpoint) {
			x.mu.Lock()
			defer x.mu.Unlock()
			x.log = append(x.log, what+" "+e.Address())
		}
	}
	x.pool.OnEject, x.pool.OnReturn = tell("eject"), tell("return")
	x.Service = x.pool.ServiceWith("svc", specs(n), o)
	return x
}

func (x *ejecting) fail(i, times int) {
	for range times {
		x.Endpoints[i].Failed(errTest)
	}
}

// out are the indexes of the ejected.
func (x *ejecting) out() (list []int) {
	for i, e := range x.Endpoints {
		if e.Ejected() {
			list = append(list, i)
		}
	}
	return list
}

func (x *ejecting) told() []string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return slices.Clone(x.log)
}

func failing(n int) Options {
	return Options{Outliers: Outliers{Failures: n, Time: 10 * time.Second, MaxTime: 60 * time.Second}}
}

func TestFailuresEject(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newEjecting(t, 2, failing(3))
		a, b := x.Endpoints[0], x.Endpoints[1]
		x.fail(0, 2)
		a.Succeeded(0)
		x.fail(0, 2)
		if a.Ejected() {
			t.Fatal("ejected although no three failures came in a row")
		}
		x.fail(0, 1)
		if !a.Ejected() || a.Takes() || !a.Healthy() || b.Ejected() {
			t.Fatalf("ejected: %v, want the first alone, as healthy as before", x.out())
		}
		for _, balance := range []Balance{LeastSessions, RoundRobin, Random} {
			for range 8 {
				if e, err := x.Pick(Choice{Balance: balance}); err != nil || e != b {
					t.Fatalf("%s: %v, %v, want the other", balance, e, err)
				}
			}
		}
		if e, err := x.PickBy(KeyOf("key")); err != nil || e != b {
			t.Errorf("by key: %v, %v", e, err)
		}
		if e, err := x.PickNamed(a.ID); err != nil || e != a {
			t.Errorf("by name: %v, %v, want the ejected one: no other has been asked for", e, err)
		}
		j := a.Ejection()
		if !j.Ejected || j.Until.Sub(j.Since) != 10*time.Second || j.Times != 1 || j.Why != "3 failures in a row, the last: "+errTest.Error() {
			t.Errorf("ejection %+v", j)
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if a.Ejected() || a.Ejection().Ejected {
			t.Error("still ejected when its time was over")
		}
		if want := []string{"eject 127.0.0.1:1", "return 127.0.0.1:1"}; !slices.Equal(x.told(), want) {
			t.Errorf("told %q, want %q", x.told(), want)
		}
	})
}

// TestWhyEjected: where one failure is enough, an endpoint that has succeeded since it was back has not failed at once.
func TestWhyEjected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newEjecting(t, 2, failing(1))
		x.fail(0, 1)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		x.Endpoints[0].Succeeded(0)
		x.fail(0, 1)
		if why := x.Endpoints[0].Ejection().Why; why != "1 failures in a row, the last: "+errTest.Error() {
			t.Errorf("why: %q", why)
		}
	})
}

// TestEjectionsGrow has an endpoint fail as soon as it is back, then be well for a while.
func TestEjectionsGrow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newEjecting(t, 2, failing(2))
		a := x.Endpoints[0]
		x.fail(0, 2)
		for _, want := range []time.Duration{10, 20, 40, 60, 60} {
			j := a.Ejection()
			if got := j.Until.Sub(j.Since); !j.Ejected || got != want*time.Second {
				t.Fatalf("ejection %d lasts %s, want %ds", j.Times, got, want)
			}
			time.Sleep(j.Until.Sub(j.Since))
			synctest.Wait()
			x.fail(0, 1) // the first one is enough
			if why := a.Ejection().Why; why != "failed as soon as it was back: "+errTest.Error() {
				t.Errorf("why: %q", why)
			}
		}
		time.Sleep(60 * time.Second)
		synctest.Wait()
		a.Succeeded(0)
		time.Sleep(90 * time.Second) // 60 halve it to 30, 30 more to 15
		if x.fail(0, 1); a.Ejected() {
			t.Fatal("one failure after a success ejected")
		}
		x.fail(0, 1)
		if j := a.Ejection(); j.Until.Sub(j.Since) != 30*time.Second {
			t.Errorf("after 90s of health: %s, want 30s", j.Until.Sub(j.Since))
		}
		time.Sleep(30 * time.Second)
		synctest.Wait()
		a.Succeeded(0)
		time.Sleep(time.Hour)
		x.fail(0, 2)
		if j := a.Ejection(); j.Until.Sub(j.Since) != 10*time.Second {
			t.Errorf("after an hour of health: %s, want 10s", j.Until.Sub(j.Since))
		}
		time.Sleep(time.Minute)
	})
}

func TestNeverMoreThanHalf(t *testing.T) {
	tests := []struct {
		endpoints, fail int
		want            int
	}{{1, 1, 0}, {2, 2, 1}, {3, 3, 1}, {4, 3, 2}, {5, 5, 2}, {6, 4, 3}}
	for _, tt := range tests {
		synctest.Test(t, func(t *testing.T) {
			x := newEjecting(t, tt.endpoints, failing(2))
			for i := range tt.fail {
				x.fail(i, 5)
			}
			if got := len(x.out()); got != tt.want {
				t.Errorf("%d of %d fail: %d ejected, want %d", tt.fail, tt.endpoints, got, tt.want)
			}
			time.Sleep(time.Minute)
		})
	}
}

// TestNobodyIsEjectedWhereAllFail: there is nothing better to go to.
func TestNobodyIsEjectedWhereAllFail(t *testing.T) {
	x := newEjecting(t, 4, failing(3))
	for range 10 {
		for i := range x.Endpoints {
			x.fail(i, 1)
		}
	}
	if out := x.out(); len(out) > 0 {
		t.Errorf("ejected %v", out)
	}
}

// TestHalfStaysWhenOthersGo has endpoints leave, be drained and turn Unhealthy while others are ejected.
func TestHalfStaysWhenOthersGo(t *testing.T) {
	tests := []struct {
		name string
		do   func(x *ejecting)
		want int // of two ejected
	}{
		{"nothing", func(*ejecting) {}, 2},
		{"two leave", func(x *ejecting) { x.pool.ServiceWith("svc", specs(2), failing(2)) }, 1},
		{"one is drained", func(x *ejecting) { x.Endpoints[3].Drain(true) }, 1},
		{"two are unhealthy", func(x *ejecting) {
			for _, e := range x.Endpoints[2:] {
				e.health.observe(&Probe{UnhealthyThreshold: 1}, errTest, time.Now())
			}
			x.Endpoints[0].state.keepHalf() // as the Prober does
		}, 0},
		{"it is switched off", func(x *ejecting) { x.pool.ServiceWith("svc", specs(4), Options{}) }, 0},
	}
	for _, tt := range tests {
		synctest.Test(t, func(t *testing.T) {
			x := newEjecting(t, 4, failing(2))
			x.fail(1, 2)
			time.Sleep(time.Second)
			x.fail(0, 2)
			tt.do(x)
			if got := len(x.out()); got != tt.want {
				t.Errorf("%s: %d ejected, want %d", tt.name, got, tt.want)
			}
			if tt.want == 1 && x.Endpoints[1].Ejected() {
				t.Errorf("%s: the one that has been out longer is not back", tt.name)
			}
			time.Sleep(time.Minute)
			synctest.Wait()
			if got := len(x.told()); got != 4 {
				t.Errorf("%s: told %q, want two of each", tt.name, x.told())
			}
		})
	}
}

// TestAnEndpointListedAnewIsForgiven: an instance that has left and registered again is a new process.
func TestAnEndpointListedAnewIsForgiven(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newEjecting(t, 2, failing(2))
		a := x.Endpoints[0]
		x.fail(0, 2)
		x.pool.ServiceWith("svc", specs(2)[1:], failing(2))
		x.pool.ServiceWith("svc", specs(2), failing(2))
		if !a.Takes() {
			t.Error("it is still ejected")
		}
		if x.fail(0, 1); a.Ejected() {
			t.Error("one failure of a new instance ejected it")
		}
		time.Sleep(time.Minute)
		if got := x.told(); len(got) != 1 {
			t.Errorf("told %q, want the ejection alone", got)
		}
		x.fail(0, 2)
		x.pool.ServiceWith("svc", specs(2)[1:], failing(2))
		if x.pool.Sweep(); a.outlier.timer.Stop() {
			t.Error("a timer is left of an endpoint that is forgotten")
		}
	})
}

func TestPanic(t *testing.T) {
	for _, panics := range []bool{false, true} {
		x := newEjecting(t, 3, Options{Panic: panics})
		ill := func(e *Endpoint) { e.health.observe(&Probe{UnhealthyThreshold: 1}, errTest, time.Now()) }
		ill(x.Endpoints[0])
		ill(x.Endpoints[1])
		for _, balance := range []Balance{LeastSessions, RoundRobin, Random} {
			if e, err := x.Pick(Choice{Balance: balance}); err != nil || e != x.Endpoints[2] {
				t.Fatalf("one is well: %v, %v", e, err)
			}
			if _, err := x.Pick(Choice{Balance: balance}, x.Endpoints[2]); !errors.Is(err, ErrNoHealthy) {
				t.Fatalf("the one that is well has failed: %v, want ErrNoHealthy", err)
			}
		}
		x.Endpoints[2].Drain(true)
		for _, balance := range []Balance{LeastSessions, RoundRobin, Random} {
			var tried []*Endpoint
			for range 3 {
				e, err := x.Take(Choice{Balance: balance}, tried...)
				if err != nil {
					if !panics && err.Error() != "all 2 endpoints are unhealthy" {
						t.Error(err)
					}
					break
				}
				e.Release()
				tried = append(tried, e)
			}
			want := 0
			if panics {
				want = 2
			}
			if len(tried) != want || slices.Contains(tried, x.Endpoints[2]) {
				t.Errorf("panic %t, %s: tried %d, want %d that are not leaving", panics, balance, len(tried), want)
			}
		}
		_, byKey := x.PickBy(KeyOf("key"))
		_, byName := x.PickNamed(x.Endpoints[0].ID)
		if (byKey == nil) != panics || (byName == nil) != panics {
			t.Errorf("panic %t: by key %v, by name %v", panics, byKey, byName)
		}
	}
}

// TestPanicTakesTurns: what is tried goes round.
func TestPanicTakesTurns(t *testing.T) {
	x := newEjecting(t, 2, Options{Panic: true})
	for _, e := range x.Endpoints {
		e.health.observe(&Probe{UnhealthyThreshold: 1}, errTest, time.Now())
	}
	for _, balance := range []Balance{LeastSessions, RoundRobin} {
		picked := map[*Endpoint]int{}
		for range 10 {
			e, err := x.Pick(Choice{Balance: balance})
			if err != nil {
				t.Fatal(err)
			}
			picked[e]++
		}
		if picked[x.Endpoints[0]] != 5 || picked[x.Endpoints[1]] != 5 {
			t.Errorf("%s: %d and %d", balance, picked[x.Endpoints[0]], picked[x.Endpoints[1]])
		}
	}
}

// TestNotingASuccessIsCheap: it is done for every request.
func TestNotingASuccessIsCheap(t *testing.T) {
	for _, o := range []Outliers{{}, {Failures: 5}, {Failures: 5, Latency: 3}} {
		e := newEjecting(t, 2, Options{Outliers: o}).Endpoints[0]
		if n := testing.AllocsPerRun(100, func() { e.Succeeded(time.Millisecond) }); n != 0 {
			t.Errorf("%+v: %v allocations", o, n)
		}
	}
}

func BenchmarkSucceeded(b *testing.B) {
	for name, o := range map[string]Outliers{"failures": {Failures: 5}, "latency": {Failures: 5, Latency: 3}} {
		b.Run(name, func(b *testing.B) {
			e := NewPool().ServiceWith("svc", specs(2), Options{Outliers: o}).Endpoints[0]
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					e.Succeeded(time.Millisecond)
				}
			})
		})
	}
}
