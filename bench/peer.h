/* peer.h - one target under load: its connections, the requests on them, the check of each answer.
 *
 * A request is built once per connection; from call to call only the ten digits of its id
 * change, in the id and at the start of the text. The answer must be 200 and carry that id and
 * that text (for a list that many tools, for a ping a result), else the program ends and says what came instead.
 *
 * Legacy style opens a session per connection (initialize, notifications/initialized) and sends
 * Mcp-Session-Id; modern style sends the headers and the _meta of 2026-07-28. */
#pragma once
#include "kit.h"

#include <sys/types.h>

enum filler { FILL_ESCAPED, FILL_PLAIN, FILL_UTF8 };

/* What is asked: the same for all peers of a run. */
struct load {
    bool modern;
    bool capable;       /* the client says that it can be asked: bridging then prepares for it */
    bool ping;          /* a request that does nothing, instead of tools/call (legacy style) */
    int64_t list_tools; /* not 0: tools/list, and so many must be in the answer */
    size_t text_bytes;  /* between the quotes of the argument `text`, at least 16 */
    enum filler filler;
    const char *key; /* bearer key */
};

struct conn {
    struct peer *peer;
    int fd;
    uint32_t events; /* that epoll watches */
    struct bytes request;
    size_t id_at, text_at; /* where the digits stand in it */
    size_t sent;
    struct message in;
    int64_t started; /* when the call at hand was due, ns */
};

struct peer {
    const char *name, *path, *tool;
    uint16_t port;
    pid_t pid; /* of its process tree, 0: not measured */
    const struct load *load;
    int epoll;
    struct conn *conns;
    size_t count;
};

/* Reads "name,port,path,tool,pid" into *p; changes and keeps the text. */
void peer_parse(struct peer *p, char *text);

/* Connects, opens sessions when the style has them, and makes the requests. */
void peer_open(struct peer *p, const struct load *load, size_t connections);

/* Opens that many sessions one after the other on the first connection (legacy style). */
void peer_sessions(struct peer *p, size_t sessions);

/* Starts a call. */
void conn_call(struct conn *c);

/* Goes on with a call after epoll reported `events`; true when its verified answer is there. */
bool conn_event(struct conn *c, uint32_t events);
