/* kit.h - what upstream, forwarder and driver share: buffers, sockets, HTTP framing, a JSON cursor.
 *
 * It shares nothing with src/: the kit must not inherit a fault of what it measures, nor get
 * quicker when that does. It frames and finds, it does not check; peers are our own programs.
 *
 * Errors   anything unexpected ends the program with one line on stderr
 * Threads  one thread only
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/* A borrowed piece of text, not NUL-terminated. */
struct span {
    const char *p;
    size_t n;
};
#define SPAN(literal) ((struct span){ literal, sizeof(literal) - 1 })

static inline bool span_is(struct span s, struct span t) {
    return s.n == t.n && memcmp(s.p, t.p, s.n) == 0;
}

/* Print the message (and errno's text when it is set) and exit with 1. */
_Noreturn void die(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* End with the program that started us, so that no measurement leaves a process behind. */
void die_with_parent(void);

int64_t now_ns(void);

/* A number from the command line within min..max, or die naming the option. */
int64_t option_number(const char *name, const char *text, int64_t min, int64_t max);

/* ---- growing buffer ---------------------------------------------------------------- */

struct bytes {
    char *p;
    size_t n, cap;
};

void bytes_reserve(struct bytes *b, size_t more);
void bytes_put(struct bytes *b, const char *p, size_t n);
void bytes_number(struct bytes *b, uint64_t number);
void bytes_hex(struct bytes *b, uint64_t number);
void bytes_drop(struct bytes *b, size_t n); /* forget the first n bytes */
void bytes_free(struct bytes *b);

static inline void bytes_span(struct bytes *b, struct span s) { bytes_put(b, s.p, s.n); }
#define bytes_text(b, literal) bytes_put((b), (literal), sizeof(literal) - 1)

/* ---- sockets on 127.0.0.1, TCP_NODELAY --------------------------------------------- */

int socket_listen(uint16_t port);  /* not blocking */
int socket_connect(uint16_t port); /* blocking; -1 when refused */
void socket_unblock(int fd);

/* ---- HTTP/1.1 framing -------------------------------------------------------------- */

enum framing { BY_LENGTH, BY_CHUNKS, BY_CLOSE };

/* Where one message is. Zero it before each message. */
struct frame {
    size_t head; /* bytes of the head, blank line included; 0: not complete yet */
    int status;  /* of an answer, 0 for a request */
    enum framing framing;
    uint64_t left; /* bytes of the body, or of the chunk at hand, still to come */
    uint8_t chunk; /* state inside chunked framing, see kit.c */
    bool chunk_any, done;
};

/* True once p[0..n), which starts with the message, holds its whole head. */
bool frame_head(struct frame *f, const char *p, size_t n);

/* Goes over the next n bytes after the head; returns how many belong to this message. */
size_t frame_body(struct frame *f, const char *p, size_t n);

/* Value of a header (name in lower case) in a complete head; p is NULL when absent. */
struct span header(struct span head, struct span name);

/* Chunked body to plain body, in place; returns the new length. */
size_t dechunk(char *p, size_t n);

/* ---- a whole message read into memory ---------------------------------------------- */

struct message {
    struct bytes in;
    struct frame frame;
    size_t size; /* bytes of `in` that belong to the message so far */
};

enum reading { READ_MORE, READ_WHOLE, READ_CLOSED };

/* Receives once or until the socket is empty. READ_WHOLE: head and body are at in.p. */
enum reading message_read(struct message *m, int fd);

/* Drops the message; bytes behind it stay. True when they are a whole message already. */
bool message_next(struct message *m);

static inline struct span message_head(const struct message *m) {
    return (struct span){ m->in.p, m->frame.head };
}

/* The body without chunk framing; changes the buffer. */
struct span message_body(struct message *m);

/* ---- JSON cursor: one pass over a document that is taken to be valid --------------- */

struct json {
    const char *p, *end;
};

/* At a value: steps into the object or array; false when it is neither. */
bool json_open(struct json *j);

/* Inside an object: steps to the next member's value; false at its end, which is consumed. */
bool json_member(struct json *j, struct span *out_key);

/* Inside an array: steps to the next element; false at its end, which is consumed. */
bool json_element(struct json *j);

/* At a value: steps over it and returns its raw text (a string with its quotes). */
struct span json_value(struct json *j);
