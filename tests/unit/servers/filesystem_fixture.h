/* filesystem_fixture.h - a filesystem server over a folder of its own, for tests.
 *
 * `folder`/root is the root "root" (also under `inside`), `folder`/outside is what nobody may
 * reach. Texts of JSON use ' for ". */
#pragma once
#include "base/log.h"
#include "base/mem.h"
#include "servers/filesystem/filesystem_server.h"
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define ALL "'allowed_operations':['read','write','list','delete','move','copy']"
#define SECRET "the secret of the outside"

static void *self;
static struct arena arena;
static char folder[64];

static const char *at(const char *format, ...) __attribute__((format(printf, 1, 2)));
static const char *at(const char *format, ...) {
    va_list args;
    va_start(args, format);
    struct str rest = arena_vfmt(&arena, format, args);
    va_end(args);
    return arena_text(&arena, arena_fmt(&arena, "%s/%.*s", folder, STR(rest)));
}

static void put_bytes(const char *path, const void *bytes, size_t n) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, n), n);
    close(fd);
}

static void put_file(const char *path, const char *text) {
    put_bytes(path, text, strlen(text));
}

/* NUL-terminated; NULL when there is no such file. */
static const char *get_file(const char *path) {
    SCOPED(buf_done) struct buf b = { 0 };
    int fd = open(path, O_RDONLY);
    if (fd < 0)
        return NULL;
    for (ssize_t n = 1; n > 0; b.n += n > 0 ? (size_t)n : 0) {
        buf_reserve(&b, 65536);
        n = read(fd, b.p + b.n, 65536);
    }
    close(fd);
    return arena_text(&arena, buf_view(&b));
}

static json parse(const char *quoted) {
    json v = NULL;
    char *text = arena_text(&arena, str_of(quoted));
    for (char *c = text; *c; c++)
        *c = *c == '\'' ? '"' : *c;
    err_t e = json_parse(&arena, str_of(text), (struct json_limits){ 0 }, &v);
    if (e)
        fail_msg("%s: %s", quoted, e->text);
    return v;
}

static err_t try_open(const char *options) {
    void *conf = arena_zero(&arena, filesystem_server.options_size);
    struct field_problems problems = { .arena = &arena };
    field_defaults(filesystem_server.options, filesystem_server.option_count, conf, &arena);
    field_read(filesystem_server.options, filesystem_server.option_count, parse(options), S(""),
               conf, &arena, &problems);
    TRY(field_problems_err(&problems));
    struct server_env env = { .name = S("filesystem"), .data_dir = str_of(at("data")) };
    return filesystem_server.open(conf, &env, &self);
}

static void reopen(const char *options) {
    if (self)
        filesystem_server.close(self);
    self = NULL;
    err_t e = try_open(options);
    if (e)
        fail_msg("%s", e->text);
}

/* The root with these options beside its path. */
static void open_with(const char *more) {
    const char *path = at("root");
    reopen(
        arena_text(&arena, arena_fmt(&arena, "{'roots':{'root':{'path':'%s'}},%s}", path, more)));
}

static int set_up(void **state) {
    arena_init(&arena, NULL, 0);
    strcpy(folder, "/tmp/gatespan-files-XXXXXX");
    assert_non_null(mkdtemp(folder));
    assert_int_equal(mkdir(at("root"), 0755), 0);
    assert_int_equal(mkdir(at("outside"), 0755), 0);
    put_file(at("outside/secret"), SECRET);
    signal(SIGXFSZ, SIG_IGN);
    open_with(ALL);
    return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *f) {
    return remove(path);
}

static int tear_down(void **state) {
    if (self)
        filesystem_server.close(self);
    self = NULL;
    nftw(folder, remove_one, 32, FTW_DEPTH | FTW_PHYS);
    arena_done(&arena);
    return 0;
}

static const char *compact(json v) {
    SCOPED(buf_done) struct buf out = { 0 };
    json_write(&out, v);
    return arena_text(&arena, buf_view(&out));
}

static json call_raw(const char *tool, struct str arguments) {
    SCOPED(buf_done) struct buf out = { 0 };
    struct call_ctx c = { .arena = &arena };
    bool failed;
    json answer = NULL;
    server_call(&filesystem_server, self, &c, str_of(tool), arguments, &out, &failed);
    err_t e = json_parse(&arena, arena_dup(&arena, buf_view(&out)),
                         (struct json_limits){ .depth = 100 }, &answer);
    if (e || failed)
        fail_msg("%s: %s", tool, buf_text(&out));
    return answer;
}

static json call(const char *tool, const char *quoted) {
    return call_raw(tool, str_of(compact(parse(quoted))));
}

static json result_of(const char *tool, const char *quoted) {
    json answer = call(tool, quoted);
    if (json_get(answer, S("isError")))
        fail_msg("%s %s: %s", tool, quoted, compact(answer));
    return json_get(answer, S("structuredContent"));
}

static const char *text_of(json answer) {
    return arena_text(&arena, json_get_text(json_at(json_get(answer, S("content")), 0), S("text")));
}

static const char *member(json object, const char *key) {
    return arena_text(&arena, json_get_text(object, str_of(key)));
}

static void assert_error(const char *tool, const char *quoted, const char *want) {
    json answer = call(tool, quoted);
    if (!json_get(answer, S("isError")))
        fail_msg("%s took %s: %s", tool, quoted, compact(answer));
    if (!strstr(text_of(answer), want))
        fail_msg("%s %s: \"%s\" lacks \"%s\"", tool, quoted, text_of(answer), want);
}
#define INT_OF(object, key) ((int)strtol(member(object, key), NULL, 10))
#define IS_TRUE(object, key) (strcmp(compact(json_get(object, S(key))), "true") == 0)
