/* stdio_link.c - see stdio_link.h. */
#include "gateway/stdio_link.h"
#include "base/log.h"
#include "base/mem.h"
#include "gateway/subscribe.h"
#include "mcp/question.h"

enum {
    LINE_SHOWN = 120, /* of a line that is no message, in the log, */
    JUNK_LINES = 3,   /* and so many of them in JUNK_PERIOD */
    QUESTIONS_MAX = 1000, /* not yet answered of one call; limits.questions is lower */
};
#define JUNK_PERIOD (10 * NANOS_SEC)
#define IDLE_END (600 * NANOS_SEC)

#define link_of_timer(t) ((struct stdio_link *)((char *)(t)-offsetof(struct stdio_link, idle)))

/* ---- links ------------------------------------------------------------------------ */

struct stdio_link *stdio_link_new(struct stdio_host *host, uint64_t share) {
    struct stdio_link *l = NEW(struct stdio_link);
    l->refs = 1;
    l->host = host;
    l->share = share;
    l->last = &l->first;
    l->next = host->all;
    l->back = &host->all;
    if (l->next)
        l->next->back = &l->next;
    host->all = l;
    upstream_ref(host->upstream);
    return l;
}

void stdio_link_unref(struct stdio_link *l) {
    if (!l || --l->refs)
        return;
    struct stdio_host *host = l->host;
    *l->back = l->next;
    if (l->next)
        l->next->back = l->back;
    event_set(&host->news); /* stop counts them */
    free(l);
    upstream_unref(host->upstream);
}

static struct stdio_call *take_waiting(struct stdio_link *l) {
    struct stdio_call *c = l->first;
    l->first = c->next;
    if (!l->first)
        l->last = &l->first;
    l->in_line -= c->message->n;
    c->link = NULL;
    return c;
}

static void fail_calls(struct stdio_link *l) {
    uint64_t id;
    void *call;
    for (size_t i = 0; idmap_next(&l->calls, &i, &id, &call);) {
        struct stdio_call *c = call;
        c->link = NULL;
        stdio_call_fail(c, &l->why);
        stdio_call_unref(c);
    }
    idmap_done(&l->calls);
    while (l->first) {
        struct stdio_call *c = take_waiting(l);
        stdio_call_fail(c, &l->why);
        stdio_call_unref(c);
    }
}

/* Serves nobody from now on; its child ends in its own time. May free the link. */
void stdio_link_over(struct stdio_link *l, const struct err *why) {
    if (l->state == LINK_OVER)
        return;
    l->state = LINK_OVER;
    l->why = *why;
    fail_calls(l);
    if (timer_is_set(&l->idle))
        timer_unset(stdio_home(l->host->upstream), &l->idle);
    if (l->child)
        stdio_child_close(l->child);
    event_set(&l->host->news);
    if (l != l->host->main && idmap_get(&l->host->links, l->share) == l) {
        idmap_del(&l->host->links, l->share);
        stdio_link_unref(l);
    }
}

static void on_lost(void *arg, const struct err *why) {
    struct stdio_link *l = arg;
    if (l->share)
        log_warn("child lost", F("upstream", stdio_link_name(l)), F("error", why->text));
    stdio_link_over(l, why);
}

static void on_gone(void *arg) {
    struct stdio_link *l = arg;
    l->child = NULL;
    stdio_link_unref(l);
}

static void take_line(void *arg, struct str line);

err_t stdio_link_start(struct task *t, struct stdio_link *l) {
    static const struct stdio_child_hooks hooks = { take_line, on_lost, on_gone };
    TRY(stdio_child_start(t, l->host->upstream, &hooks, l, &l->child));
    l->refs++;
    if (l->state != LINK_OVER)
        return OK;
    stdio_child_close(l->child); /* stopped in the moment it came */
    return err_again(&l->why);
}

/* ---- sending ---------------------------------------------------------------------- */

static bool link_takes(struct stdio_link *l, struct stdio_out *message) {
    if (l->child && stdio_child_write(l->child, message))
        return true;
    free(message);
    return false;
}

/* Without an error: cleanup calls it too, while another error is on its way up. */
void stdio_link_tell(struct stdio_link *l, struct str text) {
    if (!link_takes(l, stdio_out_new(&text, 1)))
        log_debug("message dropped", F("upstream", stdio_link_name(l)),
                  F("text", str_head(text, LINE_SHOWN)));
}

static err_t link_write(struct stdio_link *l, struct stdio_out *message) {
    if (link_takes(l, message))
        return OK;
    return ERR(UNAVAILABLE, "does not read its input: %d MiB wait for it", STDIO_QUEUE >> 20);
}

err_t stdio_link_say(struct stdio_link *l, struct str text) {
    return link_write(l, stdio_out_new(&text, 1));
}

/* P-443. Servers work on what they are sent in its order, so nobody waits for the answer. */
static void tell_level(struct stdio_link *l, unsigned verbosity) {
    struct upstream *u = l->host->upstream;
    if (verbosity <= l->verbosity || l->modern || !atomic_load(&u->takes_levels))
        return;
    SCOPED(buf_done) struct buf text = { 0 };
    struct upstream_request r = { 0 };
    upstream_next_id(u, stdio_home(u), &r);
    handshake_set_level(&text, r.id_text, verbosity);
    stdio_link_tell(l, buf_view(&text));
    l->verbosity = verbosity;
}

static err_t send_call(struct stdio_link *l, struct stdio_call *c) {
    tell_level(l, c->verbosity);
    TRY(link_write(l, TAKE(c->message)));
    idmap_put(&l->calls, c->id, stdio_call_ref(c));
    c->link = l;
    c->turn = ++l->sent;
    l->used = worker_now(stdio_home(l->host->upstream));
    return OK;
}

static err_t wait_in_line(struct stdio_link *l, struct stdio_call *c) {
    if (l->in_line && l->in_line + c->message->n > STDIO_QUEUE)
        return ERR(UNAVAILABLE, "is starting, and too much waits for it");
    l->in_line += c->message->n;
    c->next = NULL;
    *l->last = stdio_call_ref(c);
    l->last = &c->next;
    c->link = l;
    return OK;
}

err_t stdio_link_take(struct stdio_link *l, struct stdio_call *c) {
    return l->state == LINK_READY ? send_call(l, c) : wait_in_line(l, c);
}

static void leave_line(struct stdio_link *l, struct stdio_call *c) {
    struct stdio_call **at = &l->first;
    while (*at != c)
        at = &(*at)->next;
    *at = c->next;
    if (l->last == &c->next)
        l->last = at;
    l->in_line -= c->message->n;
}

void stdio_link_forget(struct stdio_call *c) {
    struct stdio_link *l = c->link;
    if (!l)
        return;
    c->link = NULL;
    if (c->message) {
        leave_line(l, c);
    } else {
        SCOPED(buf_done) struct buf text = { 0 };
        idmap_del(&l->calls, c->id);
        buf_fmt(&text,
                "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/cancelled\",\"params\":"
                "{\"requestId\":%llu,\"reason\":\"the caller gave up\"}}",
                (unsigned long long)c->id);
        stdio_link_tell(l, buf_view(&text)); /* P-243 */
    }
    stdio_call_unref(c);
}

static void on_idle(struct worker *w, struct timer *timer) {
    struct stdio_link *l = link_of_timer(timer);
    static const struct err idle = { ERR_UNAVAILABLE, "was idle" };
    bool works = l->calls.count || upstream_has_tasks(l->host->upstream, l->share);
    if (!works && w->now - l->used >= IDLE_END)
        stdio_link_over(l, &idle);
    else
        timer_set(w, timer, works ? w->now + IDLE_END : l->used + IDLE_END);
}

void stdio_link_ready(struct stdio_link *l) {
    struct worker *w = stdio_home(l->host->upstream);
    l->state = LINK_READY;
    l->used = worker_now(w);
    if (l->share) {
        l->idle.fire = on_idle;
        timer_set(w, &l->idle, l->used + IDLE_END);
    }
    while (l->first) {
        struct stdio_call *c = take_waiting(l);
        err_t e = send_call(l, c);
        if (e)
            stdio_call_fail(c, e);
        stdio_call_unref(c);
    }
}

/* ---- what the server says --------------------------------------------------------- */

struct flight { /* a call in flight under one of its ids; call NULL: none */
    uint64_t id;
    struct stdio_call *call;
};

static struct flight only_flight(const struct stdio_link *l) {
    struct flight f = { 0 };
    void *call = NULL;
    size_t at = 0;
    if (l->calls.count == 1 && idmap_next(&l->calls, &at, &f.id, &call))
        f.call = call;
    return f;
}

static struct flight flight_of(const struct stdio_link *l, struct str raw_id) {
    struct flight f = { 0 };
    if (raw_id.p && str_to_u64(raw_id, &f.id))
        f.call = idmap_get(&l->calls, f.id);
    return f;
}

/* Out of the table: its reference goes to the caller. */
static struct stdio_call *land(struct stdio_link *l, struct flight f) {
    idmap_del(&l->calls, f.id);
    f.call->link = NULL;
    return f.call;
}

static void take_answer(struct stdio_link *l, struct stdio_packet *p) {
    struct flight f = p->envelope.id.p ? flight_of(l, p->envelope.id) : only_flight(l); /* P-007 */
    if (!f.call) {
        log_debug("answer to nobody", F("upstream", stdio_link_name(l)), F("id", p->envelope.id));
        free(p); /* late, mostly (P-243) */
        return;
    }
    struct stdio_call *c = land(l, f);
    stdio_call_give(c, p);
    stdio_call_unref(c);
}

static void lists_changed(struct stdio_link *l) {
    if (l->share)
        return; /* what is listed comes from the keeper's child */
    l->changed = true;
    event_set(&l->host->news);
}

static void resource_updated(struct stdio_link *l, struct str params) {
    SCOPED(arena_scope) struct arena a = { 0 };
    struct str uri = json_raw_get(params, S("uri"));
    if (!l->share && uri.n > 2 && uri.p[0] == '"')
        watched_updated(l->host->upstream, json_unquote(&a, uri));
}

/* A log message names no request: it belongs to the only one in flight, or to nobody (P-443). */
static void take_notification(struct stdio_link *l, struct stdio_packet *p) {
    struct stdio_call *c = NULL;
    switch (method_parse(p->envelope.method)) {
    case METHOD_N_PROGRESS: c = flight_of(l, json_raw_get(p->envelope.params, S("progressToken"))).call; break;
    case METHOD_N_MESSAGE: c = only_flight(l).call; break;
    case METHOD_N_TOOLS_CHANGED:
    case METHOD_N_PROMPTS_CHANGED:
    case METHOD_N_RESOURCES_CHANGED: lists_changed(l); break;
    case METHOD_N_RESOURCE_UPDATED: resource_updated(l, p->envelope.params); break;
    case METHOD_N_TASK_STATUS: upstream_task_told(l->host->upstream, l->share, p->envelope.params); break;
    default: break;
    }
    if (c) {
        stdio_call_give(c, p);
        return;
    }
    log_debug("notification for nobody", F("upstream", stdio_link_name(l)),
              F("method", p->envelope.method));
    free(p);
}

static bool junk_is_news(struct stdio_link *l) {
    return stdio_flood_admits(&l->junk, worker_now(stdio_home(l->host->upstream)), JUNK_PERIOD,
                              JUNK_LINES);
}

static void refuse_question(struct stdio_link *l, const struct envelope *m) {
    SCOPED(buf_done) struct buf text = { 0 };
    SCOPED(buf_done) struct buf why = { 0 };
    struct str member = question_refusal(&why, m, 0);
    buf_fmt(&text, "{\"jsonrpc\":\"2.0\",\"id\":%.*s,", STR(m->id));
    buf_str(&text, member);
    buf_char(&text, '}');
    stdio_link_tell(l, buf_view(&text));
}

/* Servers work on what they are sent in its order, so the next to ask is the call that was
 * spoken to longest ago and has nothing open. */
static bool asks_sooner(const struct stdio_call *a, const struct stdio_call *b) {
    if (!a->questions != !b->questions)
        return !a->questions;
    return a->turn < b->turn;
}

/* Nothing on a pipe says which call a question belongs to. It may be guessed among the calls of
 * one caller, whose answer reaches the right one by the question's id; but while several callers
 * are in flight nobody is asked, on behalf of somebody else least of all (P-432). */
static struct stdio_call *asking_call(const struct stdio_link *l, unsigned needs) {
    struct stdio_call *found = NULL;
    uint64_t id, caller = 0;
    void *value;
    for (size_t i = 0; idmap_next(&l->calls, &i, &id, &value);) {
        struct stdio_call *c = value;
        if (!c->caller_key)
            continue; /* the gateway's own */
        if (caller && c->caller_key != caller)
            return NULL;
        caller = c->caller_key;
        if (!(needs & ~c->asks) && (!found || asks_sooner(c, found)))
            found = c;
    }
    return found;
}

static void take_question(struct stdio_link *l, struct stdio_packet *p) {
    const struct envelope *m = &p->envelope;
    unsigned needs = question_needs(method_parse(m->method), m->params);
    upstream_asked(l->host->upstream, method_parse(m->method));
    struct stdio_call *c = needs && !l->modern ? asking_call(l, needs) : NULL;
    if (c && c->questions < QUESTIONS_MAX) {
        c->questions++;
        stdio_call_give(c, p);
        return;
    }
    if (!l->modern)
        refuse_question(l, m);
    else if (junk_is_news(l))
        log_warn("modern server asks on the wire", F("upstream", stdio_link_name(l)),
                 F("method", m->method));
    free(p);
}

/* Half an answer ends its call, when it is clear whose it was; banners and the like are
 * skipped: many real servers print them (P-120). */
static struct flight answer_meant(struct stdio_link *l, const struct envelope *m,
                                  enum envelope_fault fault, struct str line) {
    if (m->id.p && (m->version.p || m->result.p || m->error.p))
        return flight_of(l, m->id);
    bool broken = !m->id.p && envelope_fault_code(fault) == RPC_PARSE && line.p[0] == '{';
    if (broken && str_find(str_head(line, 4096), S("\"jsonrpc\"")) >= 0)
        return only_flight(l);
    return (struct flight){ 0 };
}

static void take_junk(struct stdio_link *l, const struct envelope *m, enum envelope_fault fault,
                      struct str line) {
    if (junk_is_news(l))
        log_warn("server printed what is no message", F("upstream", stdio_link_name(l)),
                 F("why", envelope_fault_text(fault)), F("line", str_head(line, LINE_SHOWN)));
    struct flight f = answer_meant(l, m, fault, line);
    if (!f.call)
        return;
    struct stdio_call *c = land(l, f);
    stdio_call_fail(
        c, ERR(UPSTREAM, "its answer is no JSON-RPC response: %s", envelope_fault_text(fault)));
    stdio_call_unref(c);
}

static void take_message(struct stdio_link *l, struct str line, bool in_batch) {
    struct stdio_packet *p = stdio_packet_new(line);
    enum envelope_fault f = envelope_scan(str_from(p->text, p->n), (struct envelope_limits){ 0 },
                                          &p->envelope);
    if (!f && in_batch && p->envelope.kind == ENVELOPE_BATCH)
        f = ENVELOPE_NOT_OBJECT;
    if (f) {
        take_junk(l, &p->envelope, f, line);
        free(p);
        return;
    }
    switch (p->envelope.kind) {
    case ENVELOPE_RESULT:
    case ENVELOPE_ERROR: take_answer(l, p); return;
    case ENVELOPE_NOTIFICATION: take_notification(l, p); return;
    case ENVELOPE_REQUEST: take_question(l, p); return;
    case ENVELOPE_BATCH: break; /* P-121 */
    }
    struct json_members m = json_elements(p->envelope.text);
    while (l->state != LINK_OVER && json_element(&m))
        take_message(l, m.value, true);
    free(p);
}

static void take_line(void *arg, struct str line) {
    take_message(arg, line, false);
}
