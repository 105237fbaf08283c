/* replay.c - see replay.h. An event is in three orders at once: that of its stream, of its
 * session and of the worker. The oldest of either of the latter is always the oldest of its
 * stream, too, so letting go of one never leaves a hole in a stream. */
#include "gateway/replay.h"
#include "base/crypto.h"
#include "base/mem.h"
#include "gateway/metrics.h"
#include "net/sse.h"
#include <stdio.h>

enum order { OF_WORKER, OF_SESSION, ORDERS };

struct said {
    struct said *next; /* of the stream */
    struct {
        struct said *older, *newer;
    } at[ORDERS];
    struct replay *stream;
    uint64_t n;
    size_t size;
    char text[];
};

struct line_up { /* one of the orders, with what it holds */
    struct said *oldest, *newest;
    size_t bytes, events;
};

struct replay_session {
    char id[SESSION_ID];
    struct line_up said;
    struct replay *streams;
};

struct replays {
    unsigned worker;
    uint64_t key[2], next;
    struct replay_limits limits;
    struct line_up said;
    struct map sessions;   /* struct replay_session by id */
    struct idmap by_number;
    struct replay *lapsing, **lapsing_end;
};

/* ---- orders ------------------------------------------------------------------------ */

static void line_up_add(struct line_up *l, enum order o, struct said *s) {
    s->at[o].older = l->newest;
    s->at[o].newer = NULL;
    if (l->newest)
        l->newest->at[o].newer = s;
    else
        l->oldest = s;
    l->newest = s;
    l->bytes += sizeof *s + s->size;
    l->events++;
}

static void line_up_del(struct line_up *l, enum order o, struct said *s) {
    if (s->at[o].older)
        s->at[o].older->at[o].newer = s->at[o].newer;
    else
        l->oldest = s->at[o].newer;
    if (s->at[o].newer)
        s->at[o].newer->at[o].older = s->at[o].older;
    else
        l->newest = s->at[o].older;
    l->bytes -= sizeof *s + s->size;
    l->events--;
}

static void count(const struct said *s, int sign) {
    static _Thread_local metric_series bytes, events;
    if (!bytes) {
        bytes = METRIC_SERIES(&metric_replay_bytes);
        events = METRIC_SERIES(&metric_replay_events);
    }
    metric_add(bytes, sign * (int64_t)(sizeof *s + s->size));
    metric_add(events, sign);
}

/* The oldest of its stream. */
static void forget_oldest(struct replay *r) {
    struct said *s = r->oldest;
    r->oldest = s->next;
    if (!r->oldest)
        r->newest = &r->oldest;
    r->gone = s->n;
    line_up_del(&r->all->said, OF_WORKER, s);
    line_up_del(&r->session->said, OF_SESSION, s);
    count(s, -1);
    free(s);
}

/* ---- streams ----------------------------------------------------------------------- */

struct replays *replays_new(unsigned worker, const uint64_t key[2]) {
    struct replays *all = NEW(struct replays);
    all->worker = worker;
    memcpy(all->key, key, sizeof all->key);
    all->lapsing_end = &all->lapsing;
    return all;
}

void replays_free(struct replays *all) {
    struct replay *r;
    if (!all)
        return;
    while ((r = replays_first(all)))
        replay_free(r);
    idmap_done(&all->by_number);
    map_done(&all->sessions);
    free(all);
}

void replays_configure(struct replays *all, struct replay_limits limits) {
    all->limits = limits;
}

static struct str key_of(const char session[SESSION_ID]) {
    return str_from(session, SESSION_ID);
}

static struct replay_session *session_of(struct replays *all, const char id[SESSION_ID]) {
    struct replay_session *s = map_get(&all->sessions, key_of(id));
    if (s)
        return s;
    s = NEW(struct replay_session);
    memcpy(s->id, id, SESSION_ID);
    map_put(&all->sessions, key_of(s->id), s);
    return s;
}

struct replay *replay_open(struct replays *all, const char session[SESSION_ID],
                           enum replay_kind kind) {
    struct replay *r = NEW(struct replay);
    *r = (struct replay){ .all = all, .session = session_of(all, session), .kind = kind,
                          .number = ++all->next, .read = true };
    r->newest = &r->oldest;
    r->next = r->session->streams;
    r->back = &r->session->streams;
    if (r->next)
        r->next->back = &r->next;
    r->session->streams = r;
    idmap_put(&all->by_number, r->number, r);
    metric_add(METRIC_SERIES(&metric_replay_streams), 1);
    return r;
}

static void lapse_never(struct replay *r) {
    if (!r->since)
        return;
    *r->since = r->later;
    if (r->later)
        r->later->since = r->since;
    else
        r->all->lapsing_end = r->since;
    r->since = NULL;
}

void replay_free(struct replay *r) {
    struct replays *all = r->all;
    while (r->oldest)
        forget_oldest(r);
    lapse_never(r);
    *r->back = r->next;
    if (r->next)
        r->next->back = r->back;
    idmap_del(&all->by_number, r->number);
    metric_add(METRIC_SERIES(&metric_replay_streams), -1);
    if (!r->session->streams)
        free(map_del(&all->sessions, key_of(r->session->id)));
    free(r);
}

struct replay *replay_of(struct replays *all, const char session[SESSION_ID]) {
    struct replay_session *s = map_get(&all->sessions, key_of(session));
    return s ? s->streams : NULL;
}

struct replay *replay_numbered(struct replays *all, uint64_t number) {
    return idmap_get(&all->by_number, number);
}

struct replay *replays_first(struct replays *all) {
    uint64_t number;
    void *r = NULL;
    size_t at = 0;
    return idmap_next(&all->by_number, &at, &number, &r) ? r : NULL;
}

struct replay_stats replays_stats(const struct replays *all) {
    return (struct replay_stats){ .streams = all->by_number.count, .events = all->said.events,
                                  .bytes = all->said.bytes };
}

/* ---- time -------------------------------------------------------------------------- */

/* All have the same time left when they begin to lapse, so the queue is in order; after a new
 * configuration it is for a while only nearly so. */
static void lapse_or_not(struct replay *r, nanos now) {
    lapse_never(r);
    if (r->read || (r->kind == REPLAY_CALL && !r->ended))
        return;
    r->lapses = now + r->all->limits.keep;
    r->later = NULL;
    r->since = r->all->lapsing_end;
    *r->since = r;
    r->all->lapsing_end = &r->later;
}

void replay_end(struct replay *r, nanos now) {
    r->ended = true;
    lapse_or_not(r, now);
}

void replay_set_read(struct replay *r, bool read, nanos now) {
    r->read = read;
    lapse_or_not(r, now);
}

struct replay *replays_lapsed(struct replays *all, nanos now) {
    return all->lapsing && all->lapsing->lapses <= now ? all->lapsing : NULL;
}

bool replays_any_lapse(const struct replays *all) {
    return all->lapsing;
}

/* ---- ids --------------------------------------------------------------------------- */

static uint64_t seal(const uint64_t key[2], const char session[SESSION_ID],
                     const struct event_id *id) {
    char bound[SESSION_ID + 3 * sizeof(uint64_t)];
    const uint64_t numbers[3] = { id->worker, id->stream, id->n };
    memcpy(bound, session, SESSION_ID);
    memcpy(bound + SESSION_ID, numbers, sizeof numbers);
    return hash_keyed(key, bound, sizeof bound);
}

static size_t write_id(const uint64_t key[2], const char session[SESSION_ID],
                       const struct event_id *id, char out[EVENT_ID]) {
    int n = snprintf(out, EVENT_ID, "%x-%llx-%llx-%016llx", id->worker,
                     (unsigned long long)id->stream, (unsigned long long)id->n,
                     (unsigned long long)seal(key, session, id));
    return (size_t)n;
}

size_t replay_id(const struct replay *r, uint64_t n, char out[EVENT_ID]) {
    const struct event_id id = { .worker = r->all->worker, .stream = r->number, .n = n };
    return write_id(r->all->key, r->session->id, &id, out);
}

static bool read_hex(struct str text, uint64_t *out) {
    *out = 0;
    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];
        bool digit = c >= '0' && c <= '9', letter = c >= 'a' && c <= 'f';
        if (!digit && !letter)
            return false;
        *out = *out << 4 | (uint64_t)(digit ? c - '0' : c - 'a' + 10);
    }
    return text.n > 0 && text.n <= 16;
}

/* Written anew it must be the same text, so an id has one spelling. */
err_t event_id_read(const uint64_t key[2], const char session[SESSION_ID], struct str text,
                    struct event_id *out) {
    char again[EVENT_ID];
    struct str rest = text, worker = str_cut(&rest, '-'), stream = str_cut(&rest, '-'),
               n = str_cut(&rest, '-');
    uint64_t index = 0;
    struct event_id id = { 0 };
    bool ours = text.n < EVENT_ID && worker.n <= 4 && read_hex(worker, &index) &&
                read_hex(stream, &id.stream) && read_hex(n, &id.n);
    id.worker = (unsigned)index;
    if (!ours || write_id(key, session, &id, again) != text.n ||
        !crypto_equal(again, text.p, text.n))
        return ERR(DENIED, "Last-Event-ID names no event of this session");
    *out = id;
    return OK;
}

err_t replay_find(struct replays *all, const char session[SESSION_ID], const struct event_id *id,
                  struct replay **out) {
    struct replay *r = idmap_get(&all->by_number, id->stream);
    bool there = r && memcmp(r->session->id, session, SESSION_ID) == 0 && id->n <= r->last;
    if (!there)
        return ERR(NOT_FOUND, "The stream of this Last-Event-ID is not kept any more");
    if (id->n < r->gone)
        return ERR(NOT_FOUND, "What followed this Last-Event-ID is not kept any more");
    *out = r;
    return OK;
}

/* ---- events ------------------------------------------------------------------------ */

static char *append(char *to, struct str s) {
    memcpy(to, s.p, s.n);
    return to + s.n;
}

static struct said *said_new(const struct replay *r, const struct str *pieces, size_t n) {
    char id[EVENT_ID];
    struct str head[] = { S("id: "), str_from(id, replay_id(r, r->last + 1, id)),
                          S("\n" SSE_BEFORE) };
    size_t size = str_total(head, ARRAY_SIZE(head)) + str_total(pieces, n) + sizeof SSE_AFTER - 1;
    struct said *s = mem_alloc(sizeof *s + size);
    *s = (struct said){ .n = r->last + 1, .size = size };
    char *to = s->text;
    for (size_t i = 0; i < ARRAY_SIZE(head); i++)
        to = append(to, head[i]);
    for (size_t i = 0; i < n; i++)
        to = append(to, pieces[i]);
    append(to, S(SSE_AFTER));
    return s;
}

struct str replay_say(struct replay *r, const struct str *pieces, size_t n) {
    struct said *s = said_new(r, pieces, n);
    s->stream = r;
    *r->newest = s;
    r->newest = &s->next;
    r->last = s->n;
    line_up_add(&r->all->said, OF_WORKER, s);
    line_up_add(&r->session->said, OF_SESSION, s);
    count(s, 1);
    return str_from(s->text, s->size);
}

static bool is_over(const struct line_up *l, size_t bytes, size_t events) {
    return l->oldest && (l->bytes > bytes || l->events > events);
}

static void evict(struct said *s) {
    struct replay *r = s->stream;
    forget_oldest(r);
    if (!r->oldest && r->ended && !r->read && r->emptied)
        r->emptied(r);
}

void replays_trim(struct replays *all, struct replay *newest) {
    const struct replay_limits *most = &all->limits;
    struct line_up *session = &newest->session->said;
    uint64_t n = 0;
    for (; is_over(session, most->session_bytes, most->session_events); n++)
        evict(session->oldest);
    for (; is_over(&all->said, most->bytes, most->events); n++)
        evict(all->said.oldest);
    if (n)
        metric_add(METRIC_SERIES(&metric_replay_evicted), (int64_t)n);
}

void replay_prime(const struct replay *r, uint64_t n, int64_t retry_ms, struct buf *out) {
    char id[EVENT_ID];
    size_t size = replay_id(r, n, id);
    sse_retry(out, retry_ms);
    sse_write(out, S(""), str_from(id, size), S(""));
}

uint64_t replay_read(const struct replay *r, uint64_t after, size_t most, struct buf *out) {
    size_t before = out->n;
    for (const struct said *s = r->oldest; s; s = s->next) {
        if (s->n <= after)
            continue;
        if (out->n > before && out->n - before + s->size > most)
            break;
        buf_put(out, s->text, s->size);
        after = s->n;
    }
    return after;
}
