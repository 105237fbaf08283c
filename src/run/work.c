/* work.c - work on other threads that a task waits for, see task.h: the blocking pool
 * (libuv's) and other workers. What crosses threads lies on the waiting task's stack; the
 * task therefore waits until nobody else can touch it. */
#include "run/private.h"

#include "base/log.h"
#include "run/metrics.h"
#include <assert.h>

/* ---- the blocking pool ------------------------------------------------------------- */

struct work {
    uv_work_t request;
    struct task *task;
    work_fn *fn;
    void *arg;
    bool cancelled; /* atomic */
    bool ran, failed;
    struct err error;
    struct event done;
};

static void on_pool_thread(uv_work_t *request) {
    struct work *work = request->data;
    RUN_ADD(work_waiting, -1);
    RUN_ADD(work_running, 1);
    log_use_request(work->task->request);
    err_t e = work->fn(work->arg, &work->cancelled);
    work->ran = true;
    work->failed = e != OK;
    if (e)
        work->error = *e;
    log_use_request(S(""));
    RUN_ADD(work_running, -1);
}

static void on_work_done(uv_work_t *request, int status) {
    (void)status; /* `ran` says more */
    struct work *work = request->data;
    struct worker *w = work->task->worker;
    worker_now(w);
    event_set(&work->done);
    worker_run_ready(w);
}

err_t work_run(struct task *t, work_fn *fn, void *arg) {
    TRY(task_interrupted(t));
    struct work work = { .task = t, .fn = fn, .arg = arg, .request.data = &work };
    RUN_ADD(work_waiting, 1);
    int code = uv_queue_work(&t->worker->loop, &work.request, on_pool_thread, on_work_done);
    assert(code == 0); /* only a missing function is refused */
    (void)code;
    err_t interrupted = event_wait(t, &work.done);
    if (interrupted) {
        __atomic_store_n(&work.cancelled, true, __ATOMIC_RELAXED);
        uv_cancel((uv_req_t *)&work.request);
        event_wait_always(t, &work.done);
    }
    if (!work.ran) {
        RUN_ADD(work_waiting, -1);
        return interrupted;
    }
    return work.failed ? err_again(&work.error) : OK;
}

/* ---- other workers ----------------------------------------------------------------- */

struct remote {
    struct mail start, cancel; /* each goes there and comes back */
    struct worker *from, *to;
    struct task *caller, *task; /* task: there, while it runs */
    group_fn *fn;
    void *arg;
    nanos deadline;
    unsigned away;             /* mails not back yet */
    bool failed;
    struct err error;
    struct event back;
};

#define remote_of(m, member) ((struct remote *)((char *)(m)-offsetof(struct remote, member)))

static void came_back(struct remote *r) {
    if (--r->away == 0)
        event_set(&r->back);
}

static void on_start_back(struct worker *from, struct mail *m) {
    (void)from;
    came_back(remote_of(m, start));
}

static void on_cancel_back(struct worker *from, struct mail *m) {
    (void)from;
    came_back(remote_of(m, cancel));
}

static void send_back(struct remote *r, struct mail *m,
                      void (*deliver)(struct worker *, struct mail *)) {
    m->deliver = deliver;
    bool posted = worker_post(r->from, m);
    assert(posted); /* its task waits for us, so its worker lives */
    (void)posted;
}

static void answer(struct remote *r, err_t e) {
    r->failed = e != OK;
    if (e)
        r->error = *e;
    r->task = NULL;
    send_back(r, &r->start, on_start_back);
}

static void remote_main(struct task *t, void *arg) {
    struct remote *r = arg;
    answer(r, r->fn(t, r->arg));
}

static void on_start(struct worker *to, struct mail *m) {
    struct remote *r = remote_of(m, start);
    err_t e = task_start(to, remote_main, r, &r->task);
    if (e)
        answer(r, e);
    else
        task_inherit(r->task, r->deadline, r->caller->request);
}

static void on_cancel(struct worker *to, struct mail *m) {
    (void)to;
    struct remote *r = remote_of(m, cancel);
    if (r->task)
        task_cancel(r->task);
    send_back(r, m, on_cancel_back);
}

err_t task_on(struct task *t, struct worker *other, group_fn *fn, void *arg) {
    TRY(task_interrupted(t));
    if (other == t->worker)
        return fn(t, arg);
    struct remote r = { .from = t->worker, .to = other, .caller = t, .fn = fn, .arg = arg,
                        .deadline = t->deadline, .away = 1,
                        .start.deliver = on_start, .cancel.deliver = on_cancel };
    if (!worker_post(other, &r.start))
        return ERR(UNAVAILABLE, "worker %u has stopped", other->index);
    if (event_wait(t, &r.back) && r.away) {
        r.away++;
        if (!worker_post(other, &r.cancel))
            r.away--; /* it is stopping and cancels its tasks itself */
        if (r.away)
            event_wait_always(t, &r.back);
    }
    return r.failed ? err_again(&r.error) : OK;
}
