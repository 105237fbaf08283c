/* snapshot.c - see snapshot.h.
 *
 * A version has one pin for each worker, which counts, on that worker's thread, 1 for
 * being current there plus its users. The pin's mail goes out with the version, and home
 * to the control worker when the count falls to 0; the control worker alone counts
 * holders. Mail between two workers keeps its order, so versions arrive in the order in
 * which they were published and an acknowledgement precedes the release. */
#include "run/snapshot.h"

#include "base/mem.h"
#include "run/private.h"
#include <assert.h>

#define CACHE_LINE 64

struct version;

struct pin {
    struct version *version;
    size_t uses;      /* the worker's own */
    struct mail mail; /* delivery, later release */
    struct mail ack;
} __attribute__((aligned(CACHE_LINE)));

struct version {
    struct publication *publication;
    struct version *next, **back; /* all that live; control worker only */
    void *value;
    uint64_t generation;
    unsigned holders, awaited;    /* control worker only */
    struct event acknowledged;
    struct pin pins[];            /* one for each worker, control last */
};

struct hold {
    struct pin *current; /* the worker's own */
} __attribute__((aligned(CACHE_LINE)));

struct publication {
    struct workers *all;
    snapshot_free_fn *free_value;
    struct version *versions;
    uint64_t generation;
    struct hold holds[];
};

static void *aligned_zero(size_t size) {
    size = (size + CACHE_LINE - 1) & ~(size_t)(CACHE_LINE - 1);
    void *p = aligned_alloc(CACHE_LINE, size);
    if (!p)
        abort();
    return memset(p, 0, size);
}

struct publication *publication_new(struct workers *all, snapshot_free_fn *free_value) {
    const size_t workers = workers_count(all) + 1;
    struct publication *p = aligned_zero(sizeof(*p) + workers * sizeof(struct hold));
    p->all = all;
    p->free_value = free_value;
    return p;
}

static void version_free(struct version *v) {
    *v->back = v->next;
    if (v->next)
        v->next->back = v->back;
    if (v->publication->free_value)
        v->publication->free_value(v->value);
    free(v);
}

void publication_free(struct publication *p) {
    if (!p)
        return;
    while (p->versions)
        version_free(p->versions);
    free(p);
}

/* ---- on the control worker --------------------------------------------------------- */

static void release(struct version *v) {
    assert(v->holders > 0);
    if (--v->holders == 0)
        version_free(v);
}

static void on_release(struct worker *control, struct mail *m) {
    (void)control;
    release(((struct pin *)((char *)m - offsetof(struct pin, mail)))->version);
}

static void on_ack(struct worker *control, struct mail *m) {
    (void)control;
    struct version *v = ((struct pin *)((char *)m - offsetof(struct pin, ack)))->version;
    if (--v->awaited == 0)
        event_set(&v->acknowledged);
}

/* ---- on each worker ---------------------------------------------------------------- */

static void drop(struct worker *w, struct pin *pin) {
    assert(pin->uses > 0);
    if (--pin->uses > 0)
        return;
    pin->mail.deliver = on_release;
    /* refused when the control worker has stopped: publication_free then frees it */
    worker_post(workers_control(w->all), &pin->mail);
}

static void take(struct worker *w, struct pin *pin) {
    struct hold *hold = &pin->version->publication->holds[w->index];
    struct pin *old = hold->current;
    hold->current = pin;
    pin->uses = 1;
    if (old)
        drop(w, old);
}

static void on_version(struct worker *w, struct mail *m) {
    struct pin *pin = (struct pin *)((char *)m - offsetof(struct pin, mail));
    take(w, pin);
    if (pin->ack.deliver)
        worker_post(workers_control(w->all), &pin->ack);
}

struct pin *snapshot_pin(struct worker *w, struct publication *p, void **out_value) {
    struct pin *pin = p->holds[w->index].current;
    *out_value = pin ? pin->version->value : NULL;
    if (pin)
        pin->uses++;
    return pin;
}

void snapshot_unpin(struct worker *w, struct pin *pin) {
    if (pin)
        drop(w, pin);
}

void *snapshot_peek(struct worker *w, struct publication *p) {
    struct pin *pin = p->holds[w->index].current;
    return pin ? pin->version->value : NULL;
}

uint64_t snapshot_generation(struct worker *w, struct publication *p) {
    struct pin *pin = p->holds[w->index].current;
    return pin ? pin->version->generation : 0;
}

/* ---- publishing -------------------------------------------------------------------- */

static struct version *version_new(struct publication *p, void *value) {
    const unsigned workers = workers_count(p->all) + 1;
    struct version *v = aligned_zero(sizeof(*v) + workers * sizeof(struct pin));
    v->publication = p;
    v->value = value;
    v->generation = ++p->generation;
    v->holders = workers + 1; /* one is publication_set's own */
    v->next = p->versions;
    v->back = &p->versions;
    if (v->next)
        v->next->back = &v->next;
    p->versions = v;
    return v;
}

/* A worker that has stopped reads nothing any more: it counts as having acknowledged. */
static void deliver_to(struct version *v, unsigned index, bool want_ack) {
    struct worker *w = workers_at(v->publication->all, index);
    struct pin *pin = &v->pins[index];
    pin->version = v;
    pin->mail.deliver = on_version;
    pin->ack.deliver = want_ack ? on_ack : NULL;
    v->awaited += want_ack;
    if (worker_post(w, &pin->mail))
        return;
    v->awaited -= want_ack;
    v->holders--;
}

err_t publication_set(struct task *t, struct publication *p, void *value) {
    struct worker *control = workers_control(p->all);
    assert(worker_here() == control);
    struct version *v = version_new(p, value);
    for (unsigned i = 0; i < control->index; i++)
        deliver_to(v, i, t != NULL);
    v->pins[control->index].version = v;
    take(control, &v->pins[control->index]);
    err_t e = t && v->awaited ? event_wait(t, &v->acknowledged) : OK;
    release(v);
    return e;
}
