// Response and request heads, as far as the generator and the backend look at them. A head is [head, end) with its last CRLF.
#ifndef HTTP_H
#define HTTP_H
#include <stdbool.h>
#include <stddef.h>

extern const char key[], accepted[]; // the Sec-WebSocket-Key of every session, and its answer

// field returns the value of a header field, or NULL; *n is its length.
const char *field(const char *head, const char *end, const char *name, size_t *n);

// Both write into why what is wrong. check_answer returns the length of the body, or -1.
bool check_upgrade(const char *head, const char *end, char *why, size_t nwhy);
long check_answer(const char *head, const char *end, char *why, size_t nwhy);
#endif
