/* caller.c - see caller.h. */
#include "gateway/caller.h"
#include "gateway/input_required.h"
#include "mcp/question.h"

/* A legacy client is asked on the stream of its call, so there must be one; a modern one in the
 * answer, where its method allows that (P-095, P-436). Apps are shown whoever may be asked. */
unsigned caller_asks(const struct exchange *x) {
    bool legacy = x->era == ERA_LEGACY;
    unsigned all = legacy ? x->session.asks : asks_read(x->in.client_capabilities, x->revision);
    bool askable = x->upstream->conf->questions != QUESTIONS_REFUSE &&
                   (legacy ? x->can_stream : input_may_be_required(x->method));
    return askable ? all : all & SHOWS_APPS;
}

static uint64_t caller_of(const struct exchange *x) {
    return x->who->digest ^ hash_bytes(x->session.id, SESSION_ID);
}

/* On a pipe all that one key has in flight is of one caller; on a session, where a modern client
 * has no name, only what a legacy client has. */
uint64_t caller_to_ask(const struct exchange *x) {
    bool pipe = x->upstream->conf->type == UPSTREAM_STDIO;
    return pipe || (x->asks && x->era == ERA_LEGACY) ? caller_of(x) : 0;
}

static uint64_t share_of(const struct exchange *x) {
    switch (x->upstream->conf->share) {
    case SHARE_PRINCIPAL: return x->who->digest;
    case SHARE_SESSION: return caller_of(x);
    default: return 0; /* one tenant until tenants exist */
    }
}

/* Sessions differ by what their callers can be asked (P-431), so that a server sees the truth. A
 * child that all share is one all the same: it declares everything, and refuses for who cannot
 * be asked (P-437). */
uint64_t caller_share(const struct exchange *x, enum revision to, unsigned asks) {
    uint64_t share = share_of(x);
    bool one_child = !share && x->upstream->conf->type == UPSTREAM_STDIO;
    if (revision_era(to) == ERA_MODERN || one_child ||
        (!share && !(asks & ASK_ALL) && asks == upstream_declares(x->upstream, asks, 0)))
        return share;
    return share ^ (uint64_t)(asks + 1) * 0x9e3779b97f4a7c15u;
}

/* ---- the log ------------------------------------------------------------------------ */

static int usual_level(void) {
    return log_level_parse(S("warning"));
}

bool caller_set_log_level(struct exchange *x) {
    if (x->era == ERA_LEGACY) {
        x->log_level = x->session.log_level >= 0 ? x->session.log_level : usual_level();
        return true;
    }
    struct str raw = x->in.log_level;
    if (!raw.p)
        return true;
    bool quoted = raw.n > 2 && raw.p[0] == '"';
    int level = quoted ? log_level_parse(str_from(raw.p + 1, raw.n - 2)) : -1;
    if (level < 0) {
        answer_error(x, 0, RPC_INVALID_PARAMS, (struct str){ 0 }, "logLevel is not a level: %.*s",
                     STR(raw));
        return false;
    }
    x->log_level = level;
    return true;
}

/* Several callers may share the session: it is never told less than those get who name no level
 * (P-231), and each is given only its own (P-443). */
unsigned caller_verbosity(const struct exchange *x) {
    bool asked = x->era == ERA_MODERN ? x->in.log_level.p != NULL : x->session.log_level >= 0;
    if (!asked || !x->can_stream)
        return 0;
    int usual = usual_level();
    return (unsigned)(LOG_LEVELS - (x->log_level < usual ? x->log_level : usual));
}
