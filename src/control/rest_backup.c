/* rest_backup.c - backup and restore over the API. Archives may be larger than any body, so they
 * go out as a stream, and may come in as the name of a file that was put into the data
 * directory before (gatespan restore does so). */
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "control/backup.h"
#include "control/private.h"
#include "control/rest_routes.h"
#include "control/routes.h"
#include "gateway/refusal.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

enum { STEP = 64 * 1024 };

static struct control *control_of(const struct http_request *r) {
    return r->service->arg;
}

static void refuse(struct task *t, struct http_request *r, err_t e) {
    struct err why = *e;
    visit_refuse(t, r, REFUSE_API, err_status(why.kind), err_word(why.kind), "%s", why.text);
}

/* ---- out --------------------------------------------------------------------------- */

struct reading {
    int fd;
    char *step;
    ssize_t n;
};

static err_t read_step(void *arg, const bool *cancelled) {
    (void)cancelled;
    struct reading *r = arg;
    r->n = read(r->fd, r->step, STEP);
    return r->n < 0 ? err_errno(errno, "reading the archive") : OK;
}

/* A failure in the middle cuts the stream off before its last chunk, so that the client knows. */
static err_t send_archive(struct task *t, struct http_request *r, int fd) {
    const struct http_field fields[] = {
        { S("content-disposition"), S("attachment; filename=\"gatespan-backup.tar\"") },
        { S("cache-control"), S("no-store") } };
    SCOPED(mem_scope) char *step = mem_alloc(STEP);
    struct reading reading = { fd, step, 0 };
    TRY(http_stream_begin(t, r, &(struct http_answer){
        .status = 200, .type = S("application/x-tar"), .fields = fields, .field_count = ARRAY_SIZE(fields) }));
    for (;;) {
        TRY(work_run(t, read_step, &reading));
        if (!reading.n)
            return http_stream_end(t, r);
        struct str piece = str_from(step, (size_t)reading.n);
        TRY(http_stream_write(t, r, &piece, 1));
    }
}

static err_t read_passphrase(struct http_request *r, struct str *out) {
    json document = NULL;
    *out = S("");
    if (!r->body.n)
        return OK;
    TRY_WRAP(json_parse(&r->arena, r->body, (struct json_limits){ 0 }, &document), "the body");
    for (struct json_iter it = json_iter(document); json_next(&it);)
        if (!str_eq(it.key, S("passphrase")))
            return ERR(INVALID, "the body takes a passphrase and nothing else");
    json passphrase = json_get(document, S("passphrase"));
    if (json_type(document) != JSON_OBJECT || (passphrase && !json_is_string(passphrase, out)))
        return ERR(INVALID, "the body is {\"passphrase\": \"…\"}, or empty");
    return passphrase && out->n < 8 ? ERR(INVALID, "a passphrase has at least 8 bytes") : OK;
}

static err_t make_and_open(struct task *t, struct http_request *r, int *fd) {
    struct control *c = control_of(r);
    struct backup_options options;
    TRY(read_passphrase(r, &options.passphrase));
    struct str path = arena_fmt(&r->arena, "%.*s/backup.out-%.*s", STR(c->data), STR(r->id));
    TRY(control_backup(t, c, path, &options));
    const char *name = arena_text(&r->arena, path);
    *fd = open(name, O_RDONLY | O_CLOEXEC);
    int problem = errno;
    unlink(name);
    return *fd < 0 ? err_errno(problem, "reading %s", name) : OK;
}

static void serve_backup(struct task *t, struct http_request *r) {
    int fd = -1;
    err_t e = make_and_open(t, r, &fd);
    if (e) {
        refuse(t, r, e);
        return;
    }
    e = send_archive(t, r, fd);
    if (e)
        log_warn("a backup did not reach its client", F("error", e->text));
    close(fd);
}

/* ---- in ---------------------------------------------------------------------------- */

/* ?file=NAME: of the data directory, and no way out of it. */
static err_t find_file(struct http_request *r, struct str *out) {
    struct str query = r->head->query, name = S("");
    while (query.p) {
        struct str value = str_cut(&query, '&'), key = str_cut(&value, '=');
        if (str_eq(key, S("file")))
            name = value;
        else if (key.n)
            return ERR(INVALID, "the only parameter is file");
    }
    if (!name.n) {
        *out = (struct str){ 0 };
        return OK;
    }
    if (!str_starts(name, S("restore.in-")) || str_find_char(name, '/') >= 0 ||
        str_find_char(name, '%') >= 0)
        return ERR(INVALID, "file names a restore.in-… of the data directory");
    *out = arena_fmt(&r->arena, "%.*s/%.*s", STR(control_of(r)->data), STR(name));
    return OK;
}

struct keeping {
    struct str path, text;
};

static err_t keep_body(void *arg, const bool *cancelled) {
    (void)cancelled;
    const struct keeping *k = arg;
    return file_write(k->path, k->text);
}

static err_t restore(struct task *t, struct http_request *r, struct restore_report *report) {
    struct control *c = control_of(r);
    struct str path;
    TRY(find_file(r, &path));
    if (!path.p && !r->body.n)
        return ERR(INVALID, "the body is the archive, or ?file= names it");
    if (!path.p) {
        path = arena_fmt(&r->arena, "%.*s/restore.in-%.*s", STR(c->data), STR(r->id));
        TRY(work_run(t, keep_body, &(struct keeping){ path, r->body }));
    }
    err_t e = control_restore(t, c, &r->arena, path, S(""), report);
    unlink(arena_text(&r->arena, path));
    return e;
}

static void serve_restore(struct task *t, struct http_request *r) {
    struct restore_report report;
    SCOPED(buf_done) struct buf b = { 0 };
    err_t e = restore(t, r, &report);
    if (e) {
        refuse(t, r, e);
        return;
    }
    struct jw w = jw_init(&b);
    jw_object(&w);
    jw_put_string(&w, "created", report.created);
    jw_put_string(&w, "program", report.program);
    jw_put_string(&w, "kept_aside", report.aside);
    if (report.config.n)
        jw_put_string(&w, "config", report.config);
    jw_object_end(&w);
    struct str piece = buf_view(&b);
    http_respond(t, r, &(struct http_answer){
        .status = 200, .type = S("application/json"), .pieces = &piece, .piece_count = 1 });
}

static const struct route rows[] = {
    { .methods = "POST", .path = "/api/v1/backup", .need = NEED_ADMIN, .id = "backup_make", .serve = serve_backup,
      .media = "application/x-tar", .help = "Everything the gateway knows, as one checksummed archive." },
    { .methods = "POST", .path = "/api/v1/restore", .need = NEED_ADMIN, .id = "backup_restore", .serve = serve_restore, .flags = ROUTE_ARCHIVE,
      .help = "Puts an archive back: all of it is checked before anything changes." },
};
const struct route_table backup_routes = { "backup", rows, ARRAY_SIZE(rows) };
