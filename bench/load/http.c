#define _GNU_SOURCE
#include "http.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

// The example of RFC 6455, section 1.3. Every session sends this key, so the right answer is a constant.
const char key[] = "dGhlIHNhbXBsZSBub25jZQ==", accepted[] = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

const char *field(const char *head, const char *end, const char *name, size_t *n)
{
	size_t len = strlen(name);
	for (const char *p = memchr(head, '\n', end - head); p && ++p < end; p = memchr(p, '\n', end - p)) {
		if ((size_t)(end - p) <= len || strncasecmp(p, name, len) != 0 || p[len] != ':')
			continue;
		for (p += len + 1; *p == ' '; p++)
			;
		const char *stop = memchr(p, '\r', end - p);
		*n = stop ? (size_t)(stop - p) : 0;
		return stop ? p : NULL;
	}
	return NULL;
}

static bool status(const char *head, const char *end, const char *want, char *why, size_t nwhy)
{
	if (end - head >= 13 && memcmp(head, "HTTP/1.1 ", 9) == 0 && memcmp(head + 9, want, 3) == 0)
		return true;
	snprintf(why, nwhy, "status: %.*s, want %s", (int)strcspn(head, "\r\n\"\\"), head, want);
	return false;
}

bool check_upgrade(const char *head, const char *end, char *why, size_t nwhy)
{
	size_t n;
	if (!status(head, end, "101", why, nwhy))
		return false;
	const char *v = field(head, end, "Sec-WebSocket-Accept", &n);
	if (v && n == strlen(accepted) && memcmp(v, accepted, n) == 0)
		return true;
	snprintf(why, nwhy, "wrong Sec-WebSocket-Accept");
	return false;
}

long check_answer(const char *head, const char *end, char *why, size_t nwhy)
{
	size_t n;
	if (!status(head, end, "200", why, nwhy))
		return -1;
	const char *v = field(head, end, "Content-Length", &n);
	if (v)
		return strtol(v, NULL, 10);
	snprintf(why, nwhy, "answer without Content-Length");
	return -1;
}
