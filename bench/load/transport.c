#define _GNU_SOURCE
#include "wslg.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <unistd.h>

// tls_client makes every peer do the same work: TLS 1.3, X25519, AES-128-GCM, a full handshake each time.
// The certificate is not verified: it is the bench's own.
SSL_CTX *tls_client(void)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	if (!ctx)
		return NULL;
	SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION);
	SSL_CTX_set_ciphersuites(ctx, "TLS_AES_128_GCM_SHA256");
	SSL_CTX_set1_groups_list(ctx, "X25519");
	SSL_CTX_set_alpn_protos(ctx, (const unsigned char *)"\x08http/1.1", 9);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_verify(ctx, SSL_VERIFY_NONE, NULL);
	SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
	return ctx;
}

// dial connects from 127.0.1.1 to 127.0.1.8 in turn: one source address has too few ports.
int dial(const struct sockaddr_in *to, uint32_t source)
{
	int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000101 + source % 8)};
	if (fd < 0)
		return -1;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
	if (bind(fd, (struct sockaddr *)&from, sizeof from) < 0 ||
		(connect(fd, (const struct sockaddr *)to, sizeof *to) < 0 && errno != EINPROGRESS)) {
		close(fd);
		return -1;
	}
	return fd;
}

static long result(struct conn *c, int r)
{
	switch (SSL_get_error(c->ssl, r)) {
	case SSL_ERROR_WANT_READ:
	case SSL_ERROR_WANT_WRITE:
		return AGAIN;
	case SSL_ERROR_ZERO_RETURN:
		return 0;
	}
	ERR_clear_error();
	return LOST;
}

int handshake(struct conn *c)
{
	int r = SSL_do_handshake(c->ssl);
	if (r == 1)
		return 1;
	return result(c, r) == AGAIN ? AGAIN : LOST;
}

long receive(struct conn *c, char *p, size_t n)
{
	if (c->ssl) {
		int r = SSL_read(c->ssl, p, n);
		return r > 0 ? r : result(c, r);
	}
	ssize_t r = read(c->fd, p, n);
	return r >= 0 ? r : errno == EAGAIN ? AGAIN : LOST;
}

long transmit(struct conn *c, const char *p, size_t n)
{
	if (c->ssl) {
		int r = SSL_write(c->ssl, p, n);
		return r > 0 ? r : result(c, r);
	}
	ssize_t r = write(c->fd, p, n);
	return r >= 0 ? r : errno == EAGAIN ? AGAIN : LOST;
}

void hang_up(struct conn *c)
{
	if (c->ssl)
		SSL_free(c->ssl);
	c->ssl = NULL;
	close(c->fd);
}
