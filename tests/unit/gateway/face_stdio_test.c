/* The face with a gateway around it whose one tool never answers. The client is a task of the
 * control worker at the other ends of two pipes. */
#include "../run/fixture.h"
#include "gateway/face_stdio.h"
#include "gateway/line_pipe.h"
#include <fcntl.h>
#include <unistd.h>

#define MODERN                                                                                     \
    "\"_meta\":{\"io.modelcontextprotocol/protocolVersion\":\"2026-07-28\","                       \
    "\"io.modelcontextprotocol/clientCapabilities\":{}}"
#define ONE_TOOL "{\"tools\":[{\"name\":\"wait\",\"inputSchema\":{\"type\":\"object\"}}]}"
#define TWO_TOOLS                                                                                  \
    "{\"tools\":[{\"name\":\"wait\",\"inputSchema\":{\"type\":\"object\"}},"                       \
    "{\"name\":\"more\",\"inputSchema\":{\"type\":\"object\"}}]}"
#define CALL "{\"jsonrpc\":\"2.0\",\"id\":5,\"method\":\"tools/call\",\"params\":{\"name\":\"slow__wait\"}}"
#define PING "{\"jsonrpc\":\"2.0\",\"id\":6,\"method\":\"ping\"}"
#define PONG "{\"jsonrpc\":\"2.0\",\"id\":6,\"result\":{}}"

/* ---- the upstream --------------------------------------------------------------- */

static atomic_int calls_begun, calls_ended;

static err_t never_begin(struct task *t, struct upstream_call *c) {
    struct event never = { 0 };
    atomic_fetch_add(&calls_begun, 1);
    return event_wait(t, &never);
}

static void never_end(struct upstream_call *c, struct upstream *u) {
    atomic_fetch_add(&calls_ended, 1);
}

static const struct upstream_ops never_ops = { .kind = "never",
                                               .begin = never_begin,
                                               .end = never_end };

static struct upstream *upstream_make(struct workers *all) {
    struct arena a;
    struct upstream_conf conf = { 0 };
    arena_init(&a, NULL, 0);
    field_defaults(upstream_fields, upstream_field_count, &conf, &a);
    conf.name = S("slow");
    conf.type = UPSTREAM_BUILTIN;
    struct upstream *u = upstream_new(&conf, all, NULL, S(""));
    u->ops = &never_ops;
    atomic_store(&u->state, UP_READY);
    atomic_store(&u->revision, R11);
    arena_done(&a);
    return u;
}

/* ---- the gateway ---------------------------------------------------------------- */

static const struct principal who = {
    .id = S_INIT("local"), .name = S_INIT("local"), .tenant = S_INIT("default"), .digest = 1,
};

struct bench {
    struct workers *all;
    struct gateway *gateway;
    struct upstream *upstream;
    struct stdio_face *face;
    uint64_t generation;
    int face_in, to_face, face_out, from_face;
    struct line_pipe client;
    void (*script)(struct task *t, struct bench *b);
    bool ended;
};

static struct part *part_make(const char *tools) {
    struct part *p = part_new(S("slow"));
    struct str cursor = { 0 };
    p->revision = R11;
    p->has.tools = true;
    assert_null(part_add_page(p, METHOD_TOOLS_LIST, str_of(tools), &cursor));
    return p;
}

static struct held_conf *conf_make(void) {
    struct held_conf *held = held_conf_new();
    held->conf = ARENA_NEW(&held->arena, struct gateway_conf);
    field_defaults(gateway_fields, gateway_field_count, held->conf, &held->arena);
    return held;
}

static void publish(struct bench *b, const char *tools) {
    struct arena a;
    arena_init(&a, NULL, 0);
    struct snapshot *s = ARENA_NEW(&a, struct snapshot);
    s->held = conf_make();
    s->conf = s->held->conf;
    s->upstreams = ARENA_ARRAY(&a, struct upstream *, 1);
    s->upstreams[0] = upstream_ref(b->upstream);
    s->sources = ARENA_ARRAY(&a, struct catalogue_source, 1);
    s->sources[0] = (struct catalogue_source){ .conf = b->upstream->conf,
                                               .part = part_make(tools) };
    s->upstream_count = 1;
    s->server_info = S("{\"name\":\"test\",\"version\":\"1\"}");
    s->generation = ++b->generation;
    s->catalogue = catalogue_new(s->sources, 1, S(""), s->generation);
    part_unref(s->sources[0].part);
    s->arena = a;
    gateway_publish(b->gateway, s);
}

static void on_end(void *arg) {
    struct bench *b = arg;
    b->ended = true;
    workers_stop(b->all);
}

static err_t open_face(struct task *t, void *arg) {
    struct bench *b = arg;
    gateway_worker_start(b->gateway, task_worker(t));
    b->face = face_stdio_open(gateway_here(task_worker(t)), &(struct stdio_options){
        .in = b->face_in, .out = b->face_out, .who = &who, .on_end = on_end, .arg = b });
    return OK;
}

static err_t on_start(struct worker *w, void *arg) {
    if (!w->control)
        net_start(w, 1 << 20); /* messages in flight are counted */
    return OK;
}

static void on_stop(struct worker *w, void *arg) {
    struct bench *b = arg;
    if (w->control) {
        line_pipe_close(&b->client);
        return;
    }
    face_stdio_close(b->face);
    gateway_worker_stop(b->gateway, w);
}

static void client_main(struct task *t, void *arg) {
    struct bench *b = arg;
    line_pipe_open(&b->client, task_worker(t), b->from_face, b->to_face);
    publish(b, ONE_TOOL);
    assert_null(task_on(t, workers_at(b->all, 0), open_face, b));
    b->script(t, b);
    close(b->to_face); /* the face's end of input ends everything */
}

static void make_pipes(struct bench *b) {
    int in[2], out[2];
    assert_int_equal(pipe2(in, O_CLOEXEC) | pipe2(out, O_CLOEXEC), 0);
    b->face_in = in[0];
    b->to_face = in[1];
    b->from_face = out[0];
    b->face_out = out[1];
}

static void run(void (*script)(struct task *t, struct bench *b)) {
    struct bench b = { .script = script };
    struct worker_hooks hooks = { .on_start = on_start, .on_stop = on_stop, .arg = &b };
    atomic_store(&calls_begun, 0);
    atomic_store(&calls_ended, 0);
    make_pipes(&b);
    assert_null(workers_start(1, (struct worker_limits){ 0 }, hooks, &b.all));
    b.gateway = gateway_new(b.all, (struct seal_ring){ 0 }, NULL, (struct session_limits){ 0 });
    b.upstream = upstream_make(b.all);
    assert_non_null(task_spawn(workers_control(b.all), client_main, &b));
    workers_run(b.all);
    gateway_free(b.gateway);
    upstream_unref(b.upstream);
    assert_int_equal(net_stats(workers_at(b.all, 0)).buffered, 0);
    net_stop(workers_at(b.all, 0));
    workers_free(b.all);
    assert_true(b.ended);
    char rest;
    close(b.face_out);
    assert_int_equal(read(b.from_face, &rest, 1), 0); /* nothing was said that no test heard */
    close(b.face_in);
    close(b.from_face);
}

/* ---- the client ----------------------------------------------------------------- */

static void say(struct task *t, struct bench *b, const char *text) {
    struct str line = str_of(text);
    assert_null(line_write(t, &b->client, &line, 1));
}

static struct str hear(struct task *t, struct bench *b) {
    struct str line;
    assert_null(line_read(t, &b->client, 1 << 20, &line));
    return line;
}

static void expect(struct task *t, struct bench *b, const char *text) {
    struct str line = hear(t, b);
    assert_int_equal(line.n, strlen(text));
    assert_memory_equal(line.p, text, line.n);
}

static void initialize(struct task *t, struct bench *b) {
    say(t, b,
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"initialize\",\"params\":{\"protocolVersion\":"
        "\"2025-06-18\"}}");
    assert_true(str_starts(hear(t, b), S("{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":")));
    say(t, b, "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/initialized\"}");
}

/* The face reads in order: once it answers, it has begun what came before. */
static void sync_up(struct task *t, struct bench *b) {
    say(t, b, PING);
    expect(t, b, PONG);
}

/* ---- tests ---------------------------------------------------------------------- */

static void cancels(struct task *t, struct bench *b) {
    initialize(t, b);
    say(t, b, CALL);
    sync_up(t, b);
    assert_int_equal(atomic_load(&calls_begun), 1);
    say(t, b,
        "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/"
        "cancelled\",\"params\":{\"requestId\":\"5\"}}");
    sync_up(t, b);
    assert_int_equal(atomic_load(&calls_ended), 0); /* "5" is not 5 (P-002) */
    say(t, b,
        "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/"
        "cancelled\",\"params\":{\"requestId\":5}}");
    sync_up(t, b);
    assert_int_equal(atomic_load(&calls_ended), 1);
}

static void a_cancelled_request_is_stopped_and_never_answered(void **state) { /* P-123 */
    run(cancels);
}

static void leaves(struct task *t, struct bench *b) {
    initialize(t, b);
    say(t, b, CALL);
    sync_up(t, b);
}

static void the_end_of_input_cancels_what_is_in_flight(void **state) { /* P-124 */
    run(leaves);
    assert_int_equal(atomic_load(&calls_ended), 1);
}

static void hears_of_changes(struct task *t, struct bench *b) {
    initialize(t, b);
    say(t, b,
        "{\"jsonrpc\":\"2.0\",\"id\":\"l\",\"method\":\"subscriptions/listen\",\"params\":{"
        "\"notifications\":{\"toolsListChanged\":true}," MODERN "}}");
    assert_true(str_find(hear(t, b), S("notifications/subscriptions/acknowledged")) > 0);
    publish(b, ONE_TOOL); /* nothing new */
    publish(b, TWO_TOOLS);
    expect(t, b,
           "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/tools/"
           "list_changed\",\"params\":{\"_meta\":{"
           "\"io.modelcontextprotocol/subscriptionId\":\"l\"}}}");
    expect(t, b, "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/tools/list_changed\"}");
    say(t, b,
        "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/"
        "cancelled\",\"params\":{\"requestId\":\"l\"}}");
    sync_up(t, b);
    publish(b, ONE_TOOL);
    expect(t, b, "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/tools/list_changed\"}");
}

static void changes_reach_the_session_and_every_listen_that_is_left(void **state) {
    run(hears_of_changes); /* P-621, P-112 */
}

static void is_not_initialized(struct task *t, struct bench *b) {
    say(t, b,
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"initialize\",\"params\":{\"protocolVersion\":"
        "\"2025-06-18\"}}");
    hear(t, b);
    publish(b, TWO_TOOLS);
    sync_up(t, b);
}

static void before_initialized_nothing_is_pushed(void **state) { /* P-033 */
    run(is_not_initialized);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cancelled_request_is_stopped_and_never_answered),
        cmocka_unit_test(the_end_of_input_cancels_what_is_in_flight),
        cmocka_unit_test(changes_reach_the_session_and_every_listen_that_is_left),
        cmocka_unit_test(before_initialized_nothing_is_pushed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
