/* proto.h - Protocol Buffers, as much of them as OTLP needs: writing messages into a buf,
 * reading the fields of a small one (https://protobuf.dev/programming-guides/encoding/).
 *
 * A message inside a message is written between proto_begin and proto_end: its length is
 * four bytes wide and filled in at the end (a varint may be longer than it has to).
 *
 * Memory   the caller's buf
 */
#pragma once
#include "base/buf.h"
#include <stdbool.h>
#include <stdint.h>

void proto_varint(struct buf *b, uint64_t n);
void proto_uint(struct buf *b, unsigned field, uint64_t n);
void proto_bool(struct buf *b, unsigned field, bool on);
void proto_fixed32(struct buf *b, unsigned field, uint32_t n);
void proto_fixed64(struct buf *b, unsigned field, uint64_t n);
void proto_double(struct buf *b, unsigned field, double d);
void proto_bytes(struct buf *b, unsigned field, struct str s);
/* A packed field of n fixed 64-bit numbers, or doubles by their bits. */
void proto_packed64(struct buf *b, unsigned field, const void *numbers, size_t n);

size_t proto_begin(struct buf *b, unsigned field);
void proto_end(struct buf *b, size_t begun); /* what proto_begin returned */
/* The same where so many bytes of the message follow that are not in the buffer. */
void proto_end_before(struct buf *b, size_t begun, size_t more);
/* The length of what will follow is known: no proto_end. */
void proto_head(struct buf *b, unsigned field, size_t length);
size_t proto_varint_size(uint64_t n);

/* Reading: while (proto_next(&rest, &f)) …; `rest` is empty at the end of a whole message. */
struct proto_field {
    unsigned number;
    uint64_t value;   /* varint, fixed */
    struct str bytes; /* length-delimited */
};
bool proto_next(struct str *rest, struct proto_field *out);
