/* rest_explain.c - why a caller sees a tool and may call it, or not: each step of the way with
 * what it says. Whether it does comes from the caller's view itself, the reason from the function
 * that the view is compiled with (access_decide), so the two cannot disagree. */
#include "base/mem.h"
#include "control/private.h"
#include "control/rest.h"
#include "control/rest_routes.h"

struct explain_query {
    struct str tool, key, profile;
};
#define T struct explain_query
static const struct field query_fields[] = {
    FIELD(T, tool, STR, NULL, "1..200", FIELD_REQUIRED, "Name of the tool, as the caller writes it."),
    FIELD(T, key, STR, NULL, "..64", 0, "Id or name of the key that asks; empty: the one that asks now. Others are for admins."),
    FIELD(T, profile, STR, NULL, "..64", 0, "Profile that is used."),
};
#undef T
static const struct schema explain_query = SCHEMA("ExplainQuery", query_fields,
                                                  struct explain_query);

struct step {
    struct str step, says;
    bool ok;
};
#define T struct step
static const struct field step_fields[] = {
    FIELD(T, step, STR, NULL, NULL, 0, "credential, profile, tool, profile rules, key rules, upstream or rate."),
    FIELD(T, ok, BOOL, NULL, NULL, 0, "It lets the call pass."),
    FIELD(T, says, STR, NULL, NULL, 0, "What it found, with the rule that decided."),
};
#undef T

enum { MOST_STEPS = 8 };
struct explanation {
    struct str tool, key, profile, upstream, decided_by;
    bool sees, may_call;
    struct item_list steps;
};
#define T struct explanation
static const struct field explain_fields[] = {
    FIELD(T, tool, STR, NULL, NULL, 0, "The tool asked for."),
    FIELD(T, key, STR, NULL, NULL, 0, "Name of the key."),
    FIELD(T, profile, STR, NULL, NULL, 0, "The profile; empty: the whole catalogue."),
    FIELD(T, upstream, STR, NULL, NULL, 0, "Whose tool it is."),
    FIELD(T, sees, BOOL, NULL, NULL, 0, "It is in the caller's list."),
    FIELD(T, may_call, BOOL, NULL, NULL, 0, "A call would reach the upstream now."),
    FIELD(T, decided_by, STR, NULL, NULL, 0, "The first step that says no; empty: none does."),
    FIELD_NEST(T, steps, LIST, step_fields, struct step, 0, "The way of a call, in order."),
};
#undef T
static const struct schema explain_schema = SCHEMA("Explanation", explain_fields,
                                                   struct explanation);

struct asking {
    struct rest *rest;
    const struct explain_query *query;
    const struct principal *who;
    const struct profile_conf *profile;
    const struct entry *entry;
    struct explanation out;
    struct step steps[MOST_STEPS];
};

/* ---- steps -------------------------------------------------------------------------------- */

static bool say(struct asking *a, const char *step, bool ok, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
static bool say(struct asking *a, const char *step, bool ok, const char *format, ...) {
    va_list args;
    va_start(args, format);
    struct step *s = &a->steps[a->out.steps.n++];
    *s = (struct step){ str_of(step), arena_vfmt(a->rest->arena, format, args), ok };
    va_end(args);
    if (!ok && !a->out.decided_by.n)
        a->out.decided_by = s->step;
    return ok;
}

static struct str joined(struct asking *a, const struct str_list *list) {
    SCOPED(buf_done) struct buf b = { 0 };
    for (size_t i = 0; i < list->n; i++)
        buf_fmt(&b, "%s%.*s", i ? ", " : "", STR(list->items[i]));
    return arena_dup(a->rest->arena, buf_view(&b));
}

/* Whoever is not the caller himself only admins may ask about. */
static err_t find_key(struct asking *a) {
    struct rest *r = a->rest;
    struct str wanted = a->query->key;
    const struct key_index *index = snapshot_peek(r->request->worker,
                                                  control_gateway(r->control)->keys);
    a->who = r->who;
    if (!wanted.n || str_eq(wanted, r->who->id) || str_eq(wanted, r->who->name))
        return OK;
    if (!r->who->grants.admin)
        return ERR(DENIED, "only an admin key may ask about other keys");
    const struct principal *found = NULL;
    for (size_t i = 0; i < key_index_count(index); i++) {
        const struct principal *p = key_index_at(index, i);
        if (str_eq(p->id, wanted) || (!found && str_eq(p->name, wanted)))
            found = p;
    }
    if (!found)
        return ERR(NOT_FOUND, "there is no key \"%.*s\" that is accepted", STR(wanted));
    a->who = found;
    return OK;
}

static bool pass_profile(struct asking *a) {
    const struct snapshot *s = a->rest->visit->snapshot;
    struct str name = a->query->profile;
    const struct str_list *own = &a->who->grants.profiles;
    if (!snapshot_profile(s, name, &a->profile))
        return say(a, "profile", false, "there is no profile %.*s", STR(name));
    if (!snapshot_profile_for(s, a->who, name, &a->profile))
        return say(a, "profile", false, "key %.*s may only use the profiles %.*s",
                   STR(a->who->name), STR(joined(a, own)));
    return name.n ? say(a, "profile", true, "profile %.*s is open to the key", STR(name))
                  : say(a, "profile", true, "the whole catalogue, no profile");
}

static const struct entry *find_entry(struct asking *a) {
    const struct catalogue *c = a->rest->visit->snapshot->catalogue;
    for (size_t i = 0; i < c->counts[ITEM_TOOL]; i++) {
        const struct entry *e = &c->entries[ITEM_TOOL][i];
        if (str_eq(catalogue_name(a->profile, e), a->query->tool))
            return e;
    }
    return NULL;
}

/* The upstream whose own allow and deny keep the tool out of the catalogue. */
static const struct upstream_conf *hider(struct asking *a) {
    const struct snapshot *s = a->rest->visit->snapshot;
    for (size_t i = 0; i < s->upstream_count; i++) {
        const struct upstream_conf *conf = s->sources[i].conf;
        const struct part *part = s->sources[i].part;
        struct str prefix = conf->prefix ? arena_fmt(a->rest->arena, "%.*s__", STR(conf->name))
                                         : S("");
        for (size_t k = 0; part && k < part->counts[ITEM_TOOL]; k++) {
            struct str shown = arena_fmt(a->rest->arena, "%.*s%.*s", STR(prefix),
                                         STR(part->items[ITEM_TOOL][k].name));
            if (str_eq(shown, a->query->tool))
                return conf;
        }
    }
    return NULL;
}

static struct str closest(struct asking *a) {
    const struct catalogue *c = a->rest->visit->snapshot->catalogue;
    struct str best = { 0 };
    unsigned distance = 7;
    for (size_t i = 0; i < c->counts[ITEM_TOOL]; i++) {
        struct str name = catalogue_name(a->profile, &c->entries[ITEM_TOOL][i]);
        unsigned d = str_ends(name, a->query->tool) ? 1 : str_distance(name, a->query->tool, 6);
        if (d < distance) {
            distance = d;
            best = name;
        }
    }
    return best;
}

static bool sees(struct asking *a) {
    struct rest *r = a->rest;
    struct view *view = gateway_view(gateway_here(r->request->worker), r->visit->snapshot, a->who,
                                     a->profile);
    return access_has(view->access, a->entry->index);
}

static bool pass_tool(struct asking *a) {
    const struct catalogue *c = a->rest->visit->snapshot->catalogue;
    struct str tool = a->query->tool;
    a->entry = find_entry(a);
    /* Whoever may not see a tool must not learn from us that there is one. */
    if (!a->rest->who->grants.admin && (!a->entry || !sees(a)))
        return say(a, "tool", false,
                   "this key has no tool of this name; why, an admin key is told");
    if (a->entry) {
        a->out.upstream = a->rest->visit->snapshot->sources[a->entry->upstream].conf->name;
        return say(a, "tool", true, "upstream %.*s offers it as %.*s", STR(a->out.upstream),
                   STR(a->entry->name));
    }
    const struct entry *renamed = catalogue_find(c, ITEM_TOOL, tool);
    if (renamed)
        return say(a, "tool", false, "profile %.*s calls it %.*s", STR(a->query->profile),
                   STR(catalogue_name(a->profile, renamed)));
    const struct upstream_conf *conf = hider(a);
    if (conf)
        return say(a, "tool", false, "upstreams.%.*s.%s keeps it out of the catalogue",
                   STR(conf->name), conf->allow.n ? "allow" : "deny");
    struct str near = closest(a);
    return say(a, "tool", false, "no upstream offers it%s%.*s%s%.*s",
               near.n ? "; did you mean " : "", STR(near),
               c->missing.n > 2 ? "; not answering now: " : "",
               STR(c->missing.n > 2 ? c->missing : S("")));
}

static bool pass_rules(struct asking *a) {
    static const struct str_list none;
    const struct snapshot *s = a->rest->visit->snapshot;
    const struct profile_conf *p = a->profile;
    const struct grants *g = &a->who->grants;
    const struct access_rules rules = { p ? &p->allow : &none, p ? &p->deny : &none, &g->allow,
                                        &g->deny };
    struct str upstream = s->sources[a->entry->upstream].conf->name, profile = a->query->profile;
    struct access_reason why = access_decide(access_in_profile(p, upstream), &rules,
                                             a->entry->shown);
    switch (why.step) {
    case ACCESS_OUTSIDE_PROFILE:
        return say(a, "profile rules", false, "profiles.%.*s.upstreams does not name %.*s",
                   STR(profile), STR(upstream));
    case ACCESS_PROFILE_ALLOW:
        return say(a, "profile rules", false, "nothing in profiles.%.*s.allow matches %.*s",
                   STR(profile), STR(a->entry->shown));
    case ACCESS_PROFILE_DENY:
        return say(a, "profile rules", false, "profiles.%.*s.deny has \"%.*s\"", STR(profile),
                   STR(why.glob));
    case ACCESS_KEY_ALLOW:
        return say(a, "key rules", false, "nothing in allow of key %.*s matches %.*s (it has %.*s)",
                   STR(a->who->name), STR(a->entry->shown), STR(joined(a, &g->allow)));
    case ACCESS_KEY_DENY:
        return say(a, "key rules", false, "deny of key %.*s has \"%.*s\"", STR(a->who->name),
                   STR(why.glob));
    case ACCESS_SEEN:
        break;
    }
    return say(a, "key rules", true, "neither the profile nor the key keeps it away");
}

static bool pass_upstream(struct asking *a) {
    char reason[256] = "";
    struct upstream *u = a->rest->visit->snapshot->upstreams[a->entry->upstream];
    enum upstream_state state = upstream_state(u, reason);
    return say(a, "upstream", state == UP_READY, "%.*s is %s%s%s", STR(a->out.upstream),
               upstream_state_word(state), state != UP_READY && reason[0] ? ": " : "",
               state != UP_READY ? reason : "");
}

static void tell_rate(struct asking *a) {
    const struct grants *g = &a->who->grants;
    if (g->rate.per_second > 0)
        say(a, "rate", true, "the key may call %g times a second, %g at once", g->rate.per_second,
            g->burst);
}

/* ---- the route ------------------------------------------------------------------------------ */

static void walk(struct asking *a) {
    say(a, "credential", true, "key %.*s (%.*s) is accepted%s", STR(a->who->name), STR(a->who->id),
        a->who->grants.admin ? ", as an admin's" : "");
    if (!pass_profile(a) || !pass_tool(a))
        return;
    a->out.sees = sees(a);
    pass_rules(a);
    if (!a->out.sees)
        return;
    a->out.may_call = pass_upstream(a);
    tell_rate(a);
}

static err_t explain_show(struct rest *r) {
    struct asking a = { .rest = r, .query = r->query };
    TRY(find_key(&a));
    a.out.tool = a.query->tool;
    a.out.key = a.who->name;
    a.out.profile = a.query->profile;
    a.out.steps.items = a.steps;
    walk(&a);
    field_write(explain_fields, ARRAY_SIZE(explain_fields), &a.out, &r->w);
    return OK;
}

static const struct route rows[] = {
    ROUTE(GET, "/api/v1/explain", KEY, explain_show, "Which rule, hop or credential decides whether a caller sees a tool and may call it.",
          .query = &explain_query, .result = &explain_schema),
};
const struct route_table explain_routes = { "explain", rows, ARRAY_SIZE(rows) };
