/* group.c - task groups, see task.h. Structured concurrency as in N. J. Smith, "Notes on
 * structured concurrency" (2018): no member outlives the function that opened the group. */
#include "run/private.h"

#include "base/mem.h"
#include <assert.h>

struct group_member {
    struct task_group *group;
    struct group_member *next, **back;
    struct task *task;
    group_fn *fn;
    void *arg;
};

void task_group_init(struct task_group *g, struct task *owner) {
    *g = (struct task_group){ .owner = owner };
}

static void cancel_members(struct task_group *g) {
    for (struct group_member *m = g->members; m; m = m->next)
        task_cancel(m->task);
}

static void keep_first(struct task_group *g, const struct err *e) {
    if (g->failed)
        return;
    g->failed = true;
    g->first = *e;
    if (!g->collect)
        cancel_members(g);
}

static void member_main(struct task *t, void *arg) {
    struct group_member *m = arg;
    struct task_group *g = m->group;
    err_t e = m->fn(t, m->arg);
    *m->back = m->next;
    if (m->next)
        m->next->back = m->back;
    free(m);
    if (e)
        keep_first(g, e);
    if (--g->running == 0)
        event_set(&g->done);
}

err_t task_group_start(struct task_group *g, group_fn *fn, void *arg) {
    if (g->failed && !g->collect)
        return err_again(&g->first);
    struct task *t;
    TRY(task_start(task_worker(g->owner), member_main, NULL, &t));
    struct group_member *m = NEW(struct group_member);
    *m = (struct group_member){ g, g->members, &g->members, t, fn, arg };
    if (m->next)
        m->next->back = &m->next;
    g->members = m;
    g->running++;
    t->arg = m;
    task_inherit(t, g->owner->deadline, g->owner->request);
    return OK;
}

/* The members' memory is on stacks that are about to unwind: this wait ends with them. */
static void wait_for_members(struct task_group *g) {
    while (g->running)
        event_wait_always(g->owner, &g->done);
    g->done.set = false;
}

err_t task_group_wait(struct task_group *g) {
    if (g->running) {
        err_t e = event_wait(g->owner, &g->done);
        if (e) {
            keep_first(g, e);
            cancel_members(g);
        }
        wait_for_members(g);
    }
    g->done.set = false;
    return g->failed ? err_again(&g->first) : OK;
}

void task_group_scope(struct task_group *g) {
    if (!g->running)
        return;
    cancel_members(g);
    wait_for_members(g);
}
