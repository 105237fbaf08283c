/* watch.c - see watch.h. */
#include "servers/filesystem/watch.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include <errno.h>
#include <stdio.h>
#include <sys/inotify.h>
#include <uv.h>

#define REFRESH (60 * NANOS_SEC)
#define PAUSE (250 * NANOS_MS)
#define BUNCH (50 * NANOS_MS)
#define LONGEST_PAUSE (30 * NANOS_SEC)
#define EVENTS                                                                                     \
    (IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_CLOSE_WRITE | IN_ONLYDIR |           \
     IN_DONT_FOLLOW | IN_EXCL_UNLINK)

struct watched {
    size_t root;
    uint64_t round; /* of the listing that saw it last */
    struct str rest;
    char text[];
};

struct fs_watch {
    const struct fs *fs;
    int fd;
    pthread_mutex_t lock; /* all below */
    struct idmap by_wd;   /* struct watched */
    uint64_t round;
    bool full;            /* some directory is not watched */
    bool told;            /* the log knows */
    nanos took;           /* the last listing */
};

struct fs_watch *fs_watch_new(const struct fs *fs) {
    if (!fs->options->watches || !fs->options->resources)
        return NULL;
    int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (fd < 0) {
        log_warn("files are not watched: lists are refreshed each minute",
                 F("error", strerrordesc_np(errno)),
                 F("remedy", "raise fs.inotify.max_user_instances"));
        return NULL;
    }
    struct fs_watch *w = NEW(struct fs_watch);
    w->fs = fs;
    w->fd = fd;
    pthread_mutex_init(&w->lock, NULL);
    return w;
}

void fs_watch_free(struct fs_watch *w) {
    void *entry;
    if (!w)
        return;
    for (size_t i = 0; idmap_next(&w->by_wd, &i, NULL, &entry);)
        free(entry);
    idmap_done(&w->by_wd);
    close(w->fd);
    pthread_mutex_destroy(&w->lock);
    free(w);
}

/* ---- while the files are listed ---------------------------------------------------- */

void fs_watch_begin(struct fs_watch *w) {
    if (!w)
        return;
    pthread_mutex_lock(&w->lock);
    w->round++;
    w->full = false;
    pthread_mutex_unlock(&w->lock);
}

static struct watched *entry_new(size_t root, struct str rest) {
    struct watched *e = mem_alloc(sizeof *e + rest.n);
    if (rest.n)
        memcpy(e->text, rest.p, rest.n);
    e->root = root;
    e->rest = str_from(e->text, rest.n);
    return e;
}

static void note_full(struct fs_watch *w) {
    w->full = true;
    if (w->told)
        return;
    w->told = true;
    log_warn(
        "not all directories are watched: lists are refreshed each minute",
        F("watched", (int64_t)w->by_wd.count),
        F("remedy", "raise the options watches and search_time, and fs.inotify.max_user_watches"));
}

static void add(struct fs_watch *w, size_t root, struct str rest, int dir) {
    char name[40];
    snprintf(name, sizeof name, "/proc/self/fd/%d", dir);
    /* IN_DONT_FOLLOW would stop at the magic link; it leads to the very directory that is open */
    int wd = inotify_add_watch(w->fd, name, EVENTS & ~(uint32_t)IN_DONT_FOLLOW);
    if (wd < 0) {
        if (errno == ENOSPC || errno == ENOMEM)
            note_full(w);
        return;
    }
    struct watched *e = entry_new(root, rest);
    e->round = w->round;
    free(idmap_put(&w->by_wd, (uint64_t)wd, e));
}

void fs_watch_add(struct fs_watch *w, size_t root, struct str rest, int dir) {
    if (!w)
        return;
    pthread_mutex_lock(&w->lock);
    if (w->by_wd.count < (size_t)w->fs->options->watches)
        add(w, root, rest, dir);
    else
        note_full(w);
    pthread_mutex_unlock(&w->lock);
}

void fs_watch_cut(struct fs_watch *w) {
    if (!w)
        return;
    pthread_mutex_lock(&w->lock);
    note_full(w);
    pthread_mutex_unlock(&w->lock);
}

/* One that is gone, or was moved out of its root. */
static bool drop_one(struct fs_watch *w) {
    uint64_t wd;
    void *value;
    for (size_t i = 0; idmap_next(&w->by_wd, &i, &wd, &value);)
        if (((struct watched *)value)->round != w->round) {
            inotify_rm_watch(w->fd, (int)wd);
            free(idmap_del(&w->by_wd, wd));
            return true;
        }
    return false;
}

void fs_watch_end(struct fs_watch *w, nanos took) {
    if (!w)
        return;
    pthread_mutex_lock(&w->lock);
    while (drop_one(w))
        continue;
    w->took = took;
    pthread_mutex_unlock(&w->lock);
}

/* ---- reading ----------------------------------------------------------------------- */

struct notices {
    struct fs_watch *watch;
    struct server_watcher *watcher;
    bool stale;
};

static void tell_lost(struct notices *n) {
    if (n->watcher && n->watcher->updated)
        n->watcher->updated(n->watcher, S(""));
}

static void tell_updated(struct notices *n, const struct watched *dir, struct str name) {
    SCOPED(buf_done) struct buf rest = { 0 };
    SCOPED(buf_done) struct buf uri = { 0 };
    if (!n->watcher || !n->watcher->updated)
        return;
    buf_fmt(&rest, "%.*s%s%.*s", STR(dir->rest), dir->rest.n ? "/" : "", STR(name));
    path_put_uri(&uri, n->watch->fs->roots[dir->root].name, buf_view(&rest));
    n->watcher->updated(n->watcher, buf_view(&uri));
}

/* Our own temporary files come and go without notice. */
static void take_event(struct notices *n, const struct inotify_event *e) {
    struct str name = str_of(e->len ? e->name : "");
    struct watched *dir = idmap_get(&n->watch->by_wd, (uint64_t)e->wd);
    if (e->mask & (IN_Q_OVERFLOW | IN_UNMOUNT)) {
        n->stale = true;
        tell_lost(n);
        return;
    }
    if (e->mask & IN_IGNORED) {
        free(idmap_del(&n->watch->by_wd, (uint64_t)e->wd));
        return;
    }
    if (!dir || path_is_temp(name) ||
        (!n->watch->fs->options->hidden_files && name.n && name.p[0] == '.'))
        return;
    if (e->mask & (IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO))
        n->stale = true;
    if ((e->mask & (IN_CLOSE_WRITE | IN_MOVED_TO | IN_DELETE | IN_MOVED_FROM)) &&
        !(e->mask & IN_ISDIR))
        tell_updated(n, dir, name);
}

/* Bounded: whatever comes after so many reads is for the next turn. */
static void drain(struct notices *n) {
    char room[2048] __attribute__((aligned(__alignof__(struct inotify_event))));
    for (int i = 0; i < 256; i++) {
        ssize_t got = read(n->watch->fd, room, sizeof room);
        if (got <= 0)
            return;
        pthread_mutex_lock(&n->watch->lock);
        for (char *at = room; at < room + got;) {
            const struct inotify_event *e = (const void *)at;
            take_event(n, e);
            at += sizeof *e + e->len;
        }
        pthread_mutex_unlock(&n->watch->lock);
    }
}

/* ---- waiting ----------------------------------------------------------------------- */

/* Heap-owned until libuv let go of it. */
struct poll {
    uv_poll_t handle;
    struct event *event; /* NULL when nobody waits any more */
    struct worker *worker;
};

static void on_event(uv_poll_t *handle, int status, int events) {
    struct poll *p = (struct poll *)handle;
    uv_poll_stop(handle);
    if (p->event)
        event_set(p->event);
    worker_run_ready(p->worker);
}

static void on_closed(uv_handle_t *handle) {
    free(handle);
}

static void poll_scope(struct poll **p) {
    if (!*p)
        return;
    (*p)->event = NULL;
    uv_close((uv_handle_t *)&(*p)->handle, on_closed);
}

static err_t poll_new(struct task *t, int fd, struct event *event, struct poll **out) {
    struct poll *p = NEW(struct poll);
    int why = uv_poll_init(&task_worker(t)->loop, &p->handle, fd);
    if (why) {
        free(p);
        return ERR(UNAVAILABLE, "watching files: %s", uv_strerror(why));
    }
    p->event = event;
    p->worker = task_worker(t);
    *out = p;
    return OK;
}

static bool is_full(struct fs_watch *w) {
    pthread_mutex_lock(&w->lock);
    bool full = w->full;
    pthread_mutex_unlock(&w->lock);
    return full;
}

/* So long that listing takes a tenth of the time at most. */
static nanos pause_of(struct fs_watch *w) {
    pthread_mutex_lock(&w->lock);
    nanos pause = 10 * w->took;
    pthread_mutex_unlock(&w->lock);
    return pause < PAUSE ? PAUSE : pause > LONGEST_PAUSE ? LONGEST_PAUSE : pause;
}

/* One turn: waits for notices, takes them. Whoever writes all the time is told of in bunches. */
static err_t take_notices(struct task *t, struct notices *n, struct event *event, struct poll *p) {
    uv_poll_start(&p->handle, UV_READABLE, on_event);
    TRY(event_wait(t, event));
    drain(n);
    return task_sleep(t, BUNCH);
}

/* Before the list is made again; notices are taken meanwhile. */
static err_t rest_a_while(struct task *t, struct notices *n, struct event *event, struct poll *p) {
    nanos pause = pause_of(n->watch), end = task_now(t) + pause;
    SCOPED(deadline_scope) struct deadline until = deadline_push(t, pause);
    for (;;) {
        err_t e = take_notices(t, n, event, p);
        if (e)
            return e->kind == ERR_TIMEOUT && task_now(t) >= end ? OK : e;
    }
}

static err_t wait_for_notice(struct task *t, struct notices *n, struct event *event,
                             struct poll *p) {
    while (!n->stale)
        TRY(take_notices(t, n, event, p));
    return rest_a_while(t, n, event, p);
}

err_t fs_watch_wait(struct task *t, void *self, struct server_watcher *watcher) {
    struct fs *fs = self;
    struct event event = { 0 };
    if (!fs->watch)
        return fs->options->resources ? task_sleep(t, REFRESH) : event_wait(t, &event);
    struct notices n = { fs->watch, watcher, false };
    SCOPED(poll_scope) struct poll *p = NULL;
    TRY(poll_new(t, fs->watch->fd, &event, &p));
    nanos before = task_deadline(t);
    SCOPED(deadline_scope)
    struct deadline refresh = deadline_push(t, is_full(fs->watch) ? REFRESH
                                                                  : 365 * 24 * 3600 * NANOS_SEC);
    err_t e = wait_for_notice(t, &n, &event, p);
    bool due = e && e->kind == ERR_TIMEOUT && before > task_now(t);
    return due ? OK : e;
}
