/* rest.c - see rest.h: the frame around every handler of the REST API. */
#include "control/rest.h"
#include "base/log.h"
#include "base/mem.h"
#include "control/private.h"
#include <stdio.h>
#include <time.h>

enum { FIELDS = CORS_FIELDS + 12 };

/* ---- refusing ---------------------------------------------------------------------- */

static enum err_kind kind_of_status(int status) {
    static const enum err_kind kinds[] = { ERR_INVALID, ERR_UNAUTHENTICATED, ERR_DENIED, ERR_NOT_FOUND,
                                           ERR_CONFLICT, ERR_LIMITED, ERR_UNAVAILABLE, ERR_TIMEOUT };
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
        if (err_status(kinds[i]) == status)
            return kinds[i];
    return status < 500 ? ERR_INVALID : ERR_INTERNAL;
}

err_t rest_refuse(struct rest *r, enum refusal_code code, const char *format, ...) {
    char text[ERR_TEXT];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    r->code = code;
    return err_new(kind_of_status(refusal_rows[code].status), "%s", text);
}

/* A value whose form is right but whose measure is not: no JSON Schema says that of a text. */
static bool is_beyond_schema(const struct field_problem *p) {
    return p->measure;
}

err_t rest_problems(struct rest *r, const struct field_problems *problems) {
    if (!problems->errors)
        return OK;
    bool beyond = true;
    struct jw w = jw_init(&r->details);
    jw_object(&w);
    jw_key(&w, S("problems"));
    jw_array(&w);
    for (size_t i = 0; i < problems->n; i++) {
        const struct field_problem *p = &problems->items[i];
        if (p->warning)
            continue;
        beyond &= is_beyond_schema(p);
        jw_object(&w);
        jw_put_string(&w, "path", p->path);
        jw_put_string(&w, "message", p->message);
        jw_object_end(&w);
    }
    jw_array_end(&w);
    jw_object_end(&w);
    err_t e = field_problems_err(problems);
    if (beyond)
        r->code = REFUSAL_UNPROCESSABLE;
    return e;
}

static struct str bare_tag(struct str tag) {
    tag = str_trim(tag);
    bool quoted = tag.n >= 2 && tag.p[0] == '"' && tag.p[tag.n - 1] == '"';
    return quoted ? str_from(tag.p + 1, tag.n - 2) : tag;
}

/* ---- headers ----------------------------------------------------------------------- */

static void add(struct http_field *fields, size_t *n, struct str name, struct str value) {
    if (value.n)
        fields[(*n)++] = (struct http_field){ name, value };
}

/* RFC 9745: a structured date; RFC 8594: an HTTP date. */
static void add_lifetime(const struct rest *r, struct http_field *fields, size_t *n) {
    const struct route *route = r->route;
    if (route->deprecated)
        add(fields, n, S("deprecation"),
            arena_fmt(r->arena, "@%lld", (long long)(route->deprecated / NANOS_SEC)));
    if (!route->sunset)
        return;
    time_t at = route->sunset / NANOS_SEC;
    struct tm tm;
    char text[64];
    gmtime_r(&at, &tm);
    strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &tm);
    add(fields, n, S("sunset"), arena_dup(r->arena, str_of(text)));
}

static size_t answer_fields(const struct rest *r, struct http_field fields[FIELDS]) {
    size_t n = visit_cors(r->visit, fields);
    add(fields, &n, S("cache-control"),
        r->route->need == NEED_NOBODY ? S("no-cache") : S("no-store"));
    add(fields, &n, S("x-content-type-options"), S("nosniff"));
    add(fields, &n, S("content-security-policy"), r->policy);
    add(fields, &n, S("etag"), r->etag);
    add(fields, &n, S("location"), r->location);
    add(fields, &n, S("idempotency-replayed"), r->replayed ? S("true") : S(""));
    add_lifetime(r, fields, &n);
    return n;
}

static int status_of(const struct rest *r) {
    return r->status ? r->status : r->route->status ? r->route->status : 200;
}

static struct str media_of(const struct rest *r) {
    return r->media.n        ? r->media
           : r->route->media ? str_of(r->route->media)
                             : S("application/json");
}

static void send_result(struct rest *r) {
    struct http_field fields[FIELDS];
    struct str body = buf_view(&r->out);
    int status = status_of(r);
    http_respond(r->task, r->request, &(struct http_answer){
        .status = status, .type = status == 204 ? S("") : media_of(r), .fields = fields,
        .field_count = answer_fields(r, fields), .pieces = &body, .piece_count = body.n > 0 });
}

static enum refusal_code code_of(const struct rest *r, const struct err *e) {
    return r->code == REFUSAL_COUNT ? refusal_of(e->kind) : r->code;
}

static struct refusal refusal_for(struct rest *r, const struct err *e) {
    const struct refusal_row *row = &refusal_rows[code_of(r, e)];
    bool ours = code_of(r, e) == REFUSAL_INTERNAL;
    return (struct refusal){
        .status = row->status, .word = str_of(row->word), .details = buf_view(&r->details),
        .message = ours ? S("internal error; the log has more under the request id") : str_of(e->text),
    };
}

static void send_refusal(struct rest *r, const struct err *e) {
    struct refusal what = refusal_for(r, e);
    if (code_of(r, e) == REFUSAL_INTERNAL)
        log_error("request failed", F("route", r->route->path), F("error", e->text));
    struct http_field more[4];
    size_t n = 0;
    add_lifetime(r, more, &n);
    if (r->retry_after > NANOS_SEC)
        add(more, &n, S("retry-after"),
            arena_fmt(r->arena, "%lld", (long long)((r->retry_after + NANOS_SEC - 1) / NANOS_SEC)));
    visit_refuse_with(r->task, r->request, &what, more, n);
}

/* ---- reading ----------------------------------------------------------------------- */

static err_t read_path(struct rest *r) {
    if (!percent_decode(r->visit->rest, false, r->arena, &r->params[0]) ||
        !percent_decode(r->visit->more, false, r->arena, &r->params[1]))
        return ERR(INVALID, "the path has a broken escape or is no UTF-8");
    return OK;
}

static err_t read_document(struct rest *r) {
    const struct gateway_conf *conf = r->visit->snapshot->conf;
    if (!r->request->body.n)
        return ERR(INVALID, "a body is needed: a JSON object, see /docs");
    TRY_WRAP(json_parse(r->arena, r->request->body,
                        (struct json_limits){ .depth = (unsigned)conf->limits.json_depth },
                        &r->document),
             "the body is no JSON");
    if (json_type(r->document) != JSON_OBJECT)
        return ERR(INVALID, "the body must be an object, not %s%s",
                   json_type(r->document) == JSON_ARRAY ? "an " : "a ",
                   json_type_name(json_type(r->document)));
    return OK;
}

static err_t read_body(struct rest *r) {
    const struct schema *s = r->route->body;
    if (!s)
        return OK;
    TRY(read_document(r));
    if (r->route->flags & ROUTE_MERGE)
        return OK;
    struct field_problems problems = { .arena = r->arena };
    r->body = arena_zero(r->arena, s->size);
    field_defaults(s->fields, *s->count, r->body, r->arena);
    field_read(s->fields, *s->count, r->document, S(""), r->body, r->arena, &problems);
    return rest_problems(r, &problems);
}

/* RFC 9110 §8.8.3 for the tags that we give: * or a list of "digits". Quotes may be missing:
 * shells eat them. */
static err_t check_if_match(struct rest *r) {
    struct str list = r->request->head->known[HTTP_IF_MATCH];
    if (!list.p || !(r->route->flags & (ROUTE_IF_MATCH | ROUTE_IF_MATCH_MAY)) ||
        str_eq(list, S("*")))
        return OK;
    while (list.p) {
        uint64_t version;
        if (!str_to_u64(bare_tag(str_cut(&list, ',')), &version))
            return ERR(INVALID, "If-Match must be * or an ETag such as \"3\"");
    }
    return OK;
}

static err_t read_request(struct rest *r) {
    const struct schema *s = r->route->query;
    TRY(read_path(r));
    r->query = s ? arena_zero(r->arena, s->size) : NULL;
    bool measure = false;
    err_t e = query_read(s, r->request->head->query, r->query, r->arena, &measure);
    if (measure)
        r->code = REFUSAL_UNPROCESSABLE;
    TRY(e);
    TRY(check_if_match(r));
    return read_body(r);
}

/* ---- preconditions ------------------------------------------------------------------ */

void rest_etag(struct rest *r, int64_t version) {
    r->etag = arena_fmt(r->arena, "\"%lld\"", (long long)version);
}

static bool lists_etag(struct str list, struct str etag) {
    while (list.p)
        if (str_eq(bare_tag(str_cut(&list, ',')), bare_tag(etag)))
            return true;
    return false;
}

err_t rest_precondition(struct rest *r, int64_t version, int64_t *out_expected) {
    struct str match = r->request->head->known[HTTP_IF_MATCH];
    *out_expected = version;
    rest_etag(r, version);
    if (!match.p && (r->route->flags & ROUTE_IF_MATCH))
        return rest_refuse(r, REFUSAL_PRECONDITION_REQUIRED,
                           "If-Match is missing: send the ETag that you read, or *");
    if (!match.p || str_eq(match, S("*")))
        return OK;
    if (lists_etag(match, r->etag))
        return OK;
    return rest_refuse(r, REFUSAL_PRECONDITION_FAILED,
                       "it was changed meanwhile: its ETag is now %.*s", STR(r->etag));
}

/* ---- lists ------------------------------------------------------------------------- */

static struct str cursor_bound(const struct rest *r) {
    return arena_fmt(r->arena, "%s\x1f%.*s", r->route->path, STR(r->who ? r->who->id : S("")));
}

err_t page_begin(struct rest *r, const struct page_query *q, struct page *out) {
    *out = (struct page){ .rest = r, .limit = (size_t)q->limit };
    if (q->cursor.n) {
        SCOPED(buf_done) struct buf plain = { 0 };
        if (crypto_open(&control_gateway(r->control)->ring, cursor_bound(r), q->cursor, &plain))
            return rest_refuse(r, REFUSAL_UNPROCESSABLE,
                               "cursor is not one of this list; start again without one");
        out->after = arena_dup(r->arena, buf_view(&plain));
    }
    jw_object(&r->w);
    jw_key(&r->w, S("items"));
    jw_array(&r->w);
    return OK;
}

bool page_wants(struct page *p, struct str key) {
    if (p->more || (p->after.p && str_cmp(key, p->after) <= 0))
        return false;
    if (p->shown == p->limit) {
        p->more = true;
        return false;
    }
    p->shown++;
    p->last = key;
    return true;
}

void page_end(struct page *p) {
    struct rest *r = p->rest;
    jw_array_end(&r->w);
    if (p->more) {
        SCOPED(buf_done) struct buf sealed = { 0 };
        crypto_seal(&control_gateway(r->control)->ring, cursor_bound(r), p->last, &sealed);
        jw_put_string(&r->w, "next_cursor", buf_view(&sealed));
    }
    jw_object_end(&r->w);
}

/* ---- the control worker -------------------------------------------------------------- */

err_t control_do(struct rest *r, err_t (*fn)(struct task *t, void *arg), void *arg) {
    return task_on(r->task, r->control->worker, fn, arg);
}

static err_t nothing(struct task *t, void *arg) {
    return OK;
}

/* Mail keeps its order: who does this has taken over what was published before. */
err_t rest_settle(struct rest *r) {
    struct workers *all = control_gateway(r->control)->all;
    for (unsigned i = 0; i < workers_count(all); i++)
        TRY(task_on(r->task, workers_at(all, i), nothing, NULL));
    return OK;
}

/* ---- Idempotency-Key ----------------------------------------------------------------- */

#define KEEP_ANSWERS (24 * 3600 * NANOS_SEC)
#define LAST_WORDS (5 * NANOS_SEC)

/* Whether this request is one that may be repeated by its key. */
static bool has_key(const struct rest *r) {
    return r->request->head->known[HTTP_IDEMPOTENCY_KEY].p && r->who &&
           control_registry(r->control) && !str_eq(r->request->head->method, S("GET")) &&
           !str_eq(r->request->head->method, S("HEAD"));
}

/* Too short a key is one that somebody else takes too. */
static err_t check_key(struct str key) {
    bool ok = key.n >= 8 && key.n <= 128;
    for (size_t i = 0; i < key.n && ok; i++)
        ok = memchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.:-", key.p[i],
                    66) != NULL;
    return ok ? OK
              : ERR(INVALID,
                    "Idempotency-Key must be 8 to 128 of A-Z a-z 0-9 _ . : -, such as a UUID");
}

static struct idempotent claim_of(struct rest *r) {
    const struct http_head *h = r->request->head;
    struct idempotent q = {
        .tenant = r->who->tenant, .key_id = r->who->id, .key = h->known[HTTP_IDEMPOTENCY_KEY],
        .route = arena_fmt(r->arena, "%.*s %.*s", STR(h->method), STR(h->target)),
    };
    crypto_sha256(r->request->body, q.digest);
    return q;
}

/* The headers that belong to an answer are kept with its media type. */
static void replay(struct rest *r, const struct idempotent_answer *kept) {
    struct str rest = kept->type;
    r->status = kept->status;
    r->media = str_cut(&rest, '\n');
    r->etag = str_cut(&rest, '\n');
    r->location = rest;
    r->replayed = true;
    buf_clear(&r->out);
    buf_str(&r->out, kept->body);
    send_result(r);
}

/* What failed before anything was done may be tried again with the same key; what may have been
 * done in part may not. */
static bool may_repeat(enum refusal_code code) {
    return refusal_rows[code].status < 499 || refusal_rows[code].status == 503;
}

static err_t keep_answer(struct rest *r, const struct idempotent *q, const struct err *failed) {
    struct registry *registry = control_registry(r->control);
    SCOPED(shield_scope) struct shield shield = task_shield(r->task, LAST_WORDS);
    SCOPED(buf_done) struct buf text = { 0 };
    struct idempotent_answer answer = { .status = status_of(r), .body = buf_view(&r->out) };
    struct str media = media_of(r);
    if (failed && may_repeat(code_of(r, failed)))
        return idempotency_abandon(r->task, registry, q);
    if (failed) {
        struct refusal what = refusal_for(r, failed);
        media = refusal_write(&text, r->request, &what);
        answer.status = what.status;
        answer.body = buf_view(&text);
    }
    answer.type = arena_fmt(r->arena, "%.*s\n%.*s\n%.*s", STR(media), STR(r->etag),
                            STR(r->location));
    return idempotency_finish(r->task, registry, q, &answer, KEEP_ANSWERS);
}

/* True: answered. */
static bool begin_once(struct rest *r, const struct idempotent *q, err_t *out) {
    struct idempotent_answer kept;
    bool repeated = false;
    *out = check_key(q->key);
    if (!*out)
        *out = idempotency_begin(r->task, control_registry(r->control), r->arena, q, &repeated,
                                 &kept);
    if (*out && (*out)->kind == ERR_CONFLICT &&
        str_find(str_of((*out)->text), S("another request")) >= 0)
        r->code = REFUSAL_IDEMPOTENCY;
    if (!*out && repeated)
        replay(r, &kept);
    return !*out && repeated;
}

/* ---- serving ----------------------------------------------------------------------- */

static void answer(struct rest *r, const struct err *failed) {
    if (failed)
        send_refusal(r, failed);
    else
        send_result(r);
}

static void run_once(struct rest *r) {
    struct idempotent q = claim_of(r);
    err_t e;
    if (begin_once(r, &q, &e))
        return;
    struct err why = { 0 };
    if (e) {
        why = *e;
        send_refusal(r, &why);
        return;
    }
    e = r->route->run(r);
    if (e)
        why = *e;
    bool failed = e != OK;
    err_t lost = keep_answer(r, &q, failed ? &why : NULL);
    if (lost)
        log_error("answer of an Idempotency-Key not kept", F("route", r->route->path),
                  F("error", lost->text));
    answer(r, failed ? &why : NULL);
}

static void run(struct rest *r) {
    err_t e = r->route->run(r);
    struct err why = e ? *e : (struct err){ 0 };
    answer(r, e ? &why : NULL);
}

void rest_serve(struct task *t, struct http_request *request) {
    const struct visit *v = request->user;
    struct rest r = {
        .task = t, .request = request, .visit = v, .who = v->who, .control = request->service->arg,
        .route = v->route, .arena = &request->arena, .code = REFUSAL_COUNT,
    };
    r.w = jw_init(&r.out);
    err_t e = read_request(&r);
    if (e) {
        struct err why = *e;
        send_refusal(&r, &why);
    } else if (has_key(&r)) {
        run_once(&r);
    } else {
        run(&r);
    }
    if (r.out.n)
        crypto_wipe(r.out.p, r.out.n); /* it may have held a new key */
    buf_done(&r.out);
    buf_done(&r.details);
}
