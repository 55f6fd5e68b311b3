#define _GNU_SOURCE
#include "wslg.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BUFFER = 256 << 10 };

// A masked Close 1000 (mask 0), and the Close that must come back.
static const char goodbye[] = "\x88\x82\0\0\0\0\x03\xe8", farewell[] = "\x88\x02\x03\xe8";

uint64_t now_us(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void record(struct worker *w, uint64_t us)
{
	if (w->seen != MEASURING)
		return;
	int shift = us < 64 ? 0 : 58 - __builtin_clzll(us);
	size_t bucket = (size_t)shift * 32 + (us >> shift);
	w->histogram[bucket < BUCKETS ? bucket : BUCKETS - 1]++;
	if (us > w->slowest)
		w->slowest = us;
}

static void count(atomic_ulong *n, unsigned long by)
{
	atomic_store_explicit(n, atomic_load_explicit(n, memory_order_relaxed) + by, memory_order_relaxed);
}

static void end(struct worker *w, struct conn *c)
{
	if (c->state == DEAD)
		return;
	if (c->state < OPEN)
		w->opening--;
	hang_up(c);
	c->state = DEAD;
}

static void fail(struct worker *w, struct conn *c, const char *why)
{
	if (atomic_load(&w->errors) == 0 && why != w->why)
		snprintf(w->why, sizeof w->why, "%s", why);
	count(&w->errors, 1);
	end(w, c);
}

static void begin(struct worker *w, struct conn *c)
{
	uint32_t turn = w->dialled++ + (uint32_t)w->id * 3;
	memset(c, 0, offsetof(struct conn, sent));
	c->first = 0, c->nhead = 0;
	c->busy = false, c->wanted = 0;
	c->since = now_us();
	c->fd = dial(&w->o->targets[turn / 8 % w->o->ntargets], turn);
	if (c->fd < 0) {
		fail(w, c, strerror(errno));
		return;
	}
	c->state = CONNECTING;
	w->opening++;
	struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = c};
	epoll_ctl(w->epoll, EPOLL_CTL_ADD, c->fd, &e);
}

static bool flush(struct conn *c)
{
	while (c->owe > 0) {
		size_t n = c->nout - c->pos;
		long sent = transmit(c, c->out + c->pos, c->owe < n ? c->owe : n);
		if (sent == AGAIN)
			return true;
		if (sent <= 0)
			return false;
		c->pos = (c->pos + sent) % c->nout;
		c->owe -= sent;
	}
	return true;
}

static bool send_bytes(struct conn *c, const char *p, size_t n)
{
	c->out = p;
	c->nout = c->owe = n;
	c->pos = 0;
	return flush(c);
}

// send_messages sends n more messages and notes the time for each: since, or 0 for now.
static bool send_messages(struct worker *w, struct conn *c, int n, uint64_t since)
{
	const struct options *o = w->o;
	c->since = now_us();
	c->busy = true;
	if (c->out != o->message) {
		c->out = o->message;
		c->nout = o->nmessage;
		c->pos = 0;
	}
	for (int i = 0; i < n; i++)
		c->sent[(c->first + o->depth - n + i) % o->depth] = since ? since : c->since;
	c->owe += n * o->frame;
	return flush(c);
}

// hurries says whether every session sends as soon as it can.
static bool hurries(const struct options *o)
{
	return o->mode == HTTP || o->mode == IDLE || (o->mode == ECHO && o->rate == 0);
}

// opened is called when the session is ready for its first message.
static bool opened(struct worker *w, struct conn *c)
{
	w->opening--;
	c->state = OPEN;
	count(&w->open, 1);
	if (w->o->mode != SETUP)
		return w->seen < RUNNING || !hurries(w->o) || send_messages(w, c, w->o->depth, 0);
	record(w, now_us() - c->since);
	c->state = CLOSING;
	return send_bytes(c, goodbye, sizeof goodbye - 1);
}

// take_head collects a response head. It returns the bytes it took of p, or -1; *done: the head is whole and right.
static long take_head(struct worker *w, struct conn *c, const char *p, size_t n, bool *done)
{
	const char *from = p, *stop = c->nhead ? NULL : memmem(p, n, "\r\n\r\n", 4);
	size_t taken;
	if (!stop) {
		taken = n < HEAD_MAX - c->nhead ? n : HEAD_MAX - c->nhead;
		if (!c->head)
			c->head = malloc(HEAD_MAX + 1);
		memcpy(c->head + c->nhead, p, taken);
		stop = memmem(c->head, c->nhead + taken, "\r\n\r\n", 4);
		if (!stop) {
			c->nhead += taken;
			return c->nhead < HEAD_MAX ? (long)taken : -1;
		}
		from = c->head;
		taken = stop + 4 - c->head - c->nhead;
		c->nhead = 0;
	} else {
		taken = stop + 4 - p;
	}
	*done = true;
	if (c->state == HEAD)
		return check_upgrade(from, stop + 4, w->why, sizeof w->why) ? (long)taken : -1;
	long body = check_answer(from, stop + 4, w->why, sizeof w->why);
	c->got = body;
	return body < 0 ? -1 : (long)taken;
}

// The broadcast in flight: its number, when it was commanded, and how many sessions have yet to hear it.
static _Atomic uint32_t number;
static _Atomic uint64_t commanded;
static _Atomic int left;

bool command(const struct options *o)
{
	left = o->conns;
	commanded = now_us();
	number++;
	return write(o->control, o->command, o->frame) == (ssize_t)o->frame;
}

// heard notes that c got the broadcast; whoever is the last commands the next. False: it came twice, or that failed.
static bool heard(struct worker *w, struct conn *c)
{
	if (c->heard == number)
		return false;
	c->heard = number;
	c->since = now_us();
	count(&w->ops, 1);
	if (atomic_fetch_sub(&left, 1) > 1)
		return true;
	record(w, c->since - commanded);
	return phase == STOPPED || command(w->o);
}

static void answered(struct worker *w, struct conn *c, uint64_t now)
{
	record(w, now - c->sent[c->first]);
	c->first = (c->first + 1) % w->o->depth;
	count(&w->ops, 1);
}

// take_echo compares what came with what must come, byte for byte. It returns the number of whole messages, or -1.
static int take_echo(struct worker *w, struct conn *c, const char *p, size_t n)
{
	const struct options *o = w->o;
	uint64_t now = now_us();
	int whole = 0;
	while (n > 0) {
		size_t part = o->nexpect - c->got < n ? o->nexpect - c->got : n;
		if (memcmp(p, o->expect + c->got, part) != 0)
			return -1;
		p += part, n -= part;
		c->got += part;
		if (c->got == o->nexpect) {
			c->got = 0;
			whole++;
			if (o->mode != BROADCAST)
				answered(w, c, now);
			else if (!heard(w, c))
				return -1;
		}
	}
	return whole <= o->depth ? whole : -1;
}

static int take_answers(struct worker *w, struct conn *c, const char *p, size_t n)
{
	int whole = 0;
	while (n > 0) {
		size_t taken = c->got < n ? c->got : n;
		bool done = taken > 0;
		if (done) {
			c->got -= taken;
		} else {
			long head = take_head(w, c, p, n, &done);
			if (head < 0)
				return -1;
			taken = head;
		}
		p += taken, n -= taken;
		if (done && c->got == 0) {
			answered(w, c, now_us());
			whole++;
		}
	}
	return whole <= w->o->depth ? whole : -1;
}

// keep_on has the next connection of KEEP send its one request: few are under way at a time, so that what stays is that of
// waiting connections.
static void keep_on(struct worker *w)
{
	if (w->turn >= w->nconns)
		return;
	struct conn *c = &w->conns[w->turn++];
	if (c->state == OPEN && !send_messages(w, c, 1, 0))
		fail(w, c, "lost while sending");
}

// follow sends what comes after whole answers. False: that failed.
static bool follow(struct worker *w, struct conn *c, int whole)
{
	uint64_t wanted = c->wanted;
	c->busy = false, c->wanted = 0;
	if (w->seen == STOPPED)
		return true;
	if (w->o->mode == KEEP)
		keep_on(w);
	if (w->o->rate > 0)
		return wanted == 0 || send_messages(w, c, 1, wanted);
	return !hurries(w->o) || w->o->mode == IDLE || send_messages(w, c, whole, 0);
}

// pace has the sessions send whose turn it is. A session that still waits for an answer sends when that has come, but
// its time counts from now on: a proxy that stalls is not asked less.
static void pace(struct worker *w)
{
	uint64_t now = now_us(), gap = 1e6 / (w->o->rate * w->nconns);
	for (; w->due <= now; w->due += gap) {
		struct conn *c = &w->conns[w->turn];
		w->turn = (w->turn + 1) % w->nconns;
		if (c->busy && c->wanted == 0)
			c->wanted = w->due;
		else if (c->state == OPEN && !c->busy && !send_messages(w, c, 1, 0))
			fail(w, c, "lost while sending");
	}
}

// consume handles n bytes from the peer. NULL, or what is wrong with them.
static const char *consume(struct worker *w, struct conn *c, const char *p, size_t n)
{
	if (c->state == HEAD) {
		bool done = false;
		long taken = take_head(w, c, p, n, &done);
		if (taken < 0)
			return w->why[0] ? w->why : "handshake refused";
		if (done && !opened(w, c))
			return "lost while sending";
		p += taken, n -= taken;
	}
	if (n == 0)
		return NULL;
	if (c->state == CLOSING) {
		if (c->got + n > sizeof farewell - 1 || memcmp(p, farewell + c->got, n) != 0)
			return "wrong answer to a Close";
		c->got += n;
		return NULL;
	}
	if (w->seen == OPENING && phase == OPENING)
		return "bytes before the first message";
	int whole = w->o->mode == HTTP || w->o->mode == KEEP ? take_answers(w, c, p, n) : take_echo(w, c, p, n);
	if (whole < 0)
		return w->why[0] ? w->why : "wrong echo";
	return whole == 0 || follow(w, c, whole) ? NULL : "lost while sending";
}

// finish is called at the end of the peer's bytes.
static void finish(struct worker *w, struct conn *c)
{
	if (c->state != CLOSING || c->got != sizeof farewell - 1) {
		fail(w, c, c->state < OPEN ? "closed during the handshake" : "closed by the peer");
		return;
	}
	count(&w->ops, 1);
	end(w, c);
	if (w->seen < STOPPED)
		begin(w, c);
}

// advance moves a connection through its handshakes. False: it failed or must wait.
static bool advance(struct worker *w, struct conn *c, uint32_t events)
{
	const struct options *o = w->o;
	if (c->state == CONNECTING) {
		if (events & (EPOLLERR | EPOLLHUP)) {
			fail(w, c, "connection refused");
			return false;
		}
		if (!(events & EPOLLOUT))
			return false;
		c->state = HEAD;
		if (o->tls) {
			c->state = TLS;
			c->ssl = SSL_new(o->tls);
			SSL_set_fd(c->ssl, c->fd);
			SSL_set_connect_state(c->ssl);
			SSL_set_quiet_shutdown(c->ssl, 1);
		}
	}
	if (c->state == TLS) {
		int r = handshake(c);
		if (r == LOST)
			fail(w, c, "TLS handshake failed");
		if (r != 1)
			return false;
		c->state = HEAD;
	}
	if (c->state == HEAD && c->out == NULL) {
		if (o->mode == HTTP || o->mode == KEEP ? !opened(w, c) : !send_bytes(c, o->upgrade, o->nupgrade)) {
			fail(w, c, "lost while sending");
			return false;
		}
	}
	return true;
}

static void handle(struct worker *w, struct conn *c, uint32_t events)
{
	if (c->state == DEAD || !advance(w, c, events))
		return;
	if (!flush(c)) {
		fail(w, c, "lost while sending");
		return;
	}
	for (;;) {
		long n = receive(c, w->buf, BUFFER);
		if (n == AGAIN)
			return;
		if (n <= 0) {
			finish(w, c);
			return;
		}
		const char *why = consume(w, c, w->buf, n);
		if (why) {
			fail(w, c, why);
			return;
		}
		if (!c->ssl && n < BUFFER && !(events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)))
			return; // a short read has emptied the socket: epoll(7)
	}
}

// look opens what is still to be opened, follows the phase, and once a second ends what is stuck.
static void look(struct worker *w, uint64_t *checked)
{
	enum phase now = atomic_load(&phase);
	if (now >= RUNNING && w->seen < RUNNING) {
		for (int i = 0; i < w->nconns && hurries(w->o); i++)
			if (w->conns[i].state == OPEN && !send_messages(w, &w->conns[i], w->o->depth, 0))
				fail(w, &w->conns[i], "lost while sending");
		for (int i = 0; i < AT_ONCE && w->o->mode == KEEP; i++)
			keep_on(w);
		w->due = now_us();
	}
	w->seen = now;
	if (w->o->rate > 0 && w->seen >= RUNNING && w->seen < STOPPED)
		pace(w);
	while (w->next < w->nconns && w->opening < AT_ONCE)
		begin(w, &w->conns[w->next++]);
	uint64_t us = now_us();
	if (us - *checked < 1000000)
		return;
	*checked = us;
	for (int i = 0; i < w->next; i++) {
		struct conn *c = &w->conns[i];
		bool waits = w->o->mode == IDLE || w->o->mode == KEEP || w->seen == OPENING ? c->state != OPEN : true;
		if (c->state != DEAD && waits && us - c->since > STUCK * 1000000ull)
			fail(w, c, "no progress for 10 s");
		if (c->state == DEAD && w->o->mode == SETUP && now < STOPPED)
			begin(w, c);
	}
}

// work runs one worker until the phase is STOPPED.
void *work(void *arg)
{
	struct worker *w = arg;
	struct epoll_event ev[256];
	uint64_t checked = now_us();
	w->buf = malloc(BUFFER);
	while (w->seen != STOPPED) {
		look(w, &checked);
		int n = epoll_wait(w->epoll, ev, 256, w->opening < AT_ONCE && w->next < w->nconns ? 0 : w->o->rate > 0 ? 1 : 10);
		for (int i = 0; i < n; i++)
			handle(w, ev[i].data.ptr, ev[i].events);
	}
	for (int i = 0; i < w->next; i++)
		end(w, &w->conns[i]);
	return NULL;
}
