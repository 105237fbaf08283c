/* snapshot.h - immutable data that all workers read and one publishes.
 *
 * A publication point holds the newest value for each worker. Publishing sends every
 * worker a mail; each takes its reference over on its own thread. A request pins what
 * its worker holds at its start and keeps it to its end: pins are counted locally, so
 * the hot path touches no shared atomic. A value is freed, on the control worker, when
 * no worker holds or pins it any more.
 *
 * Threads  publish: the control worker; pin and unpin: the worker's own thread
 */
#pragma once
#include "run/worker.h"

struct publication; /* one point: configuration, catalogue, credentials */

typedef void snapshot_free_fn(void *value);
struct publication *publication_new(struct workers *all, snapshot_free_fn *free_value);
void publication_free(struct publication *p); /* after the workers have stopped */

/* The value becomes current everywhere. `t` may be NULL: returns at once; else waits
 * until every worker acknowledged (a revocation is answered after that). */
struct task;
err_t publication_set(struct task *t, struct publication *p, void *value);

/* What a worker holds now; NULL before the first. Valid until unpinned. */
struct pin;
struct pin *snapshot_pin(struct worker *w, struct publication *p, void **out_value);
void snapshot_unpin(struct worker *w, struct pin *pin);
/* The current value without a pin: valid only until the caller waits or returns. */
void *snapshot_peek(struct worker *w, struct publication *p);
uint64_t snapshot_generation(struct worker *w, struct publication *p);
