/* Real servers as child processes under a real warden (PROTOCOL §3.3, §5.1). Each test runs in
 * a forked gateway, because the warden is started before threads exist, and most run twice:
 * called from the home worker and from another one. The test process is a child subreaper: it
 * sees by itself whether a process was left; descriptors and memory are counted in the gateway.
 * Nothing waits for time; an alarm ends what hangs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "base/log.h"
#include "base/mem.h"
#include "gateway/metrics.h"
#include "gateway/stdio_child.h"
#include "gateway/upstream.h"
#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* In a forked gateway a failing assertion must end that process, not return to cmocka. */
#define CHECK(claim)                                                                               \
    do {                                                                                           \
        if (!(claim)) {                                                                            \
            dprintf(2, "%s:%d: not true: %s\n", __FILE__, __LINE__, #claim);                       \
            _exit(1);                                                                              \
        }                                                                                          \
    } while (0)
#define CHECK_OK(call)                                                                             \
    do {                                                                                           \
        err_t e_ = (call);                                                                         \
        if (e_) {                                                                                  \
            dprintf(2, "%s:%d: %s: %s\n", __FILE__, __LINE__, #call, e_->text);                    \
            _exit(1);                                                                              \
        }                                                                                          \
    } while (0)
#define CHECK_HAS(text, part)                                                                      \
    do {                                                                                           \
        const char *text_ = (text);                                                                \
        if (!strstr(text_, (part))) {                                                              \
            dprintf(2, "%s:%d: \"%s\" lacks \"%s\"\n", __FILE__, __LINE__, text_, (part));         \
            _exit(1);                                                                              \
        }                                                                                          \
    } while (0)

/* ---- the gateway ------------------------------------------------------------------ */

typedef void body_fn(struct task *t);

static struct {
    struct warden *warden;
    struct workers *all;
    body_fn *body;
    unsigned home;        /* of the upstreams; the body runs on worker 0 */
    char dir[64];         /* data directory */
    char starts[96], log[96];
    struct event changed; /* an upstream's state or part */
} gateway;

static void body_task(struct task *t, void *arg) {
    gateway.body(t);
    workers_stop(gateway.all);
}

static err_t on_worker_start(struct worker *w, void *arg) {
    if (w->control) {
        gateway.all = w->all;
        return warden_attach(gateway.warden, w->all);
    }
    if (w->index == 0)
        CHECK(task_spawn(w, body_task, NULL));
    return OK;
}

static void on_worker_stop(struct worker *w, void *arg) {
    if (w->control)
        warden_stop(gateway.warden, 20 * NANOS_MS);
}

static void run_gateway(void) {
    struct worker_hooks hooks = { .on_start = on_worker_start, .on_stop = on_worker_stop };
    int fd = open(gateway.log, O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0600);
    log_setup((struct log_conf){ .level = LOG_INFO, .fd = fd, .json = true });
    CHECK(!warden_start(gateway.dir, &gateway.warden));
    struct workers *all = NULL;
    CHECK(!workers_start(2, (struct worker_limits){ 0 }, hooks, &all));
    workers_run(all);
    workers_free(all);
    warden_free(gateway.warden);
    exit(0); /* not _exit: the leak checker looks at exit */
}

static void remove_dir(void) {
    unlink(gateway.starts);
    unlink(gateway.log);
    rmdir(gateway.dir);
}

static void in_gateway_at(body_fn *body, unsigned home) {
    alarm(150);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    gateway.body = body;
    gateway.home = home;
    snprintf(gateway.dir, sizeof gateway.dir, "/tmp/stdio-test-XXXXXX");
    assert_non_null(mkdtemp(gateway.dir));
    snprintf(gateway.starts, sizeof gateway.starts, "%s/starts", gateway.dir);
    snprintf(gateway.log, sizeof gateway.log, "%s/log", gateway.dir);
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        signal(SIGSEGV, SIG_DFL); /* cmocka's handlers would go on with the next test */
        signal(SIGABRT, SIG_DFL);
        run_gateway();
    }
    int status = 0, other;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    while (waitpid(-1, &other, 0) > 0 || errno == EINTR)
        ; /* whatever was left came to us and must end; the alarm bounds the wait */
    remove_dir();
    assert_int_equal(status, 0);
}

static void in_gateway(body_fn *body) {
    in_gateway_at(body, 0);
    in_gateway_at(body, 1);
}

static size_t open_files(void) {
    size_t n = 0;
    DIR *d = opendir("/proc/self/fd");
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

static const char *file_text(const char *path) {
    static char text[256 * 1024];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
    text[n < 0 ? 0 : n] = '\0';
    close(fd);
    return text;
}

static size_t count_of(const char *text, const char *part) {
    size_t n = 0;
    for (const char *p = text; (p = strstr(p, part)); p++)
        n++;
    return n;
}

static size_t starts(void) {
    return count_of(file_text(gateway.starts), "start");
}

/* ---- upstreams -------------------------------------------------------------------- */

static void on_changed(struct worker *w, struct mail *m) {
    free(m);
    event_set(&gateway.changed);
}

static void tell_change(struct upstream *u, void *arg) {
    struct mail *m = NEW(struct mail);
    m->deliver = on_changed;
    if (!worker_post(workers_at(u->all, 0), m))
        free(m);
}

struct server {
    struct upstream_conf conf;
    struct str args[3];
    struct arena arena;
};

static struct server server_of(const char *mode) {
    struct server s = { 0 };
    arena_init(&s.arena, NULL, 0);
    field_defaults(upstream_fields, upstream_field_count, &s.conf, &s.arena);
    s.conf.name = S("fixture");
    s.conf.type = UPSTREAM_STDIO;
    s.conf.command = S("python3");
    s.args[0] = S(FIXTURES "/stdio_server.py");
    s.args[1] = str_of(mode);
    s.args[2] = str_of(gateway.starts);
    s.conf.restart_backoff = 10 * NANOS_MS;
    s.conf.restart_backoff_max = 50 * NANOS_MS;
    return s;
}

static struct upstream *start(struct server *s) {
    if (!s->conf.args.items)
        s->conf.args = (struct str_list){ s->args, ARRAY_SIZE(s->args) };
    struct upstream *u = upstream_new(&s->conf, gateway.all, gateway.warden, str_of(gateway.dir));
    arena_done(&s->arena);
    u->home = gateway.home;
    u->on_change = tell_change;
    upstream_start(u);
    return u;
}

static void await_state(struct task *t, struct upstream *u, enum upstream_state wanted,
                        char reason[256]) {
    while (upstream_state(u, reason) != wanted)
        CHECK_OK(event_wait(t, &gateway.changed));
}

static struct upstream *start_mode(struct task *t, const char *mode) {
    struct server s = server_of(mode);
    struct upstream *u = start(&s);
    char reason[256];
    await_state(t, u, UP_READY, reason);
    return u;
}

/* Until nothing of it is left: processes, descriptors, tasks. */
static void finish(struct task *t, struct upstream *u) {
    upstream_stop(u);
    while (atomic_load(&u->refs) > 1)
        CHECK_OK(task_sleep(t, NANOS_MS));
    CHECK(metric_value(METRIC_SERIES(&metric_stdio_children, u->conf->name)) == 0);
    CHECK(metric_value(METRIC_SERIES(&metric_stdio_queued, u->conf->name)) == 0);
    upstream_unref(u);
}

/* ---- calls ------------------------------------------------------------------------ */

struct said {
    struct upstream_request request;
    struct buf text;    /* the message sent */
    struct str piece;
    struct buf result;  /* raw */
    unsigned progress, logs, others;
    nanos patience;     /* 0: the upstream's */
};

static void said_done(struct said *s) {
    buf_done(&s->text);
    buf_done(&s->result);
}

static void prepare(struct task *t, struct upstream *u, struct said *s, const char *tool,
                    const char *args) {
    s->request.method = METHOD_TOOLS_CALL;
    upstream_next_id(u, task_worker(t), &s->request);
    enum revision r = (enum revision)atomic_load(&u->revision);
    buf_fmt(&s->text,
            "{\"jsonrpc\":\"2.0\",\"id\":%s,\"method\":\"tools/"
            "call\",\r\n\"params\":{\"name\":\"%s\",\n"
            "\"arguments\":%s,\"_meta\":",
            s->request.id_text, tool, args);
    if (r == R26) {
        modern_meta(&s->text, r);
        s->text.n--;
        buf_fmt(&s->text, ",\"progressToken\":%s}}}", s->request.id_text);
    } else {
        buf_fmt(&s->text, "{\"progressToken\":%s}}}", s->request.id_text);
    }
    s->piece = buf_view(&s->text);
    s->request.message = &s->piece;
    s->request.pieces = 1;
}

static void note(struct said *s, const struct envelope *m) {
    if (str_eq(m->method, S("notifications/progress")))
        s->progress++;
    else if (str_eq(m->method, S("notifications/message")))
        s->logs++;
    else
        s->others++;
}

static err_t read_to_end(struct task *t, struct upstream_call *c, struct said *s) {
    struct envelope m;
    for (;;) {
        TRY(upstream_next(t, c, &m));
        if (m.kind == ENVELOPE_NOTIFICATION) {
            note(s, &m);
            continue;
        }
        buf_str(&s->result, m.kind == ENVELOPE_RESULT ? m.result : m.error);
        buf_text(&s->result);
        return OK;
    }
}

static err_t call_into(struct task *t, struct upstream *u, struct said *s, const char *tool,
                       const char *args) {
    SCOPED(deadline_scope)
    struct deadline d = deadline_push(t, s->patience ? s->patience : 100 * NANOS_SEC);
    SCOPED(upstream_end) struct upstream_call c = { 0 };
    prepare(t, u, s, tool, args);
    TRY(upstream_begin(t, u, &s->request, &c));
    return read_to_end(t, &c, s);
}

/* The text of a tool's result, until the next call. */
static const char *call(struct task *t, struct upstream *u, uint64_t share, const char *tool,
                        const char *args) {
    static char text[8192];
    SCOPED(said_done) struct said s = { .request.share = share };
    CHECK_OK(call_into(t, u, &s, tool, args));
    struct str content = json_raw_get(buf_view(&s.result), S("content"));
    struct json_members m = json_elements(content);
    CHECK(json_element(&m));
    struct arena a;
    arena_init(&a, NULL, 0);
    struct str out = json_unquote(&a, json_raw_get(m.value, S("text")));
    snprintf(text, sizeof text, "%.*s", STR(out));
    arena_done(&a);
    return text;
}

static void check_call(struct task *t, struct upstream *u, const char *tool, const char *args,
                       const char *wanted) {
    const char *got = call(t, u, 0, tool, args);
    if (strcmp(got, wanted) == 0)
        return;
    dprintf(2, "%s: got \"%s\", wanted \"%s\"\n", tool, got, wanted);
    _exit(1);
}

static struct err failing_call(struct task *t, struct upstream *u, const char *tool,
                               const char *args) {
    SCOPED(said_done) struct said s = { 0 };
    err_t e = call_into(t, u, &s, tool, args);
    CHECK(e);
    return *e;
}

static int pid_of(struct task *t, struct upstream *u, uint64_t share) {
    return atoi(call(t, u, share, "pid", "{}"));
}

static bool offers(struct upstream *u, const char *tool) {
    struct part *p = upstream_part(u);
    bool found = false;
    for (size_t i = 0; p && i < p->counts[ITEM_TOOL]; i++)
        found = found || str_eq(p->items[ITEM_TOOL][i].name, str_of(tool));
    part_unref(p);
    return found;
}

/* ---- opening ---------------------------------------------------------------------- */

static void serve_legacy(struct task *t) {
    size_t files = open_files();
    struct upstream *u = start_mode(t, "legacy");
    CHECK(atomic_load(&u->revision) == R11);
    CHECK(offers(u, "echo"));
    check_call(t, u, "echo", "{\"text\":\n\"a\\nb\"}", "a\nb");
    CHECK(metric_value(METRIC_SERIES(&metric_stdio_children, u->conf->name)) == 1);
    finish(t, u);
    CHECK(open_files() == files);
}

static void a_legacy_server_is_listed_and_called(void **state) {
    in_gateway(serve_legacy);
}

static void serve_modern(struct task *t) {
    struct upstream *u = start_mode(t, "modern");
    CHECK(atomic_load(&u->revision) == R26);
    CHECK(offers(u, "echo"));
    check_call(t, u, "echo", "{\"text\":\"\xc3\xa9\"}", "\xc3\xa9");
    finish(t, u);
}

static void a_modern_server_is_listed_and_called(void **state) {
    in_gateway(serve_modern);
}

/* P-058 */
static void probe_each(struct task *t) {
    static const struct {
        const char *mode;
        enum revision revision;
        size_t starts;
        nanos silence; /* taken for an answer; 0: none is needed */
    } rows[] = {
        { "silent", R11, 1, 50 * NANOS_MS },
        { "exits", R11, 2, 0 },
        { "wedges", R11, 2, 50 * NANOS_MS },
        { "slow", R26, 1, 50 * NANOS_MS },
        { "banner", R11, 1, 0 },
        { "batches", R03, 1, 0 },
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        unlink(gateway.starts);
        struct server s = server_of(rows[i].mode);
        bool wedges = strcmp(rows[i].mode, "wedges") == 0; /* initialize is waited for too */
        s.conf.stop_grace = 10 * NANOS_MS;
        s.conf.probe_timeout = rows[i].silence ? rows[i].silence : 60 * NANOS_SEC;
        s.conf.timeout = wedges ? 2 * NANOS_SEC : 60 * NANOS_SEC;
        struct upstream *u = start(&s);
        char reason[256];
        await_state(t, u, UP_READY, reason);
        CHECK(atomic_load(&u->revision) == (int)rows[i].revision);
        CHECK(starts() == rows[i].starts || (wedges && starts() > 2)); /* more on a slow machine */
        check_call(t, u, "echo", "{\"text\":\"x\"}", "x");
        finish(t, u);
    }
}

static void every_way_to_take_discover_ends_in_a_handshake(void **state) {
    in_gateway_at(probe_each, 1);
}

/* P-060 */
static void restart_without_discover(struct task *t) {
    char reason[256];
    struct upstream *u = start_mode(t, "exits");
    CHECK(starts() == 2);
    struct err e = failing_call(t, u, "crash", "{}");
    CHECK(e.kind == ERR_CLOSED);
    await_state(t, u, UP_FAILED, reason);
    await_state(t, u, UP_READY, reason);
    CHECK(starts() == 3);
    finish(t, u);
}

static void a_restart_remembers_the_era(void **state) {
    in_gateway(restart_without_discover);
}

static void fail_to_open(struct task *t, const char *mode, const char *wanted) {
    char reason[256];
    struct server s = server_of(mode);
    s.conf.stop_grace = 10 * NANOS_MS;
    s.conf.restart_limit = 1;
    if (strcmp(mode, "mute") == 0)
        s.conf.probe_timeout = s.conf.timeout = 10 * NANOS_MS;
    struct upstream *u = start(&s);
    await_state(t, u, UP_FAILED, reason);
    CHECK_HAS(reason, wanted);
    struct err e = failing_call(t, u, "echo", "{}");
    CHECK(e.kind == ERR_UNAVAILABLE);
    finish(t, u);
}

/* ... and not before: who is told so calls at once. */
static void become_served(struct task *t) {
    struct upstream *u = start_mode(t, "legacy");
    char reason[256];
    CHECK(upstream_state_served(u, reason) == UP_STARTING);
    upstream_served(u);
    CHECK(upstream_state_served(u, reason) == UP_READY);
    upstream_set_state(u, UP_FAILED, "lost");
    CHECK(upstream_state_served(u, reason) == UP_FAILED && strcmp(reason, "lost") == 0);
    upstream_set_state(u, UP_READY, "");
    CHECK(upstream_state_served(u, reason) == UP_STARTING); /* what it offers may be new */
    finish(t, u);
}

static void it_is_told_to_be_ready_once_its_lists_are_served(void **state) {
    in_gateway(become_served);
}

static void open_in_vain(struct task *t) {
    fail_to_open(t, "fails", "exited with status 1: Error: Cannot find module '/x/server.js'");
    fail_to_open(t, "future", "2099-01-01");
    fail_to_open(t, "quits", "exited with status 7");
    fail_to_open(t, "mute", "initialize: timed out");
}

static void a_server_that_does_not_open_is_failed_with_the_reason(void **state) {
    in_gateway_at(open_in_vain, 1);
}

static void start_nothing(struct task *t) {
    char reason[256];
    struct server s = server_of("legacy");
    s.conf.command = S("no-such-mcp-server");
    struct upstream *u = start(&s);
    await_state(t, u, UP_FAILED, reason);
    CHECK_HAS(reason, "no-such-mcp-server");
    CHECK_HAS(reason, "PATH");
    finish(t, u);
}

static void a_missing_command_is_named(void **state) {
    in_gateway(start_nothing);
}

static void look_around(struct task *t) {
    static const struct pair env[] = { { S_INIT("GIVEN"), S_INIT("by conf") },
                                       { S_INIT("LANG"), S_INIT("xx") } };
    static const struct str inherit[] = { S_INIT("TAKEN"), S_INIT("NOT_THERE") };
    struct server s = server_of("legacy");
    s.conf.env = (struct pair_list){ (struct pair *)env, ARRAY_SIZE(env) };
    s.conf.inherit_env = (struct str_list){ (struct str *)inherit, ARRAY_SIZE(inherit) };
    struct upstream *u = start(&s);
    char reason[256];
    await_state(t, u, UP_READY, reason);
    const char *seen = call(t, u, 0, "surroundings", "{}");
    CHECK_HAS(seen, "\"GIVEN\": \"by conf\"");
    CHECK_HAS(seen, "\"LANG\": \"xx\"");
    CHECK_HAS(seen, "\"TAKEN\": \"over\"");
    CHECK_HAS(seen, "\"PATH\": ");
    CHECK_HAS(seen, gateway.dir);
    CHECK(!strstr(seen, "OURS") && !strstr(seen, "NOT_THERE"));
    CHECK(!strstr(file_text(gateway.log), "by conf")); /* P-126 */
    finish(t, u);
}

static void a_child_sees_only_the_environment_that_is_meant_for_it(void **state) {
    setenv("OURS", "secret", 1);
    setenv("TAKEN", "over", 1);
    in_gateway_at(look_around, 0);
}

/* ---- calls ------------------------------------------------------------------------ */

struct many {
    struct upstream *upstream;
    unsigned number;
};

static err_t call_one(struct task *t, void *arg) {
    struct many *m = arg;
    SCOPED(said_done) struct said s = { 0 };
    SCOPED(buf_done) struct buf args = { 0 };
    char wanted[64];
    buf_fmt(&args, "{\"text\":\"number %u\"}", m->number);
    TRY(call_into(t, m->upstream, &s, "echo", buf_text(&args)));
    snprintf(wanted, sizeof wanted, "\"number %u\"", m->number);
    CHECK_HAS(s.result.p, wanted);
    return OK;
}

static void call_many(struct task *t) {
    struct upstream *u = start_mode(t, "legacy");
    struct many many[200];
    struct task_group g;
    task_group_init(&g, t);
    for (unsigned i = 0; i < ARRAY_SIZE(many); i++) {
        many[i] = (struct many){ u, i };
        CHECK_OK(task_group_start(&g, call_one, &many[i]));
    }
    CHECK_OK(task_group_wait(&g));
    finish(t, u);
}

static void each_of_many_calls_gets_its_own_answer(void **state) {
    in_gateway(call_many);
}

/* P-611, P-443 */
static void take_notifications(struct task *t) {
    struct upstream *u = start_mode(t, "legacy");
    SCOPED(said_done) struct said a = { 0 };
    CHECK_OK(call_into(t, u, &a, "progress", "{}"));
    CHECK(a.progress == 3 && a.logs == 0 && a.others == 0);
    SCOPED(said_done) struct said b = { 0 };
    CHECK_OK(call_into(t, u, &b, "log", "{}"));
    CHECK(b.logs == 1);
    finish(t, u);
}

static void progress_and_log_messages_reach_their_call(void **state) {
    in_gateway(take_notifications);
}

static void log_among_two(struct task *t) {
    struct upstream *u = start_mode(t, "legacy");
    SCOPED(said_done) struct said waits = { 0 };
    struct upstream_call c = { 0 };
    prepare(t, u, &waits, "silent", "{}");
    CHECK_OK(upstream_begin(t, u, &waits.request, &c));
    struct envelope m;
    CHECK_OK(upstream_next(t, &c, &m)); /* alone: its own */
    SCOPED(said_done) struct said s = { 0 };
    CHECK_OK(call_into(t, u, &s, "log", "{}"));
    CHECK(s.logs == 0);
    upstream_end(&c);
    finish(t, u);
}

static void a_log_message_that_may_be_anybodys_is_dropped(void **state) {
    in_gateway(log_among_two);
}

/* P-242, P-243 */
static void give_up(struct task *t) {
    struct upstream *u = start_mode(t, "legacy");
    char wanted[64];
    SCOPED(said_done) struct said s = { .patience = 50 * NANOS_MS };
    err_t e = call_into(t, u, &s, "silent", "{}");
    CHECK(e && e->kind == ERR_TIMEOUT);
    snprintf(wanted, sizeof wanted, "[%s]", s.request.id_text);
    check_call(t, u, "cancelled", "{}", wanted);
    check_call(t, u, "twice", "{}", "first"); /* the second is nobody's */
    check_call(t, u, "cancelled", "{}", wanted);
    finish(t, u);
}

static void a_call_that_is_given_up_is_cancelled_by_our_id(void **state) {
    in_gateway(give_up);
}

/* P-432, P-245 */
static void be_asked(struct task *t) {
    struct upstream *u = start_mode(t, "legacy");
    const char *answers = call(t, u, 0, "ask", "{}");
    CHECK_HAS(answers, "{\"error\": {\"code\": -32601, \"message\": \"the client offers no "
                       "sampling/createMessage\"}, "
                       "\"id\": \"q-1\", \"jsonrpc\": \"2.0\"}");
    CHECK_HAS(answers, "{\"id\": 2, \"jsonrpc\": \"2.0\", \"result\": {}}");
    finish(t, u);
    u = start_mode(t, "modern"); /* P-122: no response is ever sent */
    check_call(t, u, "ask", "{}", "[]");
    check_call(t, u, "echo", "{\"text\":\"x\"}", "x");
    finish(t, u);
}

static void a_question_is_refused_and_a_ping_answered(void **state) {
    in_gateway(be_asked);
}

static void see_changes(struct task *t) {
    static const char *const modes[] = { "legacy", "modern" };
    for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
        struct upstream *u = start_mode(t, modes[i]);
        CHECK(!offers(u, "added"));
        do /* a modern one may not have been asked to tell yet */
            call(t, u, 0, "change", "{}");
        while (task_sleep(t, 20 * NANOS_MS) == OK && i == 1 && !offers(u, "added"));
        while (!offers(u, "added"))
            CHECK_OK(event_wait(t, &gateway.changed));
        finish(t, u);
    }
}

static void a_changed_list_is_read_again(void **state) {
    in_gateway_at(see_changes, 1);
}

/* ---- bad servers ------------------------------------------------------------------ */

static void lose(struct task *t, struct upstream *u, const char *tool, enum err_kind kind,
                 const char *wanted) {
    char reason[256];
    struct err e = failing_call(t, u, tool, "{\"bytes\":1073741824}");
    CHECK_HAS(e.text, wanted);
    CHECK(e.kind == kind);
    await_state(t, u, UP_FAILED, reason);
    CHECK_HAS(reason, wanted);
    await_state(t, u, UP_READY, reason);
    check_call(t, u, "echo", "{\"text\":\"again\"}", "again");
}

static void lose_servers(struct task *t) {
    struct upstream *u = start_mode(t, "legacy");
    size_t files = open_files();
    lose(t, u, "crash", ERR_CLOSED, "exited with status 3: ValueError: boom");
    lose(t, u, "kill", ERR_CLOSED, "was ended by signal KILL");
    lose(t, u, "close_stdout", ERR_CLOSED, "closed its standard output");
    CHECK(atomic_load(&u->restarts) == 3);
    finish(t, u);
    CHECK(open_files() < files);
}

static void a_lost_server_says_why_and_comes_back(void **state) {
    in_gateway(lose_servers);
}

static long peak_kib(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss;
}

static void read_without_end(struct task *t) {
    struct server s = server_of("legacy");
    s.conf.max_answer = 1024 * 1024;
    struct upstream *u = start(&s);
    char reason[256];
    await_state(t, u, UP_READY, reason);
    long before = peak_kib();
    lose(t, u, "huge", ERR_TOO_LARGE, "more than 1048576 bytes");
    CHECK(peak_kib() - before < 32 * 1024);
    finish(t, u);
}

static void a_line_of_a_gigabyte_is_not_kept(void **state) {
    in_gateway(read_without_end);
}

/* The same process goes on. */
static void survive(struct task *t) {
    struct upstream *u = start_mode(t, "legacy");
    int pid = pid_of(t, u, 0);
    struct err e = failing_call(t, u, "broken", "{}");
    CHECK(e.kind == ERR_UPSTREAM);
    CHECK_HAS(e.text, "not valid JSON");
    e = failing_call(t, u, "not_utf8", "{}");
    CHECK(e.kind == ERR_UPSTREAM);
    CHECK_HAS(e.text, "not valid UTF-8");
    e = failing_call(t, u, "raw", "{\"text\":\"{\\\"id\\\":ID,\\\"result\\\":{}}\"}");
    CHECK_HAS(e.text, "jsonrpc");
    /* what is no answer of ours is skipped: banners, other ids, objects of loggers */
    check_call(
        t, u, "raw",
        "{\"text\":\"{\\\"jsonrpc\\\":\\\"2.0\\\",\\\"id\\\":\\\"ID\\\",\\\"result\\\":{}}\","
        "\"then\":1}",
        "after");
    check_call(t, u, "raw",
               "{\"text\":\"{\\\"level\\\":\\\"info\\\"}\\n[]\\n[[1]]\\n\\r\\nhello\",\"then\":1}",
               "after");
    CHECK(pid_of(t, u, 0) == pid);
    const char *log = file_text(gateway.log);
    CHECK(count_of(log, "server printed what is no message") == 3); /* of more: once in a while */
    CHECK_HAS(log, "\"upstream\":\"fixture\"");
    finish(t, u);
}

static void what_is_no_message_ends_at_most_the_call_it_answers(void **state) {
    in_gateway(survive);
}

static void make_noise(struct task *t) {
    struct upstream *u = start_mode(t, "legacy");
    check_call(t, u, "stderr", "{\"lines\":2,\"size\":1}", "said");
    check_call(t, u, "stderr", "{\"lines\":1000,\"size\":6000}", "said");
    check_call(t, u, "echo", "{\"text\":\"x\"}", "x");
    finish(t, u);
    const char *log = file_text(gateway.log);
    CHECK_HAS(log, "\"event\":\"upstream stderr\",\"upstream\":\"fixture\",\"line\":\"noise 1 y\"");
    CHECK(count_of(log, "upstream stderr\"") < 500);
    CHECK(count_of(log, "yyyyyyyy") > 0);
}

static void stderr_is_logged_in_bounds(void **state) {
    in_gateway_at(make_noise, 0);
}

/* A child that does not read: calls are refused, and nobody else notices. */
static void stuff(struct task *t) {
    enum { CALLS = 24 };
    struct server s = server_of("legacy");
    s.conf.stop_grace = 20 * NANOS_MS; /* it does not see that its input is closed either */
    struct upstream *u = start(&s);
    char reason[256];
    await_state(t, u, UP_READY, reason);
    s = server_of("legacy");
    s.conf.name = S("other");
    struct upstream *other = start(&s);
    await_state(t, other, UP_READY, reason);
    check_call(t, u, "stop_reading", "{}", "wedged");
    SCOPED(mem_scope) char *large = mem_alloc(1024 * 1024);
    memset(large, 'x', 1024 * 1024);
    memcpy(large, "{\"text\":\"", 9);
    memcpy(large + 1024 * 1024 - 3, "\"}", 3);
    struct upstream_call calls[CALLS] = { 0 };
    struct said said[CALLS] = { 0 };
    unsigned refused = 0;
    for (unsigned i = 0; i < CALLS; i++) {
        prepare(t, u, &said[i], "echo", large);
        err_t e = upstream_begin(t, u, &said[i].request, &calls[i]);
        if (!e && i == CALLS - 1) { /* from another worker the refusal comes by mail */
            struct envelope m;
            e = upstream_next(t, &calls[i], &m);
        }
        if (e) {
            CHECK(e->kind == ERR_UNAVAILABLE);
            CHECK_HAS(e->text, "does not read its input");
            refused++;
        }
    }
    CHECK(refused > 0);
    CHECK(metric_value(METRIC_SERIES(&metric_stdio_queued, u->conf->name)) > 8 * 1024 * 1024);
    check_call(t, other, "echo", "{\"text\":\"x\"}", "x");
    for (unsigned i = 0; i < CALLS; i++) {
        upstream_end(&calls[i]);
        said_done(&said[i]);
    }
    finish(t, u);
    finish(t, other);
}

static void a_server_that_does_not_read_is_bounded(void **state) {
    in_gateway(stuff);
}

static void write_large(struct task *t) {
    struct upstream *u = start_mode(t, "legacy");
    SCOPED(mem_scope) char *args = mem_alloc(4 * 1024 * 1024);
    memset(args, 'x', 4 * 1024 * 1024);
    memcpy(args, "{\"text\":\"", 9);
    memcpy(args + 4 * 1024 * 1024 - 3, "\"}", 3);
    SCOPED(said_done) struct said s = { 0 };
    CHECK_OK(call_into(t, u, &s, "echo", args));
    CHECK(s.result.n > 4 * 1024 * 1024 - 16);
    finish(t, u);
}

static void a_large_message_goes_both_ways(void **state) {
    in_gateway(write_large);
}

static void listen_late(struct task *t) {
    struct upstream *u = start_mode(t, "legacy");
    SCOPED(said_done) struct said s = { 0 };
    SCOPED(upstream_end) struct upstream_call c = { 0 };
    prepare(t, u, &s, "flood", "{\"count\":5000,\"size\":1000}");
    CHECK_OK(upstream_begin(t, u, &s.request, &c));
    check_call(t, u, "echo", "{\"text\":\"behind\"}", "behind"); /* all of the flood has come */
    CHECK_OK(read_to_end(t, &c, &s));
    CHECK(s.progress > 100 && s.progress < 1100);
    CHECK_HAS(s.result.p, "flooded");
    upstream_end(&c);
    finish(t, u);
}

static void notifications_that_nobody_reads_are_bounded(void **state) {
    in_gateway(listen_late);
}

/* ---- shares ----------------------------------------------------------------------- */

struct pid_ask {
    struct upstream *upstream;
    uint64_t share;
    char result[512];
};

static err_t ask_pid(struct task *t, void *arg) {
    struct pid_ask *a = arg;
    SCOPED(said_done) struct said s = { .request.share = a->share };
    TRY(call_into(t, a->upstream, &s, "pid", "{}"));
    snprintf(a->result, sizeof a->result, "%s", s.result.p);
    return OK;
}

static void share(struct task *t, const char *mode) {
    unlink(gateway.starts);
    struct upstream *u = start_mode(t, mode);
    struct pid_ask asks[] = { { u, 7, "" }, { u, 7, "" }, { u, 8, "" } };
    struct task_group g;
    task_group_init(&g, t);
    for (size_t i = 0; i < ARRAY_SIZE(asks); i++)
        CHECK_OK(task_group_start(&g, ask_pid, &asks[i]));
    CHECK_OK(task_group_wait(&g));
    CHECK(strcmp(asks[0].result, asks[1].result) == 0);
    CHECK(strcmp(asks[0].result, asks[2].result) != 0);
    int main_pid = pid_of(t, u, 0), seven = pid_of(t, u, 7);
    CHECK(main_pid != seven && seven != pid_of(t, u, 8) && seven == pid_of(t, u, 7));
    CHECK(starts() == 3);
    SCOPED(said_done) struct said s = { .request.share = 7 };
    err_t e = call_into(t, u, &s, "crash", "{}");
    CHECK(e && e->kind == ERR_CLOSED);
    CHECK(pid_of(t, u, 7) != seven); /* the next call starts another */
    CHECK(pid_of(t, u, 0) == main_pid);
    finish(t, u);
}

static void share_both(struct task *t) {
    share(t, "legacy");
    share(t, "modern");
}

static void each_share_has_one_child_of_its_own(void **state) {
    in_gateway(share_both);
}

static void open_private_in_vain(struct task *t) {
    struct server s = server_of("once");
    s.conf.restart_backoff = s.conf.restart_backoff_max = 1000 * NANOS_SEC;
    struct upstream *u = start(&s);
    char reason[256];
    await_state(t, u, UP_READY, reason);
    for (int i = 0; i < 2; i++) { /* the second is refused without another try */
        SCOPED(said_done) struct said said = { .request.share = 5 };
        err_t e = call_into(t, u, &said, "pid", "{}");
        CHECK(e);
        CHECK_HAS(e->text, "Cannot find module");
        CHECK(starts() == 2);
    }
    check_call(t, u, "echo", "{\"text\":\"x\"}", "x");
    finish(t, u);
}

static void a_share_whose_child_fails_is_refused_for_a_while(void **state) {
    in_gateway(open_private_in_vain);
}

static void leave_the_line(struct task *t) {
    struct upstream *u = start_mode(t, "legacy");
    SCOPED(said_done) struct said s = { .request.share = 5, .patience = NANOS_MS };
    err_t e = call_into(t, u, &s, "echo", "{}");
    CHECK(e && e->kind == ERR_TIMEOUT);
    CHECK(strcmp(call(t, u, 5, "cancelled", "{}"), "[]") == 0); /* it was never sent */
    finish(t, u);
}

static void a_call_may_be_given_up_while_its_child_starts(void **state) {
    in_gateway(leave_the_line);
}

static void crowd(struct task *t) {
    struct server s = server_of("");
    static const struct str script[] = { S_INIT(FIXTURES "/stdio_server.sh") };
    s.conf.command = S("sh");
    s.conf.args = (struct str_list){ (struct str *)script, 1 };
    struct upstream *u = start(&s);
    char reason[256];
    await_state(t, u, UP_READY, reason);
    int first = pid_of(t, u, 1), second = pid_of(t, u, 2);
    CHECK(first != second);
    CHECK(pid_of(t, u, 1) == first); /* the second is the one idle for longest */
    for (uint64_t i = 3; i <= 65; i++)
        CHECK(pid_of(t, u, i) > 0);
    CHECK(pid_of(t, u, 1) == first);
    CHECK(pid_of(t, u, 2) != second);
    finish(t, u);
}

static void the_child_idle_for_longest_makes_room(void **state) {
    in_gateway_at(crowd, 1);
}

/* ---- ends ------------------------------------------------------------------------- */

static void call_before_and_after(struct task *t) {
    struct server s = server_of("legacy");
    if (!s.conf.args.items)
        s.conf.args = (struct str_list){ s.args, ARRAY_SIZE(s.args) };
    struct upstream *u = upstream_new(&s.conf, gateway.all, gateway.warden, str_of(gateway.dir));
    arena_done(&s.arena);
    u->home = gateway.home;
    struct err e = failing_call(t, u, "echo", "{}");
    CHECK(e.kind == ERR_UNAVAILABLE);
    upstream_start(u);
    finish(t, u); /* in the midst of starting */
}

static void a_call_before_the_start_is_unavailable(void **state) {
    in_gateway(call_before_and_after);
}

static err_t wait_for_end(struct task *t, void *arg) {
    struct err e = failing_call(t, arg, "silent", "{}");
    CHECK(e.kind == ERR_UNAVAILABLE);
    CHECK_HAS(e.text, "was stopped");
    return OK;
}

static void stop_in_mid_call(struct task *t) {
    struct upstream *u = start_mode(t, "legacy");
    struct task_group g;
    task_group_init(&g, t);
    CHECK_OK(task_group_start(&g, wait_for_end, u));
    CHECK_OK(task_yield(t));
    check_call(t, u, "echo", "{\"text\":\"behind\"}", "behind");
    upstream_stop(u);
    CHECK_OK(task_group_wait(&g));
    finish(t, u);
}

static void calls_in_flight_end_with_the_upstream(void **state) {
    in_gateway(stop_in_mid_call);
}

static struct upstream *forgotten;

/* The workers stop around it; its keeper ends the children. */
static void walk_away(struct task *t) {
    forgotten = start_mode(t, "legacy");
    pid_of(t, forgotten, 3);
    upstream_unref(forgotten); /* the keeper has its own */
}

static void a_gateway_that_stops_leaves_no_child(void **state) {
    in_gateway(walk_away);
}

/* ---- parts ------------------------------------------------------------------------ */

static void a_message_is_one_line_whatever_its_white_space(void **state) {
    const struct str pieces[] = { S("{\"a\":\r\n"), { NULL, 0 }, S("\"b\\n\"\n}") };
    struct stdio_out *o = stdio_out_new(pieces, ARRAY_SIZE(pieces));
    static const char wanted[] = "{\"a\":  \"b\\n\" }\n";
    assert_int_equal(o->n, sizeof wanted - 1);
    assert_memory_equal(o->text, wanted, o->n);
    free(o);
}

static void a_flood_is_counted_and_cut(void **state) {
    struct stdio_flood f = { 0 };
    assert_true(stdio_flood_admits(&f, 100, 10, 2));
    assert_true(stdio_flood_admits(&f, 105, 10, 2));
    assert_false(stdio_flood_admits(&f, 109, 10, 2));
    assert_int_equal(f.left_out, 1);
    assert_true(stdio_flood_admits(&f, 110, 10, 2));
    assert_int_equal(f.left_out, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_is_one_line_whatever_its_white_space),
        cmocka_unit_test(a_flood_is_counted_and_cut),
        cmocka_unit_test(a_legacy_server_is_listed_and_called),
        cmocka_unit_test(a_modern_server_is_listed_and_called),
        cmocka_unit_test(every_way_to_take_discover_ends_in_a_handshake),
        cmocka_unit_test(a_restart_remembers_the_era),
        cmocka_unit_test(it_is_told_to_be_ready_once_its_lists_are_served),
        cmocka_unit_test(a_server_that_does_not_open_is_failed_with_the_reason),
        cmocka_unit_test(a_missing_command_is_named),
        cmocka_unit_test(a_child_sees_only_the_environment_that_is_meant_for_it),
        cmocka_unit_test(each_of_many_calls_gets_its_own_answer),
        cmocka_unit_test(progress_and_log_messages_reach_their_call),
        cmocka_unit_test(a_log_message_that_may_be_anybodys_is_dropped),
        cmocka_unit_test(a_call_that_is_given_up_is_cancelled_by_our_id),
        cmocka_unit_test(a_question_is_refused_and_a_ping_answered),
        cmocka_unit_test(a_changed_list_is_read_again),
        cmocka_unit_test(a_lost_server_says_why_and_comes_back),
        cmocka_unit_test(a_line_of_a_gigabyte_is_not_kept),
        cmocka_unit_test(what_is_no_message_ends_at_most_the_call_it_answers),
        cmocka_unit_test(stderr_is_logged_in_bounds),
        cmocka_unit_test(a_server_that_does_not_read_is_bounded),
        cmocka_unit_test(a_large_message_goes_both_ways),
        cmocka_unit_test(notifications_that_nobody_reads_are_bounded),
        cmocka_unit_test(each_share_has_one_child_of_its_own),
        cmocka_unit_test(a_share_whose_child_fails_is_refused_for_a_while),
        cmocka_unit_test(a_call_may_be_given_up_while_its_child_starts),
        cmocka_unit_test(the_child_idle_for_longest_makes_room),
        cmocka_unit_test(a_call_before_the_start_is_unavailable),
        cmocka_unit_test(calls_in_flight_end_with_the_upstream),
        cmocka_unit_test(a_gateway_that_stops_leaves_no_child),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
