/* warden.c - the gateway's side of the warden; see warden.h.
 *
 * Any worker writes to the socket, under one lock and without waiting; what the socket
 * does not take is queued and written by the control worker, which also reads every
 * answer and forwards it by mail to the worker that asked. A job is what is known of a
 * child here. It is in the table from the request to the end of the child; then only its
 * last mail holds it. */
#include "run/warden.h"

#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "run/warden_process.h"
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define DEFAULT_CHILDREN 256
#define START_MS 10000                 /* for the first warden to say hello */
#define LATE_GRACE (1 * NANOS_SEC)     /* for a child that nobody waits for any more */
#define STOP_PATIENCE (5 * NANOS_SEC)  /* beyond the grace; then the kernel holds something */

enum news { NEWS_ANSWER = 1, NEWS_END = 2 };

struct job {
    struct mail mail; /* first: a mail is its job */
    struct job *next; /* in a list of lost ones */
    struct warden *warden;
    struct worker *home;
    child_end_fn *on_end;
    void *arg;
    uint64_t id;

    /* under the warden's lock */
    unsigned news;        /* not delivered yet */
    bool posted;          /* the mail is on its way */
    bool sent, answered;  /* the request left; its answer came */
    bool failed;          /* the answer is `error`, else `child` */
    struct err error;
    struct child child;
    struct child_end end;

    /* the home worker's own */
    struct event event;
    bool taken, abandoned, ended; /* by its task; the end was delivered */
};

/* A message that the socket did not take. */
struct outgoing {
    struct outgoing *next;
    uint64_t spawns; /* the job it starts, or 0 */
    size_t n;
    char bytes[];
};

struct warden {
    pthread_mutex_t lock;
    pid_t keeper;
    int keeper_fd, fd; /* -1: gone; without a warden requests are queued for the next one */
    bool stopped;
    struct idmap jobs;
    struct outgoing *first, *last;
    uint64_t last_id;
    unsigned limit;
    struct warden_stats stats;

    struct worker *control;     /* NULL: not attached */
    uv_poll_t *poll, *keeper_poll;
    struct mail flush;          /* asks the control worker to write the queue */
    bool flush_posted;
    struct wire_message in;     /* the control worker's */
};

/* --- jobs --- */

static void close_child(struct child *c) {
    int *fds[] = { &c->in, &c->out, &c->err };
    for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
        if (*fds[i] >= 0)
            close(*fds[i]);
        *fds[i] = -1;
    }
}

/* Ends in the same stroke a child that nobody took. */
static void job_free(struct job *job) {
    if (!job->taken)
        close_child(&job->child);
    free(job);
}

static void job_deliver(struct worker *here, struct mail *m) {
    struct job *job = (struct job *)m;
    pthread_mutex_lock(&job->warden->lock);
    unsigned news = job->news;
    job->news = 0;
    job->posted = false;
    pthread_mutex_unlock(&job->warden->lock);
    if (job->abandoned) {
        job_free(job);
        return;
    }
    if (news & NEWS_ANSWER)
        event_set(&job->event);
    if (news & NEWS_END)
        job->ended = true;
    if (!job->ended || !job->taken)
        return; /* the task that asked has not looked yet: it sends the mail again */
    job->on_end(here, &job->end, job->arg);
    job_free(job);
}

/* Under the lock. A worker that has stopped has no task left that could want to know. */
static void job_post(struct job *job, enum news news) {
    job->news |= news;
    if (job->posted)
        return;
    job->posted = true;
    if (worker_post(job->home, &job->mail))
        return;
    idmap_del(&job->warden->jobs, job->id);
    job_free(job);
}

static void job_fail(struct job *job, enum err_kind kind, struct str text) {
    idmap_del(&job->warden->jobs, job->id);
    job->answered = job->failed = true;
    job->error.kind = kind;
    snprintf(job->error.text, sizeof(job->error.text), "%.*s", STR(text));
    job_post(job, NEWS_ANSWER);
}

static void job_end(struct job *job, struct child_end end) {
    idmap_del(&job->warden->jobs, job->id);
    job->end = end;
    job->end.id = job->id;
    job_post(job, NEWS_END);
}

/* --- writing; under the lock --- */

static void mark_sent(struct warden *w, uint64_t spawns) {
    struct job *job = spawns ? idmap_get(&w->jobs, spawns) : NULL;
    if (job)
        job->sent = true;
}

static void flush_queue(struct warden *w) {
    struct outgoing *o;
    while (w->fd >= 0 && (o = w->first) && wire_send(w->fd, o->bytes, o->n, NULL, 0) == 0) {
        mark_sent(w, o->spawns);
        w->first = o->next;
        free(o);
    }
    if (!w->first)
        w->last = NULL;
}

static void queue_message(struct warden *w, const void *bytes, size_t n, uint64_t spawns) {
    struct outgoing *o = mem_alloc(sizeof(*o) + n);
    *o = (struct outgoing){ .spawns = spawns, .n = n };
    memcpy(o->bytes, bytes, n);
    if (w->last)
        w->last->next = o;
    else
        w->first = o;
    w->last = o;
}

static void send_message(struct warden *w, const void *bytes, size_t n, uint64_t spawns) {
    if (!w->first && w->fd >= 0 && wire_send(w->fd, bytes, n, NULL, 0) == 0) {
        mark_sent(w, spawns);
        return;
    }
    queue_message(w, bytes, n, spawns);
    if (w->control && !w->flush_posted)
        w->flush_posted = worker_post(w->control, &w->flush);
}

static void send_order(struct warden *w, enum wire_type type, uint64_t id, int64_t a) {
    struct wire_head head = { .size = sizeof(head), .type = type, .id = id, .a = a };
    if (w->fd >= 0 || w->keeper_fd >= 0)
        send_message(w, &head, sizeof(head), 0);
}

static void unqueue_spawn(struct warden *w, uint64_t id) {
    struct outgoing *kept = NULL, *last = NULL;
    for (struct outgoing *o = w->first, *next; o; o = next) {
        next = o->next;
        o->next = NULL;
        if (o->spawns == id) {
            free(o);
            continue;
        }
        if (last)
            last->next = o;
        else
            kept = o;
        last = o;
    }
    w->first = kept;
    w->last = last;
}

static void drop_queue(struct warden *w) {
    for (struct outgoing *o; (o = w->first);) {
        w->first = o->next;
        free(o);
    }
    w->last = NULL;
}

/* --- answers; under the lock --- */

/* Three descriptors or none: a process that has no room for them gets fewer. */
static void on_spawned(struct warden *w, struct wire_head head, const int fds[WIRE_FDS], size_t n) {
    struct child child = { head.id, (pid_t)head.a, fds[0], fds[1], fds[2] };
    struct job *job = idmap_get(&w->jobs, head.id);
    if (job && n == WIRE_FDS) {
        w->stats.spawned++;
        job->answered = true;
        job->child = child;
        job_post(job, NEWS_ANSWER);
        return;
    }
    close_child(&child);
    send_order(w, WIRE_END, head.id, n == WIRE_FDS ? LATE_GRACE : 0);
    if (job)
        job_fail(job, ERR_LIMITED, S("no descriptors left for its pipes"));
}

static void on_answer(struct warden *w, const struct wire_message *m, const int fds[WIRE_FDS],
                      size_t fd_count) {
    struct wire_head head = m->head;
    if (head.type == WIRE_SPAWNED) {
        on_spawned(w, head, fds, fd_count);
        return;
    }
    for (size_t i = 0; i < fd_count; i++)
        close(fds[i]);
    struct job *job = idmap_get(&w->jobs, head.id);
    if (job && head.type == WIRE_REFUSED)
        job_fail(job, (enum err_kind)head.a, str_from(m->body, head.size - sizeof(head)));
    if (job && head.type == WIRE_EXITED)
        job_end(job, (struct child_end){ .signalled = head.a != 0, .code = (int)head.b });
}

/* --- the warden's death; under the lock --- */

static bool can_restart(const struct warden *w) {
    return w->keeper_fd >= 0 && !w->stopped;
}

static struct job *take_lost(struct warden *w) {
    struct job *lost = NULL, *job;
    uint64_t id;
    for (size_t at = 0; idmap_next(&w->jobs, &at, &id, (void **)&job);)
        if (job->sent || !can_restart(w)) {
            job->next = lost;
            lost = job;
        }
    return lost;
}

/* What was not asked yet waits for the next warden, if there can be one. */
static void lose_children(struct warden *w) {
    for (struct job *job = take_lost(w), *next; job; job = next) {
        next = job->next; /* a post may free it */
        if (job->answered)
            job_end(job, (struct child_end){ .signalled = true, .code = SIGKILL,
                                             .warden_lost = true });
        else
            job_fail(job, ERR_UNAVAILABLE, S("the process that starts children is gone"));
    }
    if (!can_restart(w))
        drop_queue(w);
}

static void free_poll(uv_handle_t *handle) {
    free(handle);
}

static void close_poll(uv_poll_t **poll) {
    if (*poll)
        uv_close((uv_handle_t *)*poll, free_poll);
    *poll = NULL;
}

static void close_warden(struct warden *w) {
    if (w->fd < 0)
        return;
    if (!w->stopped)
        log_error("warden died and its children with it", F("pid", w->stats.pid),
                  F("children", w->jobs.count));
    close_poll(&w->poll);
    close(w->fd);
    w->fd = -1;
    w->stats.pid = 0;
    lose_children(w);
}

static void close_keeper(struct warden *w) {
    if (w->keeper_fd < 0)
        return;
    if (!w->stopped)
        log_error("keeper died: a warden that dies from now on is not replaced",
                  F("pid", w->keeper));
    close_poll(&w->keeper_poll);
    close(w->keeper_fd);
    w->keeper_fd = -1;
    if (w->fd < 0)
        lose_children(w);
}

/* --- reading: the control worker --- */

/* False when nothing is left to read. */
static bool read_answer(struct warden *w) {
    int fds[WIRE_FDS];
    size_t fd_count;
    int n = w->fd < 0 ? -EAGAIN : wire_receive(w->fd, MSG_DONTWAIT, &w->in, fds, &fd_count);
    if (n == -EAGAIN || n == -EBADMSG)
        return n == -EBADMSG;
    if (n == 1)
        on_answer(w, &w->in, fds, fd_count);
    else
        close_warden(w);
    return n == 1;
}

static void read_answers(struct warden *w) {
    while (read_answer(w))
        ;
}

static void watch(struct warden *w);

/* The keeper sends a new one only after the old one's death: its last words come first. */
static void adopt_warden(struct warden *w, struct wire_head hello, int fd) {
    read_answers(w);
    close_warden(w);
    w->fd = fd;
    w->stats.pid = (pid_t)hello.a;
    w->stats.cgroups = hello.b != 0;
    w->stats.restarts++;
    log_warn("warden started anew", F("pid", w->stats.pid));
    flush_queue(w);
    watch(w);
}

static void read_keeper(struct warden *w) {
    int fds[WIRE_FDS], n = 1;
    size_t fd_count;
    while (w->keeper_fd >= 0 && n == 1) {
        n = wire_receive(w->keeper_fd, MSG_DONTWAIT, &w->in, fds, &fd_count);
        if (n == 1 && w->in.head.type == WIRE_HELLO && fd_count == 1)
            adopt_warden(w, w->in.head, fds[0]);
        else if (n != -EAGAIN)
            close_keeper(w);
    }
}

static void on_poll(uv_poll_t *poll, int status, int events) {
    struct warden *w = poll->data;
    struct worker *here = w->control;
    worker_now(here);
    pthread_mutex_lock(&w->lock);
    if (poll == w->keeper_poll) {
        read_keeper(w);
    } else {
        flush_queue(w);
        read_answers(w);
        watch(w);
    }
    pthread_mutex_unlock(&w->lock);
    worker_run_ready(here);
}

static uv_poll_t *open_poll(struct warden *w, int fd) {
    uv_poll_t *poll = NEW(uv_poll_t);
    int code = uv_poll_init(&w->control->loop, poll, fd);
    assert(code == 0); /* a socket of ours that nobody watches yet */
    (void)code;
    poll->data = w;
    return poll;
}

/* Whatever is open is watched; for writing while something is queued. */
static void watch(struct warden *w) {
    if (!w->control || w->stopped)
        return;
    if (w->keeper_fd >= 0 && !w->keeper_poll) {
        w->keeper_poll = open_poll(w, w->keeper_fd);
        uv_poll_start(w->keeper_poll, UV_READABLE, on_poll);
    }
    if (w->fd < 0)
        return;
    if (!w->poll)
        w->poll = open_poll(w, w->fd);
    uv_poll_start(w->poll, UV_READABLE | (w->first ? UV_WRITABLE : 0), on_poll);
}

static void on_flush(struct worker *control, struct mail *m) {
    struct warden *w = (struct warden *)((char *)m - offsetof(struct warden, flush));
    pthread_mutex_lock(&w->lock);
    w->flush_posted = false;
    flush_queue(w);
    watch(w);
    pthread_mutex_unlock(&w->lock);
}

/* --- starting --- */

static err_t absolute(const char *cwd, char *out, size_t size) {
    char here[1024] = "";
    if (*cwd != '/' && !getcwd(here, sizeof(here)))
        return err_errno(errno, "working directory");
    int n = snprintf(out, size, "%s%s%s", here, *cwd == '/' ? "" : "/", cwd);
    return n < (int)size ? OK : ERR(INVALID, "data directory %.64s…: path too long", cwd);
}

static err_t fork_keeper(struct warden *w, struct warden_setup *setup) {
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
        return err_errno(errno, "socket of the warden");
    w->keeper = fork();
    if (w->keeper == 0)
        keeper_run(pair[1], setup);
    int number = errno;
    close(pair[1]);
    w->keeper_fd = pair[0];
    return w->keeper > 0 ? OK : err_errno(number, "starting the warden");
}

static err_t await_hello(struct warden *w) {
    int fds[WIRE_FDS];
    size_t fd_count;
    struct pollfd p = { .fd = w->keeper_fd, .events = POLLIN };
    int ready;
    do
        ready = poll(&p, 1, START_MS);
    while (ready < 0 && errno == EINTR);
    int n = ready == 1 ? wire_receive(w->keeper_fd, MSG_DONTWAIT, &w->in, fds, &fd_count) : 0;
    if (n != 1 || w->in.head.type != WIRE_HELLO || fd_count != 1)
        return ERR(UNAVAILABLE, "the warden did not start");
    w->fd = fds[0];
    w->stats.pid = (pid_t)w->in.head.a;
    w->stats.cgroups = w->in.head.b != 0;
    return OK;
}

err_t warden_start(const char *cwd, struct warden **out) {
    static struct warden_setup setup;
    TRY(absolute(cwd, setup.cwd, sizeof(setup.cwd)));
    getrlimit(RLIMIT_NOFILE, &setup.files);
    struct warden *w = NEW(struct warden);
    pthread_mutex_init(&w->lock, NULL);
    w->fd = w->keeper_fd = -1;
    w->limit = DEFAULT_CHILDREN;
    w->flush.deliver = on_flush;
    err_t e = fork_keeper(w, &setup);
    if (!e)
        e = await_hello(w);
    if (e) {
        warden_free(w);
        return e;
    }
    *out = w;
    return OK;
}

err_t warden_attach(struct warden *w, struct workers *all) {
    pthread_mutex_lock(&w->lock);
    w->control = workers_control(all);
    watch(w);
    pthread_mutex_unlock(&w->lock);
    return OK;
}

void warden_limit(struct warden *w, unsigned children) {
    pthread_mutex_lock(&w->lock);
    w->limit = children < WARDEN_MOST ? children : WARDEN_MOST;
    pthread_mutex_unlock(&w->lock);
}

/* --- stopping --- */

/* One look at everything, waiting at most a while: until the socket has news, takes what
 * is queued, or the keeper ended. */
static void stop_turn(struct warden *w, int keeper_exit, int wait_ms) {
    short events = POLLIN | (w->first ? POLLOUT : 0);
    struct pollfd p[] = { { .fd = w->fd, .events = events },
                          { .fd = w->keeper_fd, .events = POLLIN },
                          { .fd = keeper_exit, .events = POLLIN } };
    poll(p, 3, wait_ms);
    flush_queue(w);
    read_answers(w);
    read_keeper(w);
}

static bool has_exited(struct warden *w) {
    return w->keeper <= 0 || waitpid(w->keeper, NULL, WNOHANG) != 0;
}

/* The keeper exits when the warden did and nothing is left; without a keeper the warden's
 * own end has to do. */
static bool await_end(struct warden *w, nanos until) {
    int keeper_exit = w->keeper > 0 ? pidfd_open(w->keeper, 0) : -1;
    bool ended = false, looked = false;
    for (nanos now = clock_mono(); !ended && (!looked || now < until); now = clock_mono()) {
        nanos left = (until - now) / NANOS_MS;
        stop_turn(w, keeper_exit, left < 0 ? 0 : left > 100 ? 100 : (int)left + 1);
        if (w->fd < 0 && w->keeper_fd >= 0)
            shutdown(w->keeper_fd, SHUT_RDWR); /* it must not start another */
        ended = w->fd < 0 && has_exited(w);
        looked = true;
    }
    if (keeper_exit >= 0)
        close(keeper_exit);
    return ended;
}

void warden_stop(struct warden *w, nanos grace) {
    if (!w || w->stopped)
        return;
    pthread_mutex_lock(&w->lock);
    close_poll(&w->poll);
    close_poll(&w->keeper_poll);
    w->stopped = true;
    send_order(w, WIRE_STOP, 0, grace);
    if (!await_end(w, clock_mono() + grace + STOP_PATIENCE))
        log_error("children do not end: the kernel holds them", F("children", w->jobs.count));
    close_warden(w);
    close_keeper(w);
    lose_children(w);
    pthread_mutex_unlock(&w->lock);
}

void warden_free(struct warden *w) {
    if (!w)
        return;
    warden_stop(w, 0);
    drop_queue(w);
    idmap_done(&w->jobs);
    pthread_mutex_destroy(&w->lock);
    free(w);
}

/* --- requests --- */

static struct job *job_new(struct task *t, struct warden *w, child_end_fn *on_end, void *arg) {
    struct job *job = NEW(struct job);
    job->mail.deliver = job_deliver;
    job->warden = w;
    job->home = task_worker(t);
    job->on_end = on_end;
    job->arg = arg;
    job->child.in = job->child.out = job->child.err = -1;
    return job;
}

/* Under the lock. */
static err_t check_room(struct warden *w) {
    if (w->stopped)
        return ERR(UNAVAILABLE, "the gateway is stopping");
    if (w->fd < 0 && w->keeper_fd < 0)
        return ERR(UNAVAILABLE, "the warden died and cannot be replaced; restart gatespan");
    if (w->jobs.count >= w->limit)
        return ERR(LIMITED, "%zu children are running, that is the limit", w->jobs.count);
    return OK;
}

static err_t job_ask(struct job *job, const struct spawn_request *request) {
    struct warden *w = job->warden;
    SCOPED(buf_done) struct buf message = { 0 };
    job->id = __atomic_add_fetch(&w->last_id, 1, __ATOMIC_RELAXED);
    TRY(wire_put_spawn(&message, job->id, request));
    pthread_mutex_lock(&w->lock);
    err_t e = check_room(w);
    if (!e) {
        idmap_put(&w->jobs, job->id, job);
        send_message(w, message.p, message.n, job->id);
    }
    pthread_mutex_unlock(&w->lock);
    return e;
}

/* The task will not take the answer. A child that is there or still to come is ended: an
 * answer without a job is (on_spawned). */
static void job_abandon(struct job *job) {
    struct warden *w = job->warden;
    pthread_mutex_lock(&w->lock);
    idmap_del(&w->jobs, job->id);
    if (!job->sent)
        unqueue_spawn(w, job->id);
    if (job->answered && !job->failed)
        send_order(w, WIRE_END, job->id, LATE_GRACE);
    job->abandoned = true;
    bool mail_frees = job->posted;
    pthread_mutex_unlock(&w->lock);
    if (!mail_frees)
        job_free(job);
}

/* The end may have come with the answer; it is delivered after the caller had its turn. */
static void job_take(struct job *job, struct child *out) {
    struct warden *w = job->warden;
    *out = job->child;
    pthread_mutex_lock(&w->lock);
    job->taken = true; /* read by whoever finds this worker stopped (job_post) */
    if (job->ended)
        job_post(job, NEWS_END);
    pthread_mutex_unlock(&w->lock);
}

err_t warden_spawn(struct task *t, struct warden *w, const struct spawn_request *request,
                   child_end_fn *on_end, void *arg, struct child *out) {
    struct job *job = job_new(t, w, on_end, arg);
    err_t e = job_ask(job, request);
    if (e) {
        job_free(job);
        return err_wrap(e, "starting %.*s", STR(request->name));
    }
    e = event_wait(t, &job->event);
    if (e) {
        job_abandon(job);
        return err_wrap(e, "starting %.*s", STR(request->name));
    }
    if (job->failed) {
        e = err_again(&job->error);
        job_free(job);
        return err_wrap(e, "starting %.*s", STR(request->name));
    }
    job_take(job, out);
    log_info("child started", F("name", request->name), F("command", request->argv[0]),
             F("pid", out->pid));
    return OK;
}

void warden_signal(struct warden *w, uint64_t id, int signal) {
    pthread_mutex_lock(&w->lock);
    send_order(w, WIRE_SIGNAL, id, signal);
    pthread_mutex_unlock(&w->lock);
}

void warden_end(struct warden *w, uint64_t id, nanos grace) {
    pthread_mutex_lock(&w->lock);
    send_order(w, WIRE_END, id, grace);
    pthread_mutex_unlock(&w->lock);
}

struct warden_stats warden_stats(struct warden *w) {
    pthread_mutex_lock(&w->lock);
    struct warden_stats stats = w->stats;
    stats.children = (unsigned)w->jobs.count;
    pthread_mutex_unlock(&w->lock);
    return stats;
}
