/* refusal.c - see refusal.h. */
#include "gateway/refusal.h"
#include "base/json.h"
#include "mcp/revision.h"

const struct refusal_row refusal_rows[REFUSAL_COUNT] = {
#define X(name, status, word, title, meaning) { status, word, title, meaning },
    REFUSALS(X)
#undef X
};

static const struct refusal_row *row_of(struct str word) {
    for (size_t i = 0; i < ARRAY_SIZE(refusal_rows); i++)
        if (str_eq(word, str_of(refusal_rows[i].word)))
            return &refusal_rows[i];
    return NULL;
}

enum refusal_code refusal_of(enum err_kind kind) {
    const struct refusal_row *row = row_of(str_of(err_word(kind)));
    return row ? (enum refusal_code)(row - refusal_rows) : REFUSAL_INTERNAL;
}

/* The request id, which the log lines of the request carry, stands in both shapes. */
static void put_details(struct jw *w, struct str id, struct str details) {
    jw_object(w);
    for (struct json_members m = json_members(details); json_member(&m);) {
        jw_key(w, m.key);
        jw_raw(w, m.value);
    }
    jw_put_string(w, "requestId", id);
    jw_object_end(w);
}

static void write_rpc(struct jw *w, struct str id, const struct refusal *what) {
    jw_object(w);
    jw_put_string(w, "jsonrpc", S("2.0"));
    jw_key(w, S("error"));
    jw_object(w);
    jw_put_int(w, "code", RPC_INVALID_REQUEST);
    jw_put_string(w, "message", what->message);
    jw_key(w, S("data"));
    jw_object(w);
    jw_key(w, S("gatespan"));
    put_details(w, id, S(""));
    jw_object_end(w);
    jw_object_end(w);
    jw_object_end(w);
}

/* RFC 9457 §3.1. The type leads to the error's place in our own reference page. */
static void write_problem(struct jw *w, const struct http_request *r, const struct refusal *what) {
    const struct refusal_row *row = row_of(what->word);
    char type[96] = "/docs#";
    size_t n = what->word.n < 80 ? what->word.n : 80;
    memcpy(type + 6, what->word.p, n);
    jw_put_string(w, "type", str_from(type, 6 + n));
    jw_put_string(w, "title", row ? str_of(row->title) : str_of(http_status_text(what->status)));
    jw_put_int(w, "status", what->status);
    jw_put_string(w, "detail", what->message);
    jw_put_string(w, "instance", r->head->path);
}

static void write_api(struct jw *w, const struct http_request *r, const struct refusal *what,
                      bool problem) {
    char when[CLOCK_TEXT];
    jw_object(w);
    jw_put_string(w, "error", what->word);
    jw_put_string(w, "message", what->message);
    jw_key(w, S("details"));
    put_details(w, r->id, what->details);
    jw_put_string(w, "timestamp", clock_rfc3339(clock_wall(), when));
    if (problem)
        write_problem(w, r, what);
    jw_object_end(w);
}

struct str refusal_write(struct buf *b, const struct http_request *r, const struct refusal *what) {
    struct jw w = jw_init(b);
    if (what->style == REFUSE_RPC) {
        write_rpc(&w, r->id, what);
        return S("application/json");
    }
    bool problem = str_find(r->head->known[HTTP_ACCEPT], S("application/problem+json")) >= 0;
    write_api(&w, r, what, problem);
    return problem ? S("application/problem+json") : S("application/json");
}
