/* stdio.c - one client on standard input and output instead of listeners. It is served when
 * the upstreams are up, or after limits.list_wait: what it asks first is a list. */
#include "base/mem.h"
#include "control/private.h"
#include "gateway/face_stdio.h"
#include <unistd.h>

/* Who started the process may use all of it. */
static const struct principal local = {
    .id = S_INIT("local"), .name = S_INIT("local"), .tenant = S_INIT("default"),
    .grants.admin = true, .digest = 0x6c6f63616c, .index = 0,
};

struct face_order {
    struct mail mail;
    struct control *control;
};

static void on_end(void *arg) {
    struct control *c = arg;
    workers_stop(c->all);
}

static void on_face_order(struct worker *w, struct mail *m) {
    struct control *c = ((struct face_order *)m)->control;
    free(m);
    worker_open(c, w);
    c->face = face_stdio_open(gateway_here(w), &(struct stdio_options){
        .in = STDIN_FILENO, .out = STDOUT_FILENO, .who = &local, .on_end = on_end, .arg = c });
    worker_run_ready(w);
}

static void open_face(struct control *c) {
    timer_unset(c->worker, &c->face_wait);
    c->face_ordered = true;
    struct face_order *o = NEW(struct face_order);
    *o = (struct face_order){ .mail.deliver = on_face_order, .control = c };
    if (!worker_post(workers_at(c->all, 0), &o->mail))
        free(o);
}

static void on_waited(struct worker *w, struct timer *t) {
    open_face((struct control *)((char *)t - offsetof(struct control, face_wait)));
}

void stdio_published(struct control *c) {
    if (!c->options.stdio || c->face_ordered)
        return;
    if (atomic_load(&c->gateway->ready)) {
        open_face(c);
    } else if (!timer_is_set(&c->face_wait)) {
        c->face_wait.fire = on_waited;
        timer_set(c->worker, &c->face_wait,
                  worker_now(c->worker) + c->held->conf->limits.list_wait);
    }
}
