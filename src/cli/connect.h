/* connect.h - what the files of `gatespan connect` share: one client on standard input and
 * output, a gateway (or any MCP server over Streamable HTTP) at the other end.
 *
 * Every line of the client is one message; each message becomes one hop, an HTTP request that may
 * be tried again. What the gateway says on a hop's answer goes out as lines. The era is a
 * message's own business (P-057): with modern _meta it gets the headers of P-070, else it belongs
 * to the one session of this pipe.
 *
 * Threads  one; nothing waits but the loop in connect.c
 * Limits   a message or event of 64 MiB, 1024 hops; 1 MiB unsent holds the gateway back
 */
#pragma once
#include "base/clock.h"
#include "cli/client.h"
#include "cli/libcurl.h"
#include "mcp/envelope.h"
#include "net/sse.h"

enum { CONNECT_MESSAGE = 64 * 1024 * 1024, CONNECT_HOPS = 1024, CONNECT_UNSENT = 1024 * 1024 };

enum hop_kind {
    HOP_REQUEST, /* of the client: it waits for an answer */
    HOP_NOTICE,  /* a notification or an answer of the client */
    HOP_STREAM,  /* our GET: what the server says unasked (P-145) */
    HOP_OPEN,    /* our initialize, after the session was lost (P-146) */
    HOP_OWN,     /* our requests that nobody waits for: initialized, levels, subscriptions */
    HOP_LIST,    /* our tools/list, after -32020 (P-079) */
    HOP_END,     /* our DELETE (P-147) */
};

struct bridge;
struct hop {
    struct hop *next;
    struct bridge *bridge;
    enum hop_kind kind;
    struct buf message;         /* what is sent; empty for GET and DELETE */
    struct envelope head;       /* of `message`; slices into it */
    bool modern, batch, initialize, listen;
    CURL *curl;                 /* NULL: waiting for its time, or parked */
    struct curl_slist *headers;
    struct buf body;            /* of a JSON answer */
    struct sse_parser sse;
    struct buf resume;          /* last event id: the stream is taken up there (P-150, P-151) */
    struct str session;         /* id that the answer carried; in the arena */
    bool answered, cancelled, paused, too_large, heard, told;
    bool relisted;              /* -32020 was answered with a list once */
    bool acknowledged;          /* a listen was, once: the next acknowledgement is ours */
    bool opens;                 /* HOP_OWN: initialized of a session that is opened again */
    struct str cursor;          /* HOP_LIST: raw, of the next page */
    struct hop *for_call;       /* HOP_LIST: the call that waits; HOP_NOTICE: the one it cancels */
    unsigned tries, reopened;
    long retry_after;           /* seconds */
    nanos began, due;           /* due: when it is tried (again); NANOS_NEVER: parked */
    char error[CURL_ERROR_SIZE];
};

/* A message that must be said again in a new session: the log level, each subscription. */
struct kept {
    struct kept *next;
    struct str key, text;
};

struct session {
    struct buf initialize;      /* the client's, for another time */
    struct str id;              /* empty: the server gave none */
    struct str version;         /* negotiated; empty before */
    struct kept *kept;
    bool open;                  /* initialized was sent */
    bool lost;                  /* opening again; requests are parked meanwhile */
    bool no_stream;             /* the server has none: 405 */
};

struct bridge {
    struct cli *cli;
    struct arena arena;
    const char *url;
    struct str key;
    CURLM *multi;
    struct hop *hops;
    size_t hop_count;
    struct session session;
    struct buf in, out;
    size_t in_scanned, out_sent;
    bool skipping, in_ended, out_broken;
    struct hop *barrier;        /* nothing is read before it is answered: initialize, initialized */
    struct tool_headers *tools; /* x-mcp-header annotations seen (P-078) */
    nanos patience;             /* how long a gateway that is away is waited for */
    bool away, reached;         /* away: said on stderr; reached: a request was answered */
    bool verbose, stop, closing;
    int code;                   /* of the process */
    uint64_t own_ids;
};

/* ---- connect.c ------------------------------------------------------------------------ */

/* One message to the client, as one line. */
void connect_say(struct bridge *b, struct str message);
/* An error in answer to whatever the message asks. */
void connect_refuse(struct bridge *b, const struct hop *h, int code, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* On stderr; with --quiet nothing. */
#define connect_note(b, ...) cli_note((b)->cli, __VA_ARGS__)

/* ---- connect_hop.c -------------------------------------------------------------------- */

/* Takes the text over. The hop starts at the next turn. */
struct hop *hop_new(struct bridge *b, enum hop_kind kind, struct buf *message);
void hop_start(struct hop *h);              /* sends it now */
void hop_end(struct hop *h);                /* removes and frees it */
void hop_again(struct hop *h, nanos due);   /* closes what is open, to be sent at `due` */
void hop_finished(struct hop *h, CURLcode code); /* the transfer ended */

/* ---- connect_session.c ---------------------------------------------------------------- */

/* Each message of the client as it goes out, and each answer to one as it comes back. */
void session_sent(struct bridge *b, struct hop *h);
void session_answered(struct bridge *b, struct hop *h, const struct envelope *answer);
/* The hop got 404: it is parked, and the session opened again. */
void session_lost(struct bridge *b, struct hop *h);
void session_opened(struct bridge *b, struct hop *open); /* a HOP_OPEN was answered, or it failed */
void session_noticed(struct bridge *b, struct hop *h);   /* a notification arrived there */
void session_end(struct bridge *b);                      /* sends DELETE where there is a session */

/* Which arguments of a tool travel in headers too: seen in each tools/list that passes. */
void tools_seen(struct bridge *b, struct str result);
struct str tools_headers(struct bridge *b, struct arena *a, struct str name, struct str arguments);
