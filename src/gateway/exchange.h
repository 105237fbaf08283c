/* exchange.h - one request of a client with everything that happens until its answer.
 *
 *   face: message arrives → envelope → era → exchange
 *   exchange: route → authorize → limit → upstream call → bridge → answer → account
 *
 * The face (HTTP or stdio) owns the struct and says how messages reach the client; the
 * steps know nothing of the transport.
 *
 * Threads  one worker
 * Memory   the round's arena
 */
#pragma once
#include "gateway/gateway.h"
#include "mcp/envelope.h"
#include "obs/trace.h"

enum { ANSWER_OK = 200 };

struct exchange;
struct question;
struct parked;
struct face_ops {
    /* A notification or a question that belongs to this exchange, before its answer. Pieces are one
     * JSON-RPC message without line ends. May wait for a slow client. */
    err_t (*notify)(struct exchange *x, const struct str *pieces, size_t n);
    /* The answer; once. `status` is what HTTP says. */
    void (*answer)(struct exchange *x, int status, const struct str *pieces, size_t n);
    /* On the loop, now and then while the answer is awaited. May be NULL. */
    void (*still_working)(struct exchange *x);
    /* The client may come back for the answer: its connection ends, if its revision knows of that
     * (P-151). May be NULL. */
    void (*let_go)(struct exchange *x);
    /* Turns the answer into a stream that outlives the task; NULL when the client is gone. */
    struct push_stream *(*open_stream)(struct exchange *x);
};

struct exchange {
    /* from the face */
    const struct face_ops *face;
    void *face_self;
    struct gateway_worker *gw;
    struct task *task;
    struct arena *arena;
    struct snapshot *snapshot;
    const struct principal *who;
    const struct profile_conf *profile;
    struct str profile_name;
    struct envelope in;
    enum era era;
    enum revision revision;   /* the client's */
    struct session_view session; /* legacy; id all zero where the transport has none */
    const struct http_head *head; /* NULL on stdio */
    bool can_stream;          /* notifications can reach the client */
    nanos began;
    struct str request_id;    /* of log lines; empty where the transport has none */
    /* found on the way */
    enum method method;
    struct view *view;        /* valid until the first wait */
    const struct entry *entry;
    struct upstream *upstream;
    struct str target;        /* upstream's own name or URI of what is asked */
    unsigned asks;            /* what the client can be asked (mcp/question.h) */
    struct question *questions; /* put to a legacy client, not yet passed back */
    struct question *opened;  /* of url mode and accepted: their end is told (P-407) */
    size_t open_questions;
    struct parked *parked;    /* the call may wait for a modern client's answers; NULL: not */
    json header_params;       /* of the tool, as listed anew for this call */
    bool listed_anew;
    struct str inner_state;   /* of the modern upstream, for a retry; raw */
    struct event answers;     /* one came */
    bool takes_task;          /* for an answer to this call (P-290, P-293) */
    bool waits_for_task;      /* it runs as a task upstream, and we wait (P-418, P-446) */
    struct str task_asked;    /* raw `task` of a 2025-11-25 client, where it counts */
    struct str inner_task;    /* waits_for_task: the upstream's id of it */
    struct str related_task;  /* a task's outcome is asked for: the id that the client knows */
    double progress;          /* the highest told; counts where a call has several rounds */
    bool later_round;         /* it was called again */
    int log_level;            /* lowest level that the client wants; LOG_LEVELS: none */
    bool answered, cancelled;
    bool session_ended;       /* meanwhile: that is why it fails */
    int rpc_code;             /* of the error answered, 0: a result */
    nanos retry_after;        /* of an answer 429 or 503; 0: soon */
    const char *outcome;      /* short word for metrics */
    nanos took;               /* from began until the answer left, or until there was none */
    bool recorded;            /* in the history; took is known */
    uint64_t answer_bytes;    /* for the history */
    struct str answer_kept;   /* the same: its beginning, where payloads are kept */
    struct exchange *next, **back; /* in flight on this worker */
    struct exchange_trace {
        struct trace context;   /* off where calls are not traced */
        uint64_t client_span;   /* of the call upstream; 0: there was none */
        nanos sent, received;
        const char *failure;    /* of the call upstream; NULL: none */
    } trace;
};

/* Sets method from the envelope; a spelling with escapes, such as tools\/call, is resolved. */
void exchange_read_method(struct exchange *x);
/* What the method goes by, its escapes resolved. */
static inline struct str exchange_name(const struct exchange *x) {
    return x->in.name_escaped ? json_unescape(x->arena, x->in.name) : x->in.name;
}
/* Runs one request or notification to its end. The face filled the first half. */
void exchange_run(struct exchange *x);

/* Answers, for steps and faces. Each ends in answer_send, the one way to the face. */
void answer_send(struct exchange *x, int status, const struct str *pieces, size_t n);
void answer_result(struct exchange *x, const struct str *result, size_t n);
/* `data` is raw JSON or empty. status 0: by the era's rule (PROTOCOL §2, §5.6). */
void answer_error(struct exchange *x, int status, int code, struct str data, const char *format,
                  ...) __attribute__((format(printf, 5, 6)));
/* The same with an error object that is there. */
void answer_error_object(struct exchange *x, int status, struct str error);
/* What HTTP says for a code in the client's era (PROTOCOL §2, §5.6). */
int answer_status(const struct exchange *x, int code);
/* A failure of ours or of an upstream: -32603 with data under our own key (P-024). */
void answer_failure(struct exchange *x, err_t e);

/* Local methods (methods.c): each answers itself. */
void method_initialize(struct exchange *x);
void method_ping(struct exchange *x);
void method_discover(struct exchange *x);
void method_list(struct exchange *x);
void method_set_level(struct exchange *x);
/* Methods that an upstream answers (forward.h). */
void forward(struct exchange *x);

/* Spans (trace.c). begin: where tracing is on; call: of the call upstream, whose traceparent it
 * gives; end: after the answer. */
void exchange_trace_begin(struct exchange *x);
struct str exchange_trace_call(struct exchange *x);
void exchange_trace_end(struct exchange *x);

/* The session was closed: what runs in it on this worker fails. */
void exchanges_end_session(struct gateway_worker *gw, const char session[SESSION_ID]);
/* Cancels what (session or principal, request id) names, on every worker (P-243). */
void exchange_cancel_request(struct gateway *g, const struct session_view *session,
                             struct str raw_id);
