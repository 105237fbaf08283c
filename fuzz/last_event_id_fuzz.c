/* last_event_id_fuzz.c - the first line is what becomes of some streams, the rest a Last-Event-ID,
 * as it is and as a change of a good one: only a good one is accepted, in one spelling; what it
 * is answered with is what followed it, or nothing when any of that is gone. */
#include "base/mem.h"
#include "gateway/metrics.h"
#include "gateway/replay.h"
#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

enum { STREAMS = 3 };
static const uint64_t key[2] = { 0x1234, 0x5678 };
static const char session[SESSION_ID + 1] = "abcdefghijklmnopqrstuvwxyz012345";

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    gateway_metrics_register();
    return 0;
}

/* Each event is one letter; a stream that has nothing left after its end goes. */
static void say(struct replay *r, struct str text) {
    if (r->ended)
        return;
    replay_say(r, &text, 1);
    replays_trim(r->all, r);
}

static void play(struct replays *all, struct str script) {
    struct replay *streams[STREAMS];
    for (int i = 0; i < STREAMS; i++)
        streams[i] = replay_open(all, session, i ? REPLAY_CALL : REPLAY_SESSION);
    for (size_t i = 0; i < script.n; i++) {
        struct replay *r = streams[(uint8_t)script.p[i] % STREAMS];
        nanos now = (nanos)i;
        switch ((uint8_t)script.p[i] / STREAMS % 6) {
        case 0: replay_end(r, now); break;
        case 1: replay_set_read(r, !r->read, now); break;
        default: say(r, str_from(script.p + i, 1)); break;
        }
    }
}

static void check_stream(const struct replay *r, uint64_t after) {
    SCOPED(buf_done) struct buf text = { 0 };
    uint64_t n = replay_read(r, after, SIZE_MAX, &text);
    size_t ends = 0;
    for (struct str rest = buf_view(&text); rest.n; ends++)
        rest = str_skip(rest, (size_t)str_find(rest, S("\n\n")) + 2);
    assert(n == r->last && ends >= r->last - after); /* a letter may be a line end itself */
}

static bool accepts(struct replays *all, struct str text) {
    struct event_id id;
    struct replay *r;
    if (event_id_read(key, session, text, &id))
        return false;
    if (!replay_find(all, session, &id, &r)) {
        char again[EVENT_ID];
        assert(str_eq(text, str_from(again, replay_id(r, id.n, again))));
        check_stream(r, id.n);
    }
    return true;
}

static void check_changed(struct replays *all, struct replay *r, struct str change) {
    char id[EVENT_ID];
    size_t n = replay_id(r, r->last, id);
    struct str text = str_from(id, n);
    assert(accepts(all, text));
    bool changed = false;
    for (size_t i = 0; i < change.n && i < n; i++) {
        changed |= change.p[i] != 0;
        id[i] = (char)(id[i] ^ change.p[i]);
    }
    assert(accepts(all, text) == !changed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct str id = str_from((const char *)data, size), script = str_cut(&id, '\n');
    struct replays *all = replays_new(1, key);
    replays_configure(all, (struct replay_limits){ .bytes = 2000, .events = 12, .session_bytes = 1500,
                                                   .session_events = 8, .keep = 10 });
    play(all, script);
    accepts(all, id);
    check_changed(all, replays_first(all), id);
    for (struct replay *r; (r = replays_lapsed(all, (nanos)script.n));)
        replay_free(r);
    struct replay_stats stats = replays_stats(all);
    assert(stats.events <= 8 && stats.bytes <= 1500);
    replays_free(all);
    return 0;
}
