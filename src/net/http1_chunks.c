/* http1_chunks.c - see http1.h. The chunked coding of RFC 9112 §7.1 as a machine that eats
 * one byte of framing at a time, so where the input is cut cannot matter. Spaces around a
 * size are refused: readers differ over them. */
#include "net/http1.h"
#include "net/http1_runs.h"

#define MAX_SIZE_LINE 256 /* extensions and line end included */
#define MAX_TRAILERS 8192
#define MAX_SIZE_DIGITS 15

enum chunk_state {
    SIZE,
    EXTENSION,
    QUOTED,  /* a quoted-string inside an extension */
    ESCAPED, /* behind a backslash in it */
    SIZE_LF,
    DATA,
    DATA_CR,
    DATA_LF,
    TRAILER, /* name of a trailer field, or the CR of the last line */
    TRAILER_VALUE,
    TRAILER_LF,
    LAST_LF,
    ENDED,
    BROKEN,
};

static inline bool is_control(uint8_t c) {
    return (c < ' ' && c != '\t') || c == 0x7f;
}

static int hex_digit(uint8_t c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static enum chunk_state size_byte(struct http_chunks *c, uint8_t byte) {
    int digit = hex_digit(byte);
    if (digit < 0) {
        if (c->digits == 0)
            return BROKEN;
        return byte == '\r' ? SIZE_LF : byte == ';' ? EXTENSION : BROKEN;
    }
    c->left = c->left << 4 | (unsigned)digit;
    return ++c->digits > MAX_SIZE_DIGITS ? BROKEN : SIZE;
}

static enum chunk_state extension_byte(enum chunk_state state, uint8_t byte) {
    if (state == EXTENSION && byte == '\r')
        return SIZE_LF;
    if (is_control(byte))
        return BROKEN;
    if (state == ESCAPED)
        return QUOTED;
    if (byte == '"')
        return state == QUOTED ? EXTENSION : QUOTED;
    return state == QUOTED && byte == '\\' ? ESCAPED : state;
}

/* Trailer fields are dropped, yet have to be fields. */
static enum chunk_state trailer_byte(const struct http_chunks *c, uint8_t byte) {
    if (c->state == TRAILER_VALUE)
        return byte == '\r' ? TRAILER_LF : is_control(byte) ? BROKEN : TRAILER_VALUE;
    bool first = c->line == 1;
    if (byte == '\r' && first)
        return LAST_LF;
    if (byte == ':' && !first)
        return TRAILER_VALUE;
    return token_byte[byte] ? TRAILER : BROKEN;
}

static enum chunk_state line_start(struct http_chunks *c, enum chunk_state state) {
    c->line = 0;
    c->digits = 0;
    return state;
}

static enum chunk_state next_state(struct http_chunks *c, uint8_t byte) {
    switch ((enum chunk_state)c->state) {
    case SIZE:
        return size_byte(c, byte);
    case EXTENSION:
    case QUOTED:
    case ESCAPED:
        return extension_byte(c->state, byte);
    case SIZE_LF:
        return byte != '\n' ? BROKEN : line_start(c, c->left ? DATA : TRAILER);
    case DATA_CR:
        return byte == '\r' ? DATA_LF : BROKEN;
    case DATA_LF:
        return byte == '\n' ? line_start(c, SIZE) : BROKEN;
    case TRAILER:
    case TRAILER_VALUE:
        return trailer_byte(c, byte);
    case TRAILER_LF:
        return byte == '\n' ? line_start(c, TRAILER) : BROKEN;
    case LAST_LF:
        return byte == '\n' ? ENDED : BROKEN;
    case DATA:
    case ENDED:
    case BROKEN:
        break;
    }
    return BROKEN;
}

static bool within_bounds(struct http_chunks *c) {
    c->line++;
    if (c->state < DATA)
        return c->line <= MAX_SIZE_LINE;
    return c->state < TRAILER || ++c->trailer <= MAX_TRAILERS;
}

static struct str take_data(struct http_chunks *c, struct str *in) {
    struct str piece = str_head(*in, c->left);
    *in = str_skip(*in, piece.n);
    c->left -= piece.n;
    if (c->left == 0)
        c->state = line_start(c, DATA_CR);
    return piece;
}

enum http_verdict http_chunks_next(struct http_chunks *c, struct str *in, struct str *data) {
    *data = str_head(*in, 0);
    while (in->n && c->state < ENDED) {
        if (c->state == DATA) {
            *data = take_data(c, in);
            return HTTP_MORE;
        }
        c->state = within_bounds(c) ? next_state(c, (uint8_t)in->p[0]) : BROKEN;
        if (c->state != BROKEN)
            *in = str_skip(*in, 1);
    }
    return c->state == BROKEN ? HTTP_BAD : c->state == ENDED ? HTTP_OK : HTTP_MORE;
}
