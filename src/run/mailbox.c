/* mailbox.c - see mailbox.h. */
#include "run/mailbox.h"

#include <assert.h>
#include <sched.h>

static struct mail closed; /* the head of a closed mailbox */

static void on_async(uv_async_t *async) {
    struct mailbox *box = async->data;
    worker_now(box->worker);
    mailbox_drain(box);
    worker_run_ready(box->worker);
}

int mailbox_open(struct mailbox *box, struct worker *w, size_t bound) {
    *box = (struct mailbox){ .bound = bound, .worker = w };
    box->async.data = box;
    return uv_async_init(&w->loop, &box->async, on_async);
}

static bool reserve(struct mailbox *box, size_t bytes) {
    if (bytes == 0)
        return true;
    size_t before = __atomic_fetch_add(&box->bytes, bytes, __ATOMIC_RELAXED);
    if (before + bytes <= box->bound)
        return true;
    __atomic_fetch_sub(&box->bytes, bytes, __ATOMIC_RELAXED);
    return false;
}

bool mailbox_post(struct mailbox *box, struct mail *m) {
    const size_t bytes = m->bytes; /* the receiver may free m at once */
    if (!reserve(box, bytes))
        return false;
    struct mail *newest = __atomic_load_n(&box->newest, __ATOMIC_RELAXED);
    do {
        if (newest == &closed) {
            if (bytes)
                __atomic_fetch_sub(&box->bytes, bytes, __ATOMIC_RELAXED);
            return false;
        }
        m->next = newest;
    } while (!__atomic_compare_exchange_n(&box->newest, &newest, m, true, __ATOMIC_RELEASE,
                                          __ATOMIC_RELAXED));
    if (newest == NULL) {
        uv_async_send(&box->async);
        __atomic_fetch_add(&box->wakes, 1, __ATOMIC_RELEASE);
    }
    return true;
}

static struct mail *oldest_first(struct mail *newest) {
    struct mail *first = NULL;
    while (newest) {
        struct mail *next = newest->next;
        newest->next = first;
        first = newest;
        newest = next;
    }
    return first;
}

static void deliver(struct mailbox *box, struct mail *newest) {
    if (!newest)
        return;
    box->wakes_due++; /* whoever made it non-empty wakes, or has woken, us */
    size_t bytes = 0;
    for (struct mail *m = oldest_first(newest), *next; m; m = next) {
        next = m->next;
        bytes += m->bytes;
        m->deliver(box->worker, m);
    }
    if (bytes)
        __atomic_fetch_sub(&box->bytes, bytes, __ATOMIC_RELAXED);
}

void mailbox_drain(struct mailbox *box) {
    if (__atomic_load_n(&box->newest, __ATOMIC_RELAXED) == &closed)
        return;
    deliver(box, __atomic_exchange_n(&box->newest, NULL, __ATOMIC_ACQUIRE));
}

void mailbox_close(struct mailbox *box) {
    struct mail *rest = __atomic_exchange_n(&box->newest, &closed, __ATOMIC_ACQUIRE);
    assert(rest != &closed);
    deliver(box, rest);
    while (__atomic_load_n(&box->wakes, __ATOMIC_ACQUIRE) != box->wakes_due)
        sched_yield(); /* a poster is between its push and the end of uv_async_send */
}
