/* mailbox.h - many posters, one receiver, no lock.
 *
 * An intrusive stack that posters push and the receiver takes whole and turns around
 * (Treiber, "Coping with Parallelism", 1986). Only the poster that finds it empty wakes
 * the receiver. Closing leaves a mark in place of the head, so a mail is either
 * delivered or refused, never lost between.
 *
 * Threads  mailbox_post from any, all else from the receiver's
 */
#pragma once
#include "run/worker.h"

struct mailbox {
    struct mail *newest;    /* atomic; what the receiver has not taken yet */
    size_t bytes, bound;    /* bytes: atomic */
    size_t wakes;           /* atomic: posters that are done with waking the receiver */
    size_t wakes_due;       /* the receiver's count of them */
    struct worker *worker;
    uv_async_t async;
};

/* 0, or what libuv refused with. */
int mailbox_open(struct mailbox *box, struct worker *w, size_t bound);
bool mailbox_post(struct mailbox *box, struct mail *m);
/* True when there is something to drain, or the mailbox was closed. */
static inline bool mailbox_waits(const struct mailbox *box) {
    return __atomic_load_n(&box->newest, __ATOMIC_ACQUIRE) != NULL;
}
/* Delivers all that was queued when it was called. */
void mailbox_drain(struct mailbox *box);
/* Refuses from now on, delivers the rest, and waits until no poster touches the handle. */
void mailbox_close(struct mailbox *box);
