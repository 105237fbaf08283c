/* gate.c - see gate.h. Leaving hands the place to the first in line, so nobody overtakes. */
#include "run/gate.h"

struct gate_waiter {
    struct gate_waiter *next;
    struct event turn;
    bool inside;
};

static void unlink_waiter(struct gate *g, struct gate_waiter *w) {
    for (struct gate_waiter **at = &g->first; *at; at = &(*at)->next) {
        if (*at != w)
            continue;
        *at = w->next;
        if (!w->next)
            g->last = at;
        g->waiting--;
        return;
    }
}

static err_t wait_in_line(struct task *t, struct gate *g) {
    struct gate_waiter w = { 0 };
    if (!g->first)
        g->last = &g->first;
    *g->last = &w;
    g->last = &w.next;
    g->waiting++;
    while (!w.inside) {
        err_t e = event_wait(t, &w.turn);
        if (!e)
            continue;
        struct err saved = *e;
        if (w.inside)
            gate_leave(g);
        else
            unlink_waiter(g, &w);
        return err_again(&saved);
    }
    return OK;
}

err_t gate_enter(struct task *t, struct gate *g) {
    if (!g->limit || g->inside < g->limit) {
        g->inside++;
        return OK;
    }
    if (g->waiting >= g->max_waiting)
        return ERR(UNAVAILABLE, "%u calls are in flight and %u wait already", g->inside,
                   g->waiting);
    return wait_in_line(t, g);
}

void gate_leave(struct gate *g) {
    struct gate_waiter *w = g->first;
    if (!w) {
        g->inside--;
        return;
    }
    unlink_waiter(g, w);
    w->inside = true;
    event_set(&w->turn);
}
