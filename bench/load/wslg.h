// What the files of wslg share: one worker per thread, its connections, and the transport under them.
#ifndef WSLG_H
#define WSLG_H
#include "http.h"
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum mode { ECHO, HTTP, SETUP, IDLE, BROADCAST, KEEP };
enum phase { OPENING, RUNNING, MEASURING, STOPPED };
enum state { DEAD, CONNECTING, TLS, HEAD, OPEN, CLOSING };

enum {
	BUCKETS = 40 * 32, // latency histogram: 32 steps per power of two, microseconds
	HEAD_MAX = 8192,   // bytes of a response head
	AT_ONCE = 64,      // handshakes in flight per worker while sessions are opened
	STUCK = 10,        // seconds after which a connection without progress is an error
};

// What the command line says; constant once the workers run.
struct options {
	enum mode mode;
	const char *path, *host;
	struct sockaddr_in *targets;
	int ntargets, conns, size, depth, threads;
	int body;    // bytes that an HTTP request brings; 0: a GET
	double rate; // messages a second of each session; 0: the next when the last has come back
	double warm, seconds;
	SSL_CTX *tls;           // NULL: plain
	const char *message;    // what a session sends, over and over: depth frames, or one HTTP request
	size_t nmessage, frame; // bytes of all of it, and of one frame
	const char *expect;     // the one frame that must come back
	size_t nexpect;
	char *upgrade; // the handshake request
	size_t nupgrade;
	int control;   // BROADCAST: a session straight to the service, and what it is told there: frame bytes
	char *command;
};

struct conn {
	int fd;
	enum state state;
	SSL *ssl;
	const char *out;           // what is being sent: message or upgrade
	size_t nout, pos, owe;     // its length, the next byte of it, bytes still to send (out repeats)
	uint32_t heard;            // number of the last broadcast that came
	size_t got;                // bytes seen of the expected frame, or still to come of an HTTP body
	uint64_t since;            // microseconds: start of the handshake, or last progress
	uint64_t *sent;            // when the messages in flight were sent, a ring of depth
	int first;                 // index of the oldest in sent
	bool busy;                 // paced: a message is in flight
	uint64_t wanted;           // paced: since when the next is due, because one is in flight; 0: it is not
	char *head;                // an unfinished response head
	size_t nhead;
};

// Owned by one thread; main reads the atomics.
struct worker {
	const struct options *o;
	struct conn *conns;
	int nconns, next, opening, epoll, id;
	int turn;     // paced and KEEP: the connection that sends next
	uint64_t due; // paced: when
	uint32_t dialled;
	char *buf;
	enum phase seen;
	atomic_ulong ops, errors, open;
	uint32_t histogram[BUCKETS];
	uint64_t slowest;
	char why[160]; // the first error
};

extern _Atomic enum phase phase;

uint64_t now_us(void);
void *work(void *worker);
bool command(const struct options *o); // has the service send the next broadcast

// transport.c: what a socket and a TLS connection have in common.
enum { AGAIN = -1, LOST = -2 };
SSL_CTX *tls_client(void);
int dial(const struct sockaddr_in *to, uint32_t source); // a socket that connects, or -1
int handshake(struct conn *c);                           // 1: done, AGAIN, LOST
long receive(struct conn *c, char *p, size_t n);         // bytes, 0 at the end, AGAIN, LOST
long transmit(struct conn *c, const char *p, size_t n);
void hang_up(struct conn *c);

// cpu.c: CPU seconds of processes, read from /proc.
struct group {
	const char *name;
	int pids[64], npids;
	double start, used;
};
bool parse_group(struct group *g, char *text); // "name=pid,pid"
double cpu_of(const struct group *g);
double cpu_machine(void); // what all cores did, stolen time too: everything but idle
#endif
