// wslg is the load generator of the bench suite.
//
//	wslg MODE [options] ADDRESS:PORT...
//
// MODE is echo (every session keeps -d messages of -s bytes in flight, or with -r sends so many a second), http (every
// connection one request after the other: GET, or POST of -B bytes), setup (-n at a time: connect, upgrade, Close both ways,
// again), idle (open -n sessions, one echo each, hold until standard input ends), keep (the same with HTTP connections and
// one request each) or broadcast (the service, told at the address of -b, sends -s bytes to -n sessions; again when
// all have them). It answers with JSON lines; every byte that comes back is checked.
#define _GNU_SOURCE
#include "wslg.h"
#include <arpa/inet.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

_Atomic enum phase phase = OPENING;

static const char *modes[] = {"echo", "http", "setup", "idle", "broadcast", "keep"};

static void usage(void)
{
	fprintf(stderr, "usage: wslg echo|http|setup|idle|broadcast|keep [-n CONNECTIONS] [-s BYTES] [-d DEPTH] [-r RATE] [-B BYTES]\n"
					"            [-w WARM_SECONDS] [-t SECONDS] [-j THREADS] [-p PATH] [-H HOST] [-T (TLS)] [-b ADDRESS:PORT] [-c NAME=PID,PID...]... ADDRESS:PORT...\n");
	exit(2);
}

// frame writes the head of a binary frame with a payload of n bytes and returns its length.
static size_t frame(unsigned char *p, size_t n, bool masked)
{
	size_t head = 2;
	uint64_t long_size = htobe64(n);
	p[0] = 0x82;
	p[1] = n < 126 ? n : n < 65536 ? 126 : 127;
	if (p[1] == 126) {
		p[2] = n >> 8, p[3] = n;
		head = 4;
	} else if (p[1] == 127) {
		memcpy(p + 2, &long_size, 8);
		head = 10;
	}
	if (masked) {
		p[1] |= 128;
		memcpy(p + head, "\x5a\xc3\x17\x9e", 4);
		head += 4;
	}
	return head;
}

static void prepare_request(struct options *o)
{
	char *p;
	size_t n;
	if (o->body == 0)
		n = asprintf(&p, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", o->path, o->host);
	else
		n = asprintf(&p, "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n",
			o->path, o->host, o->body);
	p = realloc(p, n + o->body);
	memset(p + n, 'x', o->body);
	o->nmessage = o->frame = n + o->body;
	o->message = p;
}

// prepare writes down once what is sent and what must come back, so that the loops only copy and compare.
static void prepare(struct options *o)
{
	if (o->mode == HTTP || o->mode == KEEP) {
		prepare_request(o);
		return;
	}
	o->nupgrade = asprintf(&o->upgrade, "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
									   "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n\r\n", o->path, o->host, key);
	unsigned char *expect = malloc(o->size + 16), *one = malloc(o->size + 16);
	size_t h = frame(expect, o->size, false), hm = frame(one, o->size, true);
	for (int i = 0; i < o->size; i++) {
		expect[h + i] = 'a' + (i * 7 + i / 128) % 26;
		one[hm + i] = expect[h + i] ^ one[hm - 4 + i % 4];
	}
	o->frame = hm + o->size;
	o->nmessage = o->frame * o->depth;
	char *all = malloc(o->nmessage);
	for (int i = 0; i < o->depth; i++)
		memcpy(all + i * o->frame, one, o->frame);
	o->command = (char *)one;
	o->command[0] = (char)0x81; // a text message is for the service itself
	o->message = all;
	o->expect = (char *)expect;
	o->nexpect = h + o->size;
}

static void nap(double seconds)
{
	struct timespec t = {seconds, (seconds - (long)seconds) * 1e9};
	nanosleep(&t, NULL);
}

static double process_cpu(void)
{
	struct timespec t;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static unsigned long sum(struct worker *w, int n, size_t offset)
{
	unsigned long total = 0;
	for (int i = 0; i < n; i++)
		total += atomic_load((atomic_ulong *)((char *)&w[i] + offset));
	return total;
}

#define TOTAL(w, o, what) sum(w, (o)->threads, offsetof(struct worker, what))

static unsigned long percentile(const uint64_t *histogram, double q)
{
	uint64_t total = 0, seen = 0;
	for (int i = 0; i < BUCKETS; i++)
		total += histogram[i];
	for (int i = 0; i < BUCKETS; i++) {
		seen += histogram[i];
		if (seen > 0 && seen >= q * total)
			return i < 64 ? (unsigned long)i : (i % 32 + 32ul) << (i / 32 - 1);
	}
	return 0;
}

static const char *first_error(const struct worker *w, int n)
{
	for (int i = 0; i < n; i++)
		if (w[i].why[0])
			return w[i].why;
	return "";
}

// open_all waits until every session is open; false when one failed or it took too long.
static bool open_all(struct worker *w, const struct options *o)
{
	for (uint64_t limit = now_us() + 30000000; now_us() < limit; nap(0.002)) {
		if (TOTAL(w, o, errors) > 0)
			return false;
		if (TOTAL(w, o, open) >= (unsigned long)o->conns)
			return true;
	}
	return false;
}

static void report_idle(struct worker *w, const struct options *o)
{
	char line[16];
	printf("{\"event\":\"open\",\"sessions\":%d}\n", o->conns);
	fflush(stdout);
	if (!fgets(line, sizeof line, stdin)) // the caller has measured
		return;
	phase = RUNNING;
	for (uint64_t limit = now_us() + 20000000; now_us() < limit; nap(0.002))
		if (TOTAL(w, o, ops) + TOTAL(w, o, errors) >= (unsigned long)o->conns)
			break;
	printf("{\"event\":\"echoed\",\"sessions\":%lu,\"errors\":%lu,\"error\":\"%s\"}\n", TOTAL(w, o, ops), TOTAL(w, o, errors),
		first_error(w, o->threads));
	fflush(stdout);
	if (fgets(line, sizeof line, stdin))
		return;
}

static void measure(struct worker *w, const struct options *o, struct group *groups, int ngroups)
{
	phase = RUNNING;
	if (o->mode == BROADCAST && !command(o))
		exit(1);
	nap(o->warm);
	for (int i = 0; i < ngroups; i++)
		groups[i].start = cpu_of(&groups[i]);
	double machine = cpu_machine(), self = process_cpu();
	unsigned long ops = TOTAL(w, o, ops);
	uint64_t t0 = now_us();
	phase = MEASURING;
	nap(o->seconds);
	ops = TOTAL(w, o, ops) - ops;
	double seconds = (now_us() - t0) / 1e6;
	self = process_cpu() - self;
	machine = cpu_machine() - machine;
	for (int i = 0; i < ngroups; i++)
		groups[i].used = cpu_of(&groups[i]) - groups[i].start;
	unsigned long errors = TOTAL(w, o, errors);
	phase = STOPPED;

	printf("{\"event\":\"result\",\"mode\":\"%s\",\"tls\":%s,\"connections\":%d,\"size\":%d,\"depth\":%d,\"threads\":%d,"
		   "\"seconds\":%.4f,\"ops\":%lu,\"errors\":%lu,\"error\":\"%s\",\"generator_cpu\":%.4f,\"machine_cpu\":%.2f,\"cpu\":{",
		modes[o->mode], o->tls ? "true" : "false", o->conns, o->size, o->depth, o->threads, seconds, ops, errors,
		first_error(w, o->threads), self, machine);
	for (int i = 0; i < ngroups; i++)
		printf("%s\"%s\":%.2f", i ? "," : "", groups[i].name, groups[i].used);
}

static void report_latency(const struct worker *w, const struct options *o)
{
	uint64_t all[BUCKETS] = {0}, slowest = 0;
	for (int i = 0; i < o->threads; i++) {
		for (int b = 0; b < BUCKETS; b++)
			all[b] += w[i].histogram[b];
		if (w[i].slowest > slowest)
			slowest = w[i].slowest;
	}
	printf("},\"p50_us\":%lu,\"p99_us\":%lu,\"p999_us\":%lu,\"max_us\":%lu}\n", percentile(all, 0.5), percentile(all, 0.99),
		percentile(all, 0.999), (unsigned long)slowest);
}

static struct sockaddr_in parse_target(char *text)
{
	struct sockaddr_in a = {.sin_family = AF_INET};
	char *colon = strrchr(text, ':');
	if (!colon)
		usage();
	*colon = 0;
	a.sin_port = htons(atoi(colon + 1));
	if (inet_pton(AF_INET, text, &a.sin_addr) != 1)
		usage();
	return a;
}

// control_to opens the session on which the service is told to broadcast.
static int control_to(const struct options *o, const struct sockaddr_in *to)
{
	char head[HEAD_MAX] = "";
	size_t n = 0;
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	if (fd < 0 || connect(fd, (const struct sockaddr *)to, sizeof *to) < 0 ||
		write(fd, o->upgrade, o->nupgrade) != (ssize_t)o->nupgrade)
		return -1;
	while (n < sizeof head - 1 && !strstr(head, "\r\n\r\n")) {
		ssize_t r = read(fd, head + n, sizeof head - 1 - n);
		if (r <= 0)
			return -1;
		n += r;
	}
	return fd;
}

// start makes the workers and deals the connections out to them.
static struct worker *start(const struct options *o, pthread_t *ids)
{
	struct worker *w = calloc(o->threads, sizeof *w);
	for (int i = 0; i < o->threads; i++) {
		w[i].o = o;
		w[i].id = i;
		w[i].epoll = epoll_create1(0);
		w[i].nconns = o->conns / o->threads + (i < o->conns % o->threads);
		w[i].conns = calloc(w[i].nconns, sizeof *w[i].conns);
		for (int k = 0; k < w[i].nconns; k++)
			w[i].conns[k].sent = calloc(o->depth, sizeof(uint64_t));
		if (pthread_create(&ids[i], NULL, work, &w[i]) != 0)
			exit(1);
	}
	return w;
}

int main(int argc, char **argv)
{
	struct options o = {.path = "/", .host = "localhost", .conns = 64, .size = 128, .depth = 1, .threads = 1, .warm = 0.5, .seconds = 2};
	struct group groups[8] = {0};
	char *control = NULL;
	int ngroups = 0, mode = 0;
	while (argc > 1 && mode <= KEEP && strcmp(argv[1], modes[mode]) != 0)
		mode++;
	if (argc < 3 || mode > KEEP)
		usage();
	o.mode = mode;
	for (int c; (c = getopt(argc - 1, argv + 1, "n:s:d:r:B:w:t:j:p:H:c:b:T")) != -1;) {
		switch (c) {
		case 'n': o.conns = atoi(optarg); break;
		case 's': o.size = atoi(optarg); break;
		case 'd': o.depth = atoi(optarg); break;
		case 'r': o.rate = atof(optarg); break;
		case 'B': o.body = atoi(optarg); break;
		case 'w': o.warm = atof(optarg); break;
		case 't': o.seconds = atof(optarg); break;
		case 'j': o.threads = atoi(optarg); break;
		case 'p': o.path = optarg; break;
		case 'H': o.host = optarg; break;
		case 'b': control = optarg; break;
		case 'T': o.tls = tls_client(); break;
		case 'c':
			if (ngroups == 8 || !parse_group(&groups[ngroups++], optarg))
				usage();
			break;
		default: usage();
		}
	}
	if (o.mode != ECHO)
		o.rate = 0;
	if (o.mode != ECHO || o.rate > 0)
		o.depth = 1;
	if (o.rate > 0) // what is measured is short: waiting for a CPU here must not count. Only root may.
		(void)setpriority(PRIO_PROCESS, 0, -10);
	o.ntargets = argc - 1 - optind;
	if (o.ntargets < 1 || o.threads < 1 || o.threads > 64 || o.conns < o.threads || o.size < 0 || o.size > 1 << 20 ||
		o.body < 0 || o.body > 1 << 20 || o.rate < 0 || (o.rate > 0 && o.rate < 1) || o.depth < 1 || o.depth > 1024)
		usage();
	o.targets = calloc(o.ntargets, sizeof *o.targets);
	for (int i = 0; i < o.ntargets; i++)
		o.targets[i] = parse_target(argv[1 + optind + i]);
	prepare(&o);
	signal(SIGPIPE, SIG_IGN);
	alarm(o.mode == IDLE || o.mode == KEEP ? 120 : 60 + o.warm + o.seconds); // whatever happens
	if (o.mode == BROADCAST) {
		if (!control)
			usage();
		struct sockaddr_in to = parse_target(control);
		o.control = control_to(&o, &to);
		if (o.control < 0) {
			printf("{\"event\":\"failed\",\"errors\":1,\"error\":\"no session with the service\"}\n");
			return 1;
		}
	}

	pthread_t ids[64];
	struct worker *w = start(&o, ids);
	if (o.mode != SETUP && !open_all(w, &o)) {
		printf("{\"event\":\"failed\",\"open\":%lu,\"errors\":%lu,\"error\":\"%s\"}\n", TOTAL(w, &o, open), TOTAL(w, &o, errors),
			first_error(w, o.threads));
		return 1;
	}
	if (o.mode == IDLE || o.mode == KEEP)
		report_idle(w, &o);
	else
		measure(w, &o, groups, ngroups);
	phase = STOPPED;
	for (int i = 0; i < o.threads; i++)
		pthread_join(ids[i], NULL);
	if (o.mode != IDLE && o.mode != KEEP)
		report_latency(w, &o);
	return 0;
}
