/* envelope.h - one pass over a JSON-RPC message, no document.
 *
 * Yields the byte ranges that the gateway reads or replaces, so that a message is
 * spliced, not rebuilt: number spelling, key order and unknown members survive (P-011,
 * P-013). The pass validates the whole text: UTF-8, control characters, escapes and
 * surrogate pairs, number and literal grammar, depth, and duplicate keys in the
 * envelope, in `params` and in `params._meta`, compared without their escapes (P-012).
 * Blocks of 64 bytes are classified with AVX2 where the processor has it (chosen at start),
 * else SSE2 or plain C; the masks idea is simdjson's (Langdale and Lemire, "Parsing
 * Gigabytes of JSON per Second", 2019), the UTF-8 check is Keiser and Lemire's (2021).
 *
 * A fault of grammar wins over any other; among the rest the first in the list below. An id
 * survives the faults of -32600 and -32602, so that the answer can carry it.
 *
 * Every slice points into the text given, raw: strings without their quotes and with
 * their escapes unresolved (`escaped` flags say where that matters), other values as
 * spelled. An absent member has p == NULL.
 *
 * Threads  any, no state
 * Memory   nothing is allocated; the text needs no padding; under 2 KiB of stack
 * Waits    never
 */
#pragma once
#include "base/str.h"

enum envelope_kind {
    ENVELOPE_REQUEST,      /* id and method */
    ENVELOPE_NOTIFICATION, /* method, no id */
    ENVELOPE_RESULT,       /* id and result */
    ENVELOPE_ERROR,        /* error; id may be absent or null (P-007) */
    ENVELOPE_BATCH,        /* a non-empty array: the elements are not looked into (P-008) */
};

/* What the scan refuses, with the JSON-RPC code it deserves. */
#define ENVELOPE_FAULTS(X)                                                                   \
    X(NONE, 0, "")                                                                           \
    X(SYNTAX, -32700, "not valid JSON")                                                      \
    X(UTF8, -32700, "not valid UTF-8")                                                       \
    X(SURROGATE, -32700, "a lone surrogate in a string")                                     \
    X(DEPTH, -32700, "nested deeper than the limit")                                         \
    X(DUPLICATE, -32600, "a key appears twice in the envelope, params or _meta")             \
    X(CROWDED, -32600, "more than 64 unknown members in the envelope, params and _meta")     \
    X(EMPTY_BATCH, -32600, "an empty batch")                                                 \
    X(NOT_OBJECT, -32600, "not a JSON-RPC message: an object is expected")                   \
    X(VERSION, -32600, "member jsonrpc must be \"2.0\"")                                     \
    X(ID, -32600, "id must be a string or an integer")                                       \
    X(METHOD, -32600, "method must be a non-empty string")                                   \
    X(SHAPE, -32600, "neither a request, a notification nor a response")                     \
    X(PARAMS, -32602, "params must be an object")                                            \
    X(META, -32602, "params._meta must be an object")                                        \
    X(MEMBER, -32602, "a member of params or _meta has the wrong type")

enum envelope_fault {
#define X(name, code, text) ENVELOPE_##name,
    ENVELOPE_FAULTS(X)
#undef X
};

int envelope_fault_code(enum envelope_fault f);
const char *envelope_fault_text(enum envelope_fault f);

struct envelope {
    enum envelope_kind kind;
    struct str text;   /* without white space around it */
    struct str version; /* member jsonrpc, inside its quotes */
    struct str id;     /* raw token: 17 or "a" with its quotes; null reads as absent */
    struct str method; /* inside its quotes */
    struct str params; /* raw object with braces; null reads as absent */
    /* members of params */
    struct str name;      /* what the method goes by, inside its quotes: params.uri for resources/…,
                           * params.taskId for tasks/…, else params.name, else uri, else taskId */
    bool name_escaped;    /* name has escapes: compare after json_unquote */
    struct str uri, task_id; /* as they are there, inside their quotes */
    struct str arguments; /* raw object; null reads as absent */
    struct str cursor;    /* raw, with quotes; a null cursor reads as absent */
    struct str input_responses; /* raw object (P-097, P-100) */
    struct str request_state;   /* raw, with quotes */
    struct str meta;      /* raw object */
    /* members of params._meta */
    struct str progress_token;      /* raw token; null reads as absent */
    struct str protocol_version;    /* io.modelcontextprotocol/protocolVersion, inside its quotes */
    struct str client_capabilities; /* …/clientCapabilities, raw */
    struct str client_info;         /* …/clientInfo, raw */
    struct str log_level;           /* …/logLevel, raw with quotes when a string */
    struct str subscription_id;     /* …/subscriptionId, raw token */
    struct str traceparent, tracestate, baggage; /* inside their quotes */
    bool version_not_string;        /* protocolVersion is there but is no string (P-041) */
    /* responses */
    struct str result; /* raw object */
    struct str error;  /* raw object */
    uint32_t methods_escaped : 1; /* method has escapes; it matches no known method */
};

struct envelope_limits {
    unsigned depth; /* 0: 128; at most 1024 */
};

/* Scans one message. On a fault other than NONE the members found so far are kept where
 * they are certain (id, kind), so that an error can echo the id. */
enum envelope_fault envelope_scan(struct str text, struct envelope_limits limits,
                                  struct envelope *out);

/* A response to a request that we sent as `id` (raw token). Texts up to `whole` bytes are
 * scanned wholly. Longer ones are trusted but for their frame: jsonrpc and the id are looked
 * for at the start and at the end (`,"id":<id>}`), and result or error is what is left
 * between; only when that fails is such a text scanned wholly. A trusted result begins and
 * ends with a brace and may be anything between: a hostile sender can hide further members
 * of the envelope there, so give SIZE_MAX for `whole` where senders must not reach each
 * other's answers.
 * On NONE, kind, id (the slice given, when trusted) and result or error are set; an error
 * without an id counts as ours and leaves id absent (P-007). A response with another id, or
 * no response at all, is SHAPE; `out` then holds what it was. */
enum envelope_fault envelope_scan_answer(struct str text, struct str id, size_t whole,
                                         struct envelope_limits limits, struct envelope *out);

/* The whole text is one valid JSON value within the limits: for bodies that are not messages. */
enum envelope_fault envelope_check_json(struct str text, struct envelope_limits limits);

/* Which classifier runs, for `gatespan version` and tests: "avx2", "sse2", "plain". Tests
 * may force one; false when the processor lacks it. */
const char *envelope_engine(void);
bool envelope_use_engine(const char *name);
