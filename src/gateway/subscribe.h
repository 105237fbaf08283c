/* subscribe.h - who wants to know when a resource changes (P-212, P-409, P-442, P-622).
 *
 * A legacy session subscribes URI by URI; a modern client names them when it listens. Towards
 * the upstream each URI is watched once, however many want it, over the gateway's own session:
 * by resources/subscribe (legacy) or a listen with all its URIs (modern). After a lost
 * connection everything is watched again, and told as updated, since changes may have been
 * missed. Updates go to every worker, whose streams know who wanted them.
 *
 * Limits   limits.subscriptions URIs of one session or listen
 * Threads  any; an upstream's table is under its lock, that of the sessions under one of its own
 */
#pragma once
#include "gateway/exchange.h"

struct watched; /* one URI of one upstream, with how many want it */

struct watched_list {
    struct watched **items;
    size_t n;
};

/* The URIs of a raw array that x may read and whose upstream can be watched; others are left
 * out (P-442). May wait. */
void subscribe_all(struct exchange *x, struct str uris, struct watched_list *out);
/* Lets go of them; the upstream is told by a task of its own. */
void watched_release(struct worker *w, struct watched_list *list);
bool watched_has(const struct watched_list *list, struct str shown);
struct str watched_shown(const struct watched *w);

void method_subscribe(struct exchange *x);
void method_unsubscribe(struct exchange *x);

/* What legacy sessions hold. */
struct subscribers;
struct subscribers *subscribers_new(void);
void subscribers_free(struct subscribers *s);
bool subscribers_want(struct subscribers *s, const char session[SESSION_ID], struct str shown);
void subscribers_forget(struct gateway *g, struct worker *w, const char session[SESSION_ID]);
/* Forgets sessions that have ended by themselves. */
void subscribers_sweep(struct gateway *g, struct worker *w);

/* From an upstream: a resource, by its own URI, has changed. */
void watched_updated(struct upstream *u, struct str uri);
/* The keeper: the connection is new. Watches everything again. */
void watched_restore(struct task *t, struct upstream *u);
/* Tells all of them as updated. */
void watched_updated_all(struct upstream *u);
/* Raw JSON array of the upstream's own URIs; how many. */
size_t watched_write(struct upstream *u, struct buf *out);
/* With the last reference of u. */
void watched_forget(struct upstream *u);
