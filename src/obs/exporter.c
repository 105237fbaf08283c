/* exporter.c - see exporter.h. */
#include "obs/exporter.h"
#include "base/log.h"
#include "base/mem.h"
#include "net/http_client.h"
#include "net/http_url.h"
#include "obs/metrics.h"
#include <stdio.h>
#include <zlib.h>

enum {
    SHIP_AT = 512,          /* spans that do not wait for the second to end */
    SPAN_BYTES = 2048,      /* of the queue's bound in bytes, for each span of its bound */
    REQUEST_SPANS = 4096,   /* most in one request */
    ANSWER_LIMIT = 64 * 1024,
    TRIES = 6,
    PARTS = 512,            /* common parts of spans that a tracer keeps */
};
#define SHIP_EVERY NANOS_SEC
#define RETRY_FIRST NANOS_SEC
#define RETRY_LONGEST (30 * NANOS_SEC)
#define LAST_TRY (3 * NANOS_SEC)

struct part {
    uint64_t key[SPAN_KEY];
    struct buf text; /* empty: none */
};

struct tracer {
    struct exporter *exporter;
    struct worker *worker;
    struct sampling sampling;
    struct timer timer;
    struct buf spans;        /* encoded, waiting to be shipped */
    size_t count;
    size_t away, away_bytes; /* shipped and not acknowledged */
    size_t limit;            /* spans waiting and away */
    nanos wall_offset;       /* wall clock minus monotonic */
    struct part *parts;      /* by hash of the key; NULL before the first */
    metric_series waiting;
};

/* Spans of one worker on their way; goes there as mail and comes back as acknowledgement. */
struct batch {
    struct mail mail;
    struct tracer *from;
    struct batch *next;
    struct buf spans;
    size_t count, bytes;
};

struct target {
    const char *signal; /* "traces", "metrics" */
    struct http_url url;
    struct str text;    /* of the URL */
    struct tls_context *tls;
    struct http_pool *pool;
    bool failing;       /* said once, until it works again */
};

struct exporter {
    struct arena arena;
    struct otlp_conf conf;
    struct workers *all;
    struct tracer *tracers; /* by worker index */
    struct target traces, metrics;
    struct buf resource;
    nanos start;            /* wall clock */
    /* worker 0 */
    struct event wake;
    struct batch *first, **last;
    nanos next_metrics;
    bool closing;           /* what is sent now is sent once, and not broken off */
};

/* ---- tracers ----------------------------------------------------------------------- */

static void count_spans(const char *outcome, size_t n) {
    if (n)
        metric_add(METRIC_SERIES(&metric_otlp_spans, str_of(outcome)), (int64_t)n);
}

static void on_batch(struct worker *w, struct mail *m);

static void ship(struct tracer *t) {
    if (!t->count)
        return;
    struct batch *b = NEW(struct batch);
    *b = (struct batch){ .mail.deliver = on_batch, .from = t, .spans = t->spans, .count = t->count,
                         .bytes = t->spans.n };
    t->spans = (struct buf){ 0 };
    t->away += t->count;
    t->away_bytes += b->bytes;
    t->count = 0;
    if (worker_post(workers_at(t->exporter->all, 0), &b->mail))
        return;
    count_spans("failed", b->count); /* it has stopped, and so do we */
    buf_done(&b->spans);
    free(b);
}

static void on_ship(struct worker *w, struct timer *timer) {
    struct tracer *t = (struct tracer *)((char *)timer - offsetof(struct tracer, timer));
    t->wall_offset = clock_wall() - worker_tick(w);
    ship(t);
}

struct trace tracer_begin(struct tracer *t, struct str traceparent) {
    uint64_t random[3] = { worker_random(t->worker), worker_random(t->worker),
                           worker_random(t->worker) };
    return trace_begin(&t->sampling, traceparent, random);
}

uint64_t tracer_span_id(struct tracer *t) {
    return worker_random(t->worker) | 1;
}

/* Numbers and addresses, none of them chosen by a client: any mixing will do. */
static size_t place_of(const uint64_t key[SPAN_KEY]) {
    uint64_t h = 0;
    for (size_t i = 0; i < SPAN_KEY; i++)
        h = (h ^ key[i]) * UINT64_C(0x9e3779b97f4a7c15);
    return h >> 32 & (PARTS - 1);
}

struct str tracer_common(const struct tracer *t, const uint64_t key[SPAN_KEY]) {
    if (!t->parts)
        return (struct str){ 0 };
    const struct part *p = &t->parts[place_of(key)];
    bool known = p->text.n && memcmp(p->key, key, sizeof p->key) == 0;
    return known ? buf_view(&p->text) : (struct str){ 0 };
}

struct str tracer_keep(struct tracer *t, const uint64_t key[SPAN_KEY], struct buf *part) {
    if (!t->parts)
        t->parts = NEW_ARRAY(struct part, PARTS);
    struct part *p = &t->parts[place_of(key)];
    buf_done(&p->text);
    memcpy(p->key, key, sizeof p->key);
    p->text = *part;
    *part = (struct buf){ 0 };
    return buf_view(&p->text);
}

static void forget_parts(struct tracer *t) {
    for (size_t i = 0; t->parts && i < PARTS; i++)
        buf_done(&t->parts[i].text);
    free(t->parts);
}

static bool is_full(const struct tracer *t) {
    return t->count + t->away >= t->limit ||
           t->spans.n + t->away_bytes >= t->limit * (size_t)SPAN_BYTES;
}

void tracer_put(struct tracer *t, struct span *s) {
    if (is_full(t)) {
        count_spans("full", 1);
        return;
    }
    if (!timer_is_set(&t->timer)) { /* the first of a batch: the clock may have been set */
        t->wall_offset = clock_wall() - worker_tick(t->worker);
        timer_set(t->worker, &t->timer, t->worker->now + SHIP_EVERY);
    }
    s->began += t->wall_offset;
    s->ended += t->wall_offset;
    otlp_put_span(&t->spans, s);
    if (!t->waiting)
        t->waiting = METRIC_SERIES(&metric_otlp_waiting);
    metric_add(t->waiting, 1);
    if (++t->count >= SHIP_AT && t->away < SHIP_AT)
        ship(t);
}

static void on_acknowledged(struct worker *w, struct mail *m) {
    struct batch *b = (struct batch *)m;
    b->from->away -= b->count;
    b->from->away_bytes -= b->bytes;
    free(b);
}

/* ---- worker 0: what waits ---------------------------------------------------------- */

static void on_batch(struct worker *w, struct mail *m) {
    struct batch *b = (struct batch *)m;
    struct exporter *e = b->from->exporter;
    b->next = NULL;
    *e->last = b;
    e->last = &b->next;
    event_set(&e->wake);
    worker_run_ready(w);
}

static void give_back(struct batch *b) {
    struct worker *owner = b->from->worker;
    metric_add(METRIC_SERIES(&metric_otlp_waiting), -(int64_t)b->count);
    buf_done(&b->spans);
    b->mail.deliver = on_acknowledged;
    if (!worker_post(owner, &b->mail))
        free(b);
}

/* As many batches as fit one request, into `body`; the spans in it. */
static size_t take_spans(struct exporter *e, struct buf *body) {
    size_t n = 0;
    while (e->first && (n == 0 || n + e->first->count <= REQUEST_SPANS)) {
        struct batch *b = e->first;
        e->first = b->next;
        if (!e->first)
            e->last = &e->first;
        if (!body->p) { /* often the only one: it goes as it lies */
            *body = b->spans;
            b->spans = (struct buf){ 0 };
        }
        buf_str(body, buf_view(&b->spans));
        n += b->count;
        give_back(b);
    }
    return n;
}

/* ---- requests ---------------------------------------------------------------------- */

/* Ready to be sent. `items` are the spans or metrics as they lie; packed ones are in `frame`. */
struct message {
    struct buf head, frame;
    struct str items;
};

static void message_done(struct message *m) {
    buf_done(&m->head);
    buf_done(&m->frame);
}

struct packing {
    struct str plain;
    struct buf packed;
};

/* On the pool: RFC 1952 by zlib's deflate with 16 added to its window bits. */
static err_t pack(void *arg, const bool *cancelled) {
    struct packing *p = arg;
    z_stream z = { .next_in = (Bytef *)p->plain.p, .avail_in = (uInt)p->plain.n };
    if (deflateInit2(&z, Z_BEST_SPEED, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK)
        return ERR(INTERNAL, "no memory for gzip");
    buf_reserve(&p->packed, deflateBound(&z, p->plain.n));
    z.next_out = (Bytef *)p->packed.p;
    z.avail_out = (uInt)(p->packed.cap - 1);
    int code = deflate(&z, Z_FINISH);
    p->packed.n = z.total_out;
    deflateEnd(&z);
    return code == Z_STREAM_END ? OK : ERR(INTERNAL, "gzip failed");
}

/* A body that cannot be packed goes as it is. */
static bool compress_body(struct task *t, struct buf *body) {
    struct packing p = { .plain = buf_view(body) };
    if (work_run(t, pack, &p)) {
        buf_done(&p.packed);
        return false;
    }
    buf_done(body);
    *body = p.packed;
    return true;
}

static void write_head(struct exporter *e, const struct target *to, struct message *m,
                       bool packed) {
    buf_fmt(&m->head,
            "POST %.*s HTTP/1.1\r\nhost: %.*s\r\nuser-agent: OTel-OTLP-Exporter-Gatespan/%s\r\n"
            "content-type: application/x-protobuf\r\ncontent-length: %zu\r\n%s",
            STR(to->url.target), STR(to->url.authority), GATESPAN_VERSION, m->frame.n + m->items.n,
            packed ? "content-encoding: gzip\r\n" : "");
    for (size_t i = 0; i < e->conf.headers.n; i++)
        buf_fmt(&m->head, "%.*s: %.*s\r\n", STR(e->conf.headers.items[i].name),
                STR(e->conf.headers.items[i].value));
    buf_str(&m->head, S("\r\n"));
}

static void make_message(struct task *t, struct exporter *e, const struct target *to,
                         struct str items, struct message *out) {
    bool packed = false;
    otlp_put_frame(&out->frame, buf_view(&e->resource), items.n);
    out->items = items;
    if (e->conf.compression == OTLP_GZIP) {
        buf_str(&out->frame, items);
        out->items = S("");
        packed = compress_body(t, &out->frame);
    }
    write_head(e, to, out, packed);
}

/* Seconds only: a date would ask for our clock to agree with theirs. */
static nanos retry_after(const struct http_reply *r) {
    struct str text = http_find(r->head, S("retry-after"));
    uint64_t seconds;
    return text.p && str_to_u64(text, &seconds) && seconds < 3600 ? (nanos)seconds * NANOS_SEC : 0;
}

struct outcome {
    bool ok, again;      /* taken; worth another try */
    nanos pause;         /* asked for by the collector; 0: none */
    int64_t rejected;
    char why[200];
};

/* What OTLP/HTTP calls retryable: 429, 502, 503, 504; and a collector that is not there. */
static bool is_retryable(int status) {
    return status == 429 || status == 502 || status == 503 || status == 504;
}

static err_t read_outcome(struct task *t, struct http_reply *r, struct outcome *out) {
    struct str body, why;
    out->ok = r->status >= 200 && r->status < 300;
    out->again = is_retryable(r->status);
    if (out->again)
        out->pause = retry_after(r);
    if (!out->ok)
        snprintf(out->why, sizeof out->why, "it answered with status %d", r->status);
    TRY(http_reply_body(t, r, ANSWER_LIMIT, &body));
    if (out->ok && otlp_read_rejected(body, &out->rejected, &why) && out->rejected)
        snprintf(out->why, sizeof out->why, "%.*s", STR(str_head(why, sizeof out->why - 1)));
    return OK;
}

static void send_once(struct task *t, struct exporter *e, struct target *to,
                      const struct message *m, struct outcome *out) {
    struct str pieces[] = { buf_view(&m->head), buf_view(&m->frame), m->items };
    SCOPED(deadline_scope) struct deadline limit = deadline_push(t, e->conf.timeout);
    SCOPED(http_reply_done) struct http_reply r = { 0 };
    *out = (struct outcome){ .again = true };
    err_t failed = http_call(t, to->pool, pieces, ARRAY_SIZE(pieces), HTTP_SAFE, &r);
    if (!failed)
        failed = read_outcome(t, &r, out);
    if (failed && !out->ok)
        snprintf(out->why, sizeof out->why, "%.199s", failed->text);
}

static void count_request(const struct target *to, const char *outcome) {
    metric_add(METRIC_SERIES(&metric_otlp_requests, str_of(to->signal), str_of(outcome)), 1);
}

/* Said when it begins and when it is over, not for each request. */
static void report(struct target *to, const struct outcome *o) {
    if (!o->ok && !to->failing)
        log_warn("the collector does not take what is exported", F("signal", to->signal),
                 F("url", to->text), F("error", o->why));
    else if (o->ok && to->failing)
        log_info("the collector takes what is exported again", F("signal", to->signal));
    if (o->ok && o->rejected)
        log_warn("the collector rejected a part", F("signal", to->signal),
                 F("rejected", o->rejected), F("why", o->why));
    to->failing = !o->ok;
}

static nanos pause_before(struct exporter *e, struct worker *w, const struct outcome *o,
                          int tries) {
    nanos pause = RETRY_FIRST << (tries - 1);
    if (pause > RETRY_LONGEST)
        pause = RETRY_LONGEST;
    pause = pause / 2 + (nanos)(worker_random(w) % (uint64_t)(pause / 2));
    return o->pause > pause ? o->pause : pause;
}

static void send_shielded(struct task *t, struct exporter *e, struct target *to,
                          const struct message *m, struct outcome *out) {
    SCOPED(shield_scope) struct shield shield = task_shield(t, LAST_TRY);
    send_once(t, e, to, m, out);
}

/* Once the end is in sight no request is broken off. One that it came in the middle of is sent
 * again: the collector may have it twice then, as after any time-out. */
static void send_surely(struct task *t, struct exporter *e, struct target *to,
                        const struct message *m, struct outcome *out) {
    if (e->closing) {
        send_shielded(t, e, to, m, out);
        return;
    }
    send_once(t, e, to, m, out);
    if (!out->ok && task_cancelled(t))
        send_shielded(t, e, to, m, out);
}

/* Until it is taken, refused for good, or tried often enough; once when we end. */
static void deliver(struct task *t, struct exporter *e, struct target *to, struct str items,
                    struct outcome *out) {
    SCOPED(message_done) struct message m = { 0 };
    make_message(t, e, to, items, &m);
    for (int tries = 1;; tries++) {
        send_surely(t, e, to, &m, out);
        report(to, out);
        bool last = out->ok || !out->again || tries == TRIES || e->closing || task_cancelled(t);
        count_request(to, out->ok ? "ok" : last ? "failed" : "retry");
        if (last || task_sleep(t, pause_before(e, task_worker(t), out, tries)))
            return;
    }
}

static void export_traces(struct task *t, struct exporter *e) {
    while (e->first) {
        SCOPED(buf_done) struct buf spans = { 0 };
        struct outcome o;
        size_t n = take_spans(e, &spans);
        deliver(t, e, &e->traces, buf_view(&spans), &o);
        size_t rejected = !o.ok ? 0 : (uint64_t)o.rejected > n ? n : (size_t)o.rejected;
        count_spans("failed", o.ok ? 0 : n);
        count_spans("rejected", rejected);
        count_spans("exported", o.ok ? n - rejected : 0);
    }
}

static void export_metrics(struct task *t, struct exporter *e) {
    SCOPED(buf_done) struct buf metrics = { 0 };
    struct outcome o;
    otlp_put_metrics(&metrics, e->start, clock_wall());
    deliver(t, e, &e->metrics, buf_view(&metrics), &o);
}

/* ---- the task ---------------------------------------------------------------------- */

static err_t wait_for_work(struct task *t, struct exporter *e) {
    SCOPED(deadline_scope) struct deadline until = deadline_push_at(t, e->next_metrics);
    return e->first ? OK : event_wait(t, &e->wake);
}

static void last_exports(struct task *t, struct exporter *e) {
    SCOPED(shield_scope) struct shield shield = task_shield(t, LAST_TRY);
    e->closing = true;
    export_traces(t, e);
    if (e->metrics.text.n)
        export_metrics(t, e);
}

static void open_pool(struct exporter *e, struct worker *w, struct target *to) {
    if (to->text.n)
        to->pool = http_pool_new(w, &(struct http_target){
            .host = to->url.host, .port = to->url.port, .tls = to->tls, .max_conns = 2,
            .connect_timeout = e->conf.timeout });
}

static void run(struct task *t, void *arg) {
    struct exporter *e = arg;
    open_pool(e, task_worker(t), &e->traces);
    open_pool(e, task_worker(t), &e->metrics);
    while (!task_cancelled(t)) {
        wait_for_work(t, e);
        export_traces(t, e);
        if (task_now(t) < e->next_metrics || task_cancelled(t))
            continue;
        export_metrics(t, e);
        e->next_metrics = task_now(t) + e->conf.interval;
    }
    last_exports(t, e);
    if (e->traces.pool)
        http_pool_free(e->traces.pool);
    if (e->metrics.pool)
        http_pool_free(e->metrics.pool);
}

/* ---- life -------------------------------------------------------------------------- */

static err_t open_target(struct exporter *e, struct target *to, const char *signal, bool wanted) {
    to->signal = signal;
    if (!wanted)
        return OK;
    struct tls_conf tls = { .ca_file = e->conf.ca_file };
    to->text = otlp_url(&e->conf, signal[0] == 't', &e->arena);
    if (!to->text.n)
        return OK;
    TRY_WRAP(http_url_parse(to->text, &to->url), "otlp: endpoint");
    if (to->url.secure)
        TRY_WRAP(tls_client_new(&tls, &to->tls), "otlp");
    return OK;
}

static struct pair_list dup_pairs(struct arena *a, const struct pair_list *from) {
    struct pair_list to = { ARENA_ARRAY(a, struct pair, from->n + 1), from->n };
    for (size_t i = 0; i < from->n; i++)
        to.items[i] = (struct pair){ arena_dup(a, from->items[i].name),
                                     arena_dup(a, from->items[i].value) };
    return to;
}

/* The configuration's memory goes with a reload. */
static void copy_conf(struct exporter *e, const struct otlp_conf *c) {
    struct arena *a = &e->arena;
    e->conf = *c;
    e->conf.endpoint = arena_dup(a, c->endpoint);
    e->conf.traces_endpoint = arena_dup(a, c->traces_endpoint);
    e->conf.metrics_endpoint = arena_dup(a, c->metrics_endpoint);
    e->conf.service_name = arena_dup(a, c->service_name);
    e->conf.ca_file = arena_dup(a, c->ca_file);
    e->conf.headers = dup_pairs(a, &c->headers);
    e->conf.resource = dup_pairs(a, &c->resource);
}

err_t exporter_open(const struct otlp_conf *conf, struct workers *all, struct exporter **out) {
    *out = NULL;
    if (!otlp_wanted(conf))
        return OK;
    struct exporter *e = NEW(struct exporter);
    obs_metrics_register();
    arena_init(&e->arena, NULL, 0);
    copy_conf(e, conf);
    e->all = all;
    e->last = &e->first;
    e->start = clock_wall();
    e->tracers = NEW_ARRAY(struct tracer, workers_count(all) + 1);
    otlp_put_resource(&e->resource, conf->service_name, &e->conf.resource);
    err_t failed = open_target(e, &e->traces, "traces", conf->traces);
    if (!failed)
        failed = open_target(e, &e->metrics, "metrics", conf->metrics);
    if (failed) {
        struct err saved = *failed;
        exporter_free(e);
        return err_again(&saved);
    }
    *out = e;
    return OK;
}

static void drop_all(struct exporter *e) {
    while (e->first) {
        struct batch *b = e->first;
        e->first = b->next;
        buf_done(&b->spans);
        free(b);
    }
}

void exporter_free(struct exporter *e) {
    if (!e)
        return;
    drop_all(e);
    for (unsigned i = 0; i <= workers_count(e->all); i++) {
        buf_done(&e->tracers[i].spans);
        forget_parts(&e->tracers[i]);
    }
    free(e->tracers);
    tls_context_unref(e->traces.tls);
    tls_context_unref(e->metrics.tls);
    for (size_t i = 0; i < e->conf.headers.n; i++)
        crypto_wipe((char *)e->conf.headers.items[i].value.p, e->conf.headers.items[i].value.n);
    buf_done(&e->resource);
    arena_done(&e->arena);
    free(e);
}

void exporter_start(struct exporter *e, struct worker *w) {
    if (!e)
        return;
    struct tracer *t = &e->tracers[w->index];
    *t = (struct tracer){
        .exporter = e, .worker = w, .sampling = { e->conf.sample, e->conf.follow_parent },
        .timer.fire = on_ship, .limit = (size_t)e->conf.queue / workers_count(e->all) + 1,
    };
    if (w->index != 0)
        return;
    e->next_metrics = e->metrics.text.n ? worker_now(w) + e->conf.interval : NANOS_NEVER;
    if (!task_spawn(w, run, e))
        log_error("the exporter did not start");
    worker_run_ready(w);
}

void exporter_closing(struct exporter *e, struct worker *w) {
    if (e && w->index == 0)
        e->closing = true;
}

void exporter_flush(struct exporter *e, struct worker *w) {
    if (!e || !e->tracers[w->index].exporter)
        return;
    timer_unset(w, &e->tracers[w->index].timer);
    ship(&e->tracers[w->index]);
}

void exporter_stop(struct exporter *e, struct worker *w) {
    if (e && e->tracers[w->index].exporter)
        timer_unset(w, &e->tracers[w->index].timer);
}

struct tracer *exporter_tracer(struct exporter *e, struct worker *w) {
    return e && e->traces.text.n ? &e->tracers[w->index] : NULL;
}
