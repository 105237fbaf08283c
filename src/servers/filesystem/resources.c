/* resources.c - files as resources: file:///ROOT/PATH.
 *
 * The list is an index of at most `resources` files, made anew whenever it is asked for from
 * the start; the walk that makes it also has each directory watched, and removes temporary
 * files that a killed process left behind. Any file can be read, listed or not. */
#include "base/crypto.h"
#include "base/log.h"
#include "base/mem.h"
#include "servers/filesystem/beneath.h"
#include "servers/filesystem/text.h"
#include "servers/filesystem/walk.h"
#include "servers/filesystem/watch.h"

enum { PAGE = 5000, MOST_VALUES = 100 };

/* ---- listing ----------------------------------------------------------------------- */

struct indexing {
    struct call_ctx *ctx;
    struct fs *fs;
    size_t root, from, most; /* resources passed over; the end of the page */
    size_t n;
    nanos end;  /* monotonic: a slow disk makes the list short, not late */
    bool more;
    struct jw *w;
};

static void on_open(void *arg, int dir, struct str rest) {
    struct indexing *x = arg;
    if (x->from == 0)
        fs_watch_add(x->fs->watch, x->root, rest, dir);
}

static void put_resource(struct jw *w, struct str root, const struct walk_entry *e) {
    SCOPED(buf_done) struct buf uri = { 0 };
    path_put_uri(&uri, root, e->rest);
    jw_object(w);
    jw_put_string(w, "uri", buf_view(&uri));
    jw_put_string(w, "name", str_of(e->name));
    jw_put_string(w, "title", e->rest);
    jw_put_string(w, "mimeType", path_mime(str_of(e->name)));
    jw_object_end(w);
}

static void add_file(struct indexing *x, const struct walk_entry *e) {
    size_t at = x->n++;
    if (at >= x->from && at < x->most)
        put_resource(x->w, x->fs->roots[x->root].name, e);
    x->more |= at >= x->most;
}

/* What the list does not hold is walked all the same, for the watch. */
static err_t index_root(struct indexing *x, const bool *cancelled) {
    const struct fs_options *o = x->fs->options;
    const struct fs_place place = { &x->fs->roots[x->root], S("") };
    struct walk_entry e;
    int fd;
    TRY(beneath_dir(x->fs, "resources", &place, &fd));
    SCOPED(walk_scope)
    struct walk *w = walk_new(x->fs, fd, S(""), (size_t)o->max_scan, (unsigned)o->max_depth);
    w->on_open = on_open;
    w->arg = x;
    w->clean = !place.root->read_only;
    while (walk_next(w, &e)) {
        if (work_cancelled(cancelled))
            return ERR(CANCELLED, "listing files was cancelled");
        if (clock_mono() > x->end) {
            fs_watch_cut(x->fs->watch);
            break;
        }
        if (S_ISREG(e.type) && json_is_utf8(e.rest) && x->n < (size_t)o->resources)
            add_file(x, &e);
    }
    return OK;
}

static err_t index_all(void *arg, const bool *cancelled) {
    struct indexing *x = arg;
    nanos began = clock_mono();
    x->end = began + x->fs->options->search_time;
    if (x->from == 0)
        fs_watch_begin(x->fs->watch);
    for (x->root = 0; x->root < x->fs->root_count; x->root++) {
        err_t e = index_root(x, cancelled);
        if (e && e->kind == ERR_CANCELLED)
            return e;
        if (e) /* one root that is gone does not take the others with it */
            log_warn("root not listed", F("root", x->fs->roots[x->root].name), F("error", e->text));
    }
    if (x->from == 0)
        fs_watch_end(x->fs->watch, clock_mono() - began);
    return OK;
}

static err_t run(struct call_ctx *c, work_fn *fn, void *arg) {
    static const bool never;
    return c->task ? work_run(c->task, fn, arg) : fn(arg, &never);
}

static err_t list(struct call_ctx *c, void *self, struct str cursor, struct jw *w,
                  struct str *next) {
    struct fs *fs = self;
    uint64_t from = 0;
    if (cursor.n && (!str_to_u64(cursor, &from) || from > (uint64_t)fs->options->resources))
        return ERR(INVALID, "cursor: is not one of this list");
    struct indexing x = {
        .ctx = c, .fs = fs, .from = (size_t)from, .most = (size_t)from + PAGE, .w = w
    };
    TRY(run(c, index_all, &x));
    if (x.more)
        *next = arena_fmt(c->arena, "%zu", x.most);
    return OK;
}

static err_t templates(struct call_ctx *c, void *self, struct jw *w) {
    jw_object(w);
    jw_put_string(w, "uriTemplate", S("file:///{root}/{+path}"));
    jw_put_string(w, "name", S("file"));
    jw_put_string(w, "title", S("File below a root"));
    jw_put_string(w, "description",
                  S("Any file that this server may read: text as it is, anything else "
                    "as base64. Roots are listed by list_roots."));
    jw_object_end(w);
    return OK;
}

/* ---- reading ----------------------------------------------------------------------- */

struct reading {
    struct call_ctx *ctx;
    struct fs *fs;
    struct str uri;
    struct jw *w;
};

static void put_content(struct reading *r, struct str name, struct str bytes) {
    const char *other = text_is_not(bytes);
    jw_object(r->w);
    jw_put_string(r->w, "uri", r->uri);
    jw_put_string(r->w, "mimeType", path_sniff(bytes, path_mime(name)));
    if (!other) {
        jw_put_string(r->w, "text", bytes);
    } else {
        jw_key(r->w, S("blob"));
        buf_char(r->w->out, '"');
        base64_put(r->w->out, bytes.p, bytes.n);
        buf_char(r->w->out, '"');
        r->w->comma = true;
    }
    jw_object_end(r->w);
}

static err_t read_now(void *arg, const bool *cancelled) {
    struct reading *r = arg;
    struct fs_place place;
    struct stat st;
    struct str plain;
    SCOPED(fd_scope) int fd = -1;
    SCOPED(buf_done) struct buf bytes = { 0 };
    if (!path_from_uri(r->ctx->arena, r->uri, &plain))
        return ERR(NOT_FOUND, "uri: is none of file:///ROOT/PATH");
    TRY(fs_locate(r->fs, r->ctx->arena, "uri", r->uri, &place));
    TRY(beneath_file(r->fs, "uri", &place, &fd, &st));
    TRY(text_load(fd, "uri", &st, r->fs->options->max_media, &bytes));
    put_content(r, path_leaf(place.rest), buf_view(&bytes));
    return OK;
}

static err_t read_one(struct call_ctx *c, void *self, struct str uri, struct jw *w) {
    struct reading r = { c, self, uri, w };
    return run(c, read_now, &r);
}

/* ---- completion -------------------------------------------------------------------- */

struct completing {
    struct call_ctx *ctx;
    struct fs *fs;
    const struct server_completion *ask;
    struct str_list *out;
    size_t *total;
};

static void offer(struct completing *k, struct str value) {
    if (k->out->n < MOST_VALUES)
        k->out->items[k->out->n++] = arena_dup(k->ctx->arena, value);
    ++*k->total;
}

static void offer_roots(struct completing *k) {
    for (size_t i = 0; i < k->fs->root_count; i++)
        if (str_starts(k->fs->roots[i].name, k->ask->value))
            offer(k, k->fs->roots[i].name);
}

static const struct fs_root *root_of(struct completing *k) {
    struct str raw = k->ask->context.p ? json_raw_get(k->ask->context, S("root"))
                                       : (struct str){ 0 };
    struct str name = raw.p && raw.p[0] == '"' ? json_unquote(k->ctx->arena, raw) : S("");
    for (size_t i = 0; i < k->fs->root_count; i++)
        if (str_eq(k->fs->roots[i].name, name))
            return &k->fs->roots[i];
    return name.n || k->fs->root_count > 1 ? NULL : &k->fs->roots[0];
}

/* Names in the directory that the value has come to; directories end with "/". */
static err_t offer_paths(struct completing *k, const struct fs_root *root) {
    SCOPED(level_done) struct walk_level l = { 0 };
    SCOPED(fd_scope) int fd = -1;
    struct str value = k->ask->value, folder = path_parent(value), begun = path_leaf(value), rest;
    bool too_many = false;
    TRY(path_clean(k->ctx->arena, folder, k->fs->options->hidden_files, &rest));
    TRY(beneath_dir(k->fs, "value", &(struct fs_place){ root, rest }, &fd));
    if (!level_read(&l, fd, (size_t)k->fs->options->max_scan, k->fs->options->hidden_files, false,
                    &too_many))
        return OK;
    for (size_t i = 0; i < l.n; i++) {
        unsigned char type;
        const char *name = level_name(&l, i, &type);
        mode_t mode = str_starts(str_of(name), begun) ? type_of(type, fd, name) : 0;
        if (S_ISREG(mode) || S_ISDIR(mode))
            offer(k, arena_fmt(k->ctx->arena, "%.*s%s%s%s", STR(rest), rest.n ? "/" : "", name,
                               S_ISDIR(mode) ? "/" : ""));
    }
    return OK;
}

static err_t complete_now(void *arg, const bool *cancelled) {
    struct completing *k = arg;
    if (str_eq(k->ask->argument, S("root")))
        offer_roots(k);
    const struct fs_root *root = str_eq(k->ask->argument, S("path")) ? root_of(k) : NULL;
    if (root)
        (void)offer_paths(k, root); /* a directory that is not there has no names */
    return OK;
}

static err_t complete(struct call_ctx *c, void *self, const struct server_completion *ask,
                      struct str_list *out, size_t *total) {
    out->items = ARENA_ARRAY(c->arena, struct str, MOST_VALUES);
    struct completing k = { c, self, ask, out, total };
    return run(c, complete_now, &k);
}

const struct server_resources fs_resources = {
    .list = list, .templates = templates, .read = read_one, .complete = complete,
};
