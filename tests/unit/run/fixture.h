/* fixture.h - what the tests of src/run share. */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"
#include "run/task.h"
#include <cmocka.h>

/* The control worker alone. Its loop does not turn: the test calls worker_run_ready, and
 * owns the clock through pass_time. */
static inline struct worker *still_worker(unsigned tasks) {
    struct workers *all = NULL;
    struct worker_limits limits = { .tasks = tasks };
    assert_null(workers_start(0, limits, (struct worker_hooks){ 0 }, &all));
    return workers_control(all);
}

static inline void still_end(struct worker *w) {
    struct workers *all = w->all;
    workers_stop(all);
    workers_run(all);
    workers_free(all);
}

/* Only while the loop has not turned. */
static inline void pass_time(struct worker *w, nanos duration) {
    timers_advance(&w->timers, w->now + duration);
    worker_run_ready(w);
}

/* Runs fn as a task of the control worker, with n workers beside it; then stops all. */
struct script {
    task_fn *fn;
    void *arg;
};

static inline void script_main(struct task *t, void *arg) {
    struct script *script = arg;
    script->fn(t, script->arg);
    workers_stop(task_worker(t)->all);
}

static inline void run_script_limited(unsigned n, struct worker_limits limits, task_fn *fn,
                                      void *arg) {
    struct workers *all = NULL;
    struct script script = { fn, arg };
    assert_null(workers_start(n, limits, (struct worker_hooks){ 0 }, &all));
    assert_non_null(task_spawn(workers_control(all), script_main, &script));
    workers_run(all);
    workers_free(all);
}

static inline void run_script(unsigned n, task_fn *fn, void *arg) {
    run_script_limited(n, (struct worker_limits){ 0 }, fn, arg);
}

/* The kind of e, or -1 for OK. */
static inline int kind_of(err_t e) {
    return e ? (int)e->kind : -1;
}
#define KIND_OK (-1)
