// wsbe is the backend of the bench suite: it echoes binary WebSocket messages, sends the payload of a text message as a
// binary message to every other session, and answers every other request with 128 bytes, or with N if its path ends in /N;
// a body is read and forgotten. It does as little as a correct server can, so that what a proxy costs stands out against it.
//
//	wsbe -p PORT [-j THREADS] ADDRESS...
//
// Each thread has its own epoll and its own listening sockets (SO_REUSEPORT). Prints one JSON line when it listens.
#define _GNU_SOURCE
#include "http.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum {
	MAX_LISTEN = 16,       // addresses per process
	MAX_FRAME = 4 << 20,   // bytes of one frame's payload; more closes the connection
	MAX_NEWS = 64 << 10,   // bytes of a broadcast frame
	READ_SIZE = 256 << 10, // bytes of the read buffer that the connections of a thread share
	TURN = 4,              // reads of one connection before others have their turn
	ROOM = 64 << 10,       // least space given to a read that completes an unfinished frame
};

// One accepted connection. Owned by the thread whose epoll has it.
struct conn {
	int fd;
	bool ws;                 // the 101 was sent: frames from here on
	bool closing;            // close once everything queued is written and the request's body has come
	char *in;                // bytes of an unfinished head or frame; NULL: none yet
	size_t nin, cap;
	char *out;               // bytes the socket did not take; while there are any, nothing is read
	size_t nout, outpos;
	size_t filler;           // bytes of an answer's body that come after out
	size_t body;             // bytes still to come of the body of the request that was answered
	struct conn *next, **prev; // the sessions of the thread
};

static __thread struct conn *sessions;
static __thread int poller; // the epoll of the thread

// What is broadcast. Written by the thread that was told to, before it wakes all; the teller waits for the end before
// it tells again.
static struct {
	char frame[MAX_NEWS];
	size_t n;
	const struct conn *from;
} news;
static int wake[64]; // an eventfd per thread

static const char body128[] =
	"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 128\r\n\r\n"
	"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";

static char filler[256 << 10]; // what long bodies are made of

static char *addresses[MAX_LISTEN];
static int naddresses, port, threads = 1;

static void die(const char *what)
{
	fprintf(stderr, "wsbe: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void drop(struct conn *c)
{
	if (c->next)
		c->next->prev = c->prev;
	if (c->prev)
		*c->prev = c->next;
	close(c->fd);
	free(c->in);
	free(c->out);
	free(c);
}

static bool pending(const struct conn *c) { return c->nout > 0 || c->filler > 0; }

// send_all writes p and queues what the socket does not take. False: the connection is lost.
static bool send_all(struct conn *c, const char *p, size_t n)
{
	while (n > 0 && !pending(c)) {
		ssize_t w = write(c->fd, p, n);
		if (w < 0 && errno == EAGAIN)
			break;
		if (w < 0)
			return false;
		p += w, n -= w;
	}
	if (n > 0) {
		c->out = realloc(c->out, c->nout + n);
		memcpy(c->out + c->nout, p, n);
		c->nout += n;
	}
	return true;
}

static bool flush_out(struct conn *c)
{
	while (c->nout > c->outpos) {
		ssize_t w = write(c->fd, c->out + c->outpos, c->nout - c->outpos);
		if (w < 0)
			return errno == EAGAIN;
		c->outpos += w;
	}
	free(c->out);
	c->out = NULL;
	c->nout = c->outpos = 0;
	while (c->filler > 0) {
		ssize_t w = write(c->fd, filler, c->filler < sizeof filler ? c->filler : sizeof filler);
		if (w < 0)
			return errno == EAGAIN;
		c->filler -= w;
	}
	return true;
}

// path_number is the number that the path of a request ends in, or 0.
static size_t path_number(const char *head, const char *end)
{
	const char *path = memchr(head, ' ', end - head), *stop = path ? memchr(path + 1, ' ', end - path - 1) : NULL;
	const char *slash = stop ? memrchr(path, '/', stop - path) : NULL;
	return slash ? strtoul(slash + 1, NULL, 10) : 0;
}

// answer_plain answers a request that wants no WebSocket.
static bool answer_plain(struct conn *c, const char *head, const char *end)
{
	size_t n, size = path_number(head, end);
	const char *connection = field(head, end, "Connection", &n);
	c->closing = connection && n == 5 && strncasecmp(connection, "close", 5) == 0;
	const char *length = field(head, end, "Content-Length", &n);
	c->body = length ? strtoul(length, NULL, 10) : 0;
	if (size == 0)
		return send_all(c, body128, sizeof body128 - 1);
	char reply[128];
	int len = snprintf(reply, sizeof reply, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\n\r\n", size);
	if (!send_all(c, reply, len))
		return false;
	c->filler += size;
	return c->nout > 0 || flush_out(c);
}

// answer handles one request whose head is [head, end). RFC 6455, section 4.2.2, for the upgrade.
static bool answer(struct conn *c, const char *head, const char *end)
{
	size_t n, nkey;
	const char *up = field(head, end, "Upgrade", &n);
	const char *key = field(head, end, "Sec-WebSocket-Key", &nkey);
	if (!up || n != 9 || strncasecmp(up, "websocket", 9) != 0 || !key || nkey != 24)
		return answer_plain(c, head, end);
	char buf[64], reply[256];
	unsigned char sum[SHA_DIGEST_LENGTH], accept[32];
	memcpy(buf, key, 24);
	memcpy(buf + 24, "258EAFA5-E914-47DA-95CA-C5AB0DC85B11", 36);
	SHA1((unsigned char *)buf, 60, sum);
	EVP_EncodeBlock(accept, sum, sizeof sum);
	int len = snprintf(reply, sizeof reply,
		"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
		"Sec-WebSocket-Accept: %s\r\n\r\n", accept);
	c->ws = true;
	c->prev = &sessions;
	c->next = sessions;
	if (sessions)
		sessions->prev = &c->next;
	sessions = c;
	return send_all(c, reply, len);
}

// publish tells every thread to broadcast a frame.
static bool publish(const struct conn *from, const char *frame, size_t n)
{
	uint64_t one = 1;
	if (n > MAX_NEWS)
		return false;
	memcpy(news.frame, frame, n);
	news.n = n;
	news.from = from;
	for (int t = 0; t < threads; t++)
		if (write(wake[t], &one, sizeof one) != sizeof one)
			return false;
	return true;
}

// broadcast sends what was published to the sessions of this thread. A session that is lost here ends with its next event.
static void broadcast(int fd)
{
	uint64_t count;
	if (read(fd, &count, sizeof count) != sizeof count)
		return;
	for (struct conn *c = sessions; c; c = c->next)
		if (c != news.from)
			(void)send_all(c, news.frame, news.n);
}

// unmask writes n bytes of p, unmasked, to dst <= p.
static void unmask(char *dst, const char *p, size_t n, uint32_t key)
{
	uint64_t k = (uint64_t)key << 32 | key, v;
	size_t i = 0;
	for (; i + 8 <= n; i += 8) {
		memcpy(&v, p + i, 8);
		v ^= k;
		memcpy(dst + i, &v, 8);
	}
	for (; i < n; i++)
		dst[i] = p[i] ^ (char)(key >> 8 * (i & 3));
}

// frames answers the whole frames of [p, end) with one write and returns where the first unfinished one begins,
// or NULL if the connection must go. The answers are built in place: a server's frame is 4 bytes shorter.
static char *frames(struct conn *c, char *p, char *end)
{
	char *from = NULL, *to = NULL;
	while (end - p >= 6 && !c->closing) {
		unsigned char *h = (unsigned char *)p;
		uint64_t len = h[1] & 127;
		size_t head = 6;
		if (len == 126) {
			len = (uint64_t)h[2] << 8 | h[3];
			head = 8;
		} else if (len == 127) {
			head = 14;
			if (end - p < 14)
				break;
			memcpy(&len, p + 2, 8);
			len = be64toh(len);
		}
		if (!(h[1] & 128) || len > MAX_FRAME)
			return NULL;
		if ((uint64_t)(end - p) < head + len)
			break;
		uint32_t key;
		memcpy(&key, p + head - 4, 4);
		int op = h[0] & 15;
		if (!from)
			from = to = p + 4;
		memmove(to, p, head - 4);
		to[1] &= 127;
		if (op == 9)
			to[0] = (char)0x8a;
		unmask(to + head - 4, p + head, len, key);
		p += head + len;
		if (op == 1) {
			to[0] = (char)0x82;
			if (!publish(c, to, head - 4 + len))
				return NULL;
			continue;
		}
		to += head - 4 + len;
		c->closing = op == 8;
	}
	if (from < to && !send_all(c, from, to - from))
		return NULL;
	return p;
}

// consume handles [p, end) and keeps the unfinished rest in c->in. False: the connection must go.
static bool consume(struct conn *c, char *p, char *end)
{
	while (!c->ws && p < end) {
		size_t body = c->body < (size_t)(end - p) ? c->body : (size_t)(end - p);
		c->body -= body, p += body;
		if (p == end || c->closing || c->filler > 0)
			break;
		char *stop = memmem(p, end - p, "\r\n\r\n", 4);
		if (!stop)
			break;
		if (!answer(c, p, stop + 4))
			return false;
		p = stop + 4;
	}
	if (c->ws && !(p = frames(c, p, end)))
		return false;
	size_t rest = end - p;
	if (rest + ROOM > c->cap && rest > 0) {
		char *grown = malloc(c->cap = 2 * rest + ROOM);
		memcpy(grown, p, rest);
		free(c->in);
		c->in = grown;
	} else if (rest > 0) {
		memmove(c->in, p, rest);
	}
	c->nin = rest;
	return c->ws || rest < 16384;
}

// rearm has the events of c come again, after those of the others.
static void rearm(struct conn *c)
{
	struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = c};
	epoll_ctl(poller, EPOLL_CTL_MOD, c->fd, &e);
}

// serve reads until the socket is empty, or the peer does not take our answers, or it is the turn of others.
// False: the connection must go.
static bool serve(struct conn *c, uint32_t events, char *shared)
{
	if (pending(c) && (!flush_out(c) || (!pending(c) && c->nin && !consume(c, c->in, c->in + c->nin))))
		return false;
	for (int turn = 0; !pending(c) && (!c->closing || c->body > 0); turn++) {
		if (turn == TURN) {
			rearm(c);
			break;
		}
		char *base = c->nin ? c->in : shared;
		size_t room = c->nin ? c->cap - c->nin : READ_SIZE;
		ssize_t n = read(c->fd, base + c->nin, room);
		if (n < 0 && errno == EAGAIN)
			break;
		if (n <= 0 || !consume(c, base, base + c->nin + n))
			return false;
		if ((size_t)n < room && !(events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)))
			break;
	}
	return !(c->closing && !pending(c) && c->body == 0);
}

static int listen_on(const char *address)
{
	int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
	if (fd < 0 || inet_pton(AF_INET, address, &a.sin_addr) != 1)
		die(address);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (threads > 1)
		setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one); // accepted sockets inherit it
	if (bind(fd, (struct sockaddr *)&a, sizeof a) < 0 || listen(fd, 4096) < 0)
		die(address);
	return fd;
}

static void accept_all(int ep, int listener)
{
	int fd;
	while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
		struct conn *c = calloc(1, sizeof *c);
		struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = c};
		c->fd = fd;
		epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
	}
}

static void *work(void *arg)
{
	int *listeners = arg, ep = poller = epoll_create1(0), news_fd = listeners[naddresses];
	struct epoll_event w = {.events = EPOLLIN, .data.ptr = &news_fd};
	epoll_ctl(ep, EPOLL_CTL_ADD, news_fd, &w);
	char *shared = malloc(READ_SIZE);
	for (int i = 0; i < naddresses; i++) {
		struct epoll_event e = {.events = EPOLLIN, .data.ptr = &listeners[i]};
		epoll_ctl(ep, EPOLL_CTL_ADD, listeners[i], &e);
	}
	for (;;) {
		struct epoll_event ev[256];
		int n = epoll_wait(ep, ev, 256, -1);
		for (int i = 0; i < n; i++) {
			int *l = ev[i].data.ptr;
			if (l == &news_fd)
				broadcast(news_fd);
			else if (l >= listeners && l < listeners + naddresses)
				accept_all(ep, *l);
			else if (!serve(ev[i].data.ptr, ev[i].events, shared))
				drop(ev[i].data.ptr);
		}
	}
	return NULL;
}

int main(int argc, char **argv)
{
	static int listeners[64][MAX_LISTEN + 1]; // and the thread's eventfd behind its last
	for (int o; (o = getopt(argc, argv, "p:j:")) != -1;) {
		if (o == 'p')
			port = atoi(optarg);
		else if (o == 'j')
			threads = atoi(optarg);
		else
			return 2;
	}
	for (; optind < argc && naddresses < MAX_LISTEN; optind++)
		addresses[naddresses++] = argv[optind];
	if (!port || !naddresses || threads < 1 || threads > 64) {
		fprintf(stderr, "usage: wsbe -p PORT [-j THREADS] ADDRESS...\n");
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	for (int t = 0; t < threads; t++) {
		for (int i = 0; i < naddresses; i++)
			listeners[t][i] = listen_on(addresses[i]);
		listeners[t][naddresses] = wake[t] = eventfd(0, EFD_NONBLOCK);
	}
	printf("{\"event\":\"listening\",\"port\":%d,\"threads\":%d}\n", port, threads);
	fflush(stdout);
	for (int t = 1; t < threads; t++) {
		pthread_t id;
		if (pthread_create(&id, NULL, work, listeners[t]) != 0)
			die("pthread_create");
	}
	work(listeners[0]);
}
