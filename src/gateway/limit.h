/* limit.h - token buckets shared by all workers.
 *
 * GCRA (ITU-T I.371, "virtual scheduling"): one atomic instant per bucket, so a take is
 * one compare-and-swap and needs no timer. Buckets are found by a digest once and kept
 * by pointer; they survive reloads.
 *
 * Threads  any
 */
#pragma once
#include "base/clock.h"
#include <stdatomic.h>
#include <stdbool.h>

struct limit {
    _Atomic nanos next; /* when the bucket will be full again: the theoretical arrival time */
    _Atomic nanos gap;  /* time one token takes to come back; 0: no limit */
    _Atomic nanos burst; /* how far `next` may run ahead of now */
};
void limit_configure(struct limit *l, double per_second, double burst);
/* True: a token was taken. False: *retry is the wait until there is one. */
bool limit_take(struct limit *l, nanos now, nanos *retry);

struct limits_table;
struct limits_table *limits_new(void);
void limits_free(struct limits_table *t);
/* The bucket of that digest, made when new; configured anew each time. */
struct limit *limits_find(struct limits_table *t, uint64_t digest, double per_second, double burst);
