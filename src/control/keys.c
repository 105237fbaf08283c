/* keys.c - the keys of a gateway: those of the registry (made by its first start, named by
 * GATESPAN_ADMIN_KEY, made over the API), kept as HMACs, and those of the configuration file. */
#include "base/log.h"
#include "base/mem.h"
#include "control/private.h"
#include <stdio.h>

static struct str keys_path(struct control *c) {
    return arena_fmt(&c->arena, "%.*s/keys.json", STR(c->data));
}

/* ---- the registry's ---------------------------------------------------------------- */

static void keep_key(struct control *c, const struct key_record *r) {
    struct key_record *all = ARENA_ARRAY(&c->kept_arena, struct key_record, c->kept_count + 1);
    if (c->kept_count)
        memcpy(all, c->kept, c->kept_count * sizeof *all);
    all[c->kept_count++] = *r;
    c->kept = all;
}

/* Usable ones only: what is revoked or expired is as good as not there. */
static err_t list_keys(struct task *t, struct control *c, struct arena *a, struct key_record **out,
                       size_t *out_n) {
    struct str after = S("");
    struct key_record *all = NULL, *page;
    size_t n = 0, got;
    nanos now = clock_wall();
    do {
        TRY(key_store_list(t, &c->key_store, a, after, 0, &page, &got));
        struct key_record *more = ARENA_ARRAY(a, struct key_record, n + got + 1);
        if (n)
            memcpy(more, all, n * sizeof *more);
        all = more;
        for (size_t i = 0; i < got; i++)
            if (key_usable(&page[i], now))
                all[n++] = page[i];
        if (got)
            after = page[got - 1].principal.id;
    } while (got == REGISTRY_PAGE);
    *out = all;
    *out_n = n;
    return OK;
}

static err_t refresh_keys(struct task *t, struct control *c) {
    struct arena a;
    arena_init(&a, NULL, 0);
    struct key_record *all;
    size_t n;
    err_t e = list_keys(t, c, &a, &all, &n);
    if (e) {
        arena_done(&a);
        return e;
    }
    arena_done(&c->kept_arena);
    c->kept_arena = a;
    c->kept = all;
    c->kept_count = n;
    return OK;
}

static err_t store_key(struct control *c, const struct key_record *r) {
    TRY(key_store_change(NULL, &c->key_store, r, REGISTRY_ANY, NULL));
    keep_key(c, r);
    return OK;
}

static bool has_admin(const struct control *c) {
    for (size_t i = 0; i < c->kept_count; i++)
        if (c->kept[i].principal.grants.admin)
            return true;
    return false;
}

static bool knows_key(const struct control *c, const struct key_record *r) {
    for (size_t i = 0; i < c->kept_count; i++)
        if (memcmp(c->kept[i].hmac, r->hmac, SHA256_SIZE) == 0)
            return true;
    return false;
}

/* Once: the keys.json of an older version moves into the registry. What is there already is
 * left alone, so that a start that was cut off in between can be repeated. */
static err_t import_file(struct control *c) {
    struct arena a;
    arena_init(&a, NULL, 0);
    struct key_record *old;
    size_t n;
    err_t e = key_file_read(&a, keys_path(c), &old, &n);
    for (size_t i = 0; i < n && !e; i++) {
        e = key_store_change(NULL, &c->key_store, &old[i], REGISTRY_CREATE, NULL);
        if (e && e->kind == ERR_CONFLICT)
            e = OK;
    }
    const char *from = arena_text(&a, keys_path(c));
    const char *to = arena_text(&a, arena_fmt(&a, "%s.migrated", from));
    if (!e && n && rename(from, to) == 0)
        log_info("keys moved into the store", F("keys", (int64_t)n), F("from", from),
                 F("kept_as", to));
    struct err saved = e ? *e : (struct err){ 0 };
    arena_done(&a);
    return e ? err_again(&saved) : OK;
}

/* ---- the first start --------------------------------------------------------------- */

static const char *first_listen(const struct control *c) {
    return arena_text((struct arena *)&c->arena, c->listen[0].text);
}

static void print_first_start(struct control *c, const char *admin, const char *client) {
    const char *scheme = c->held->conf->tls.cert_file.n ? "https" : "http";
    printf("\nGatespan " GATESPAN_VERSION " starts for the first time.\n\n"
           "  URL         %s://%s/mcp\n"
           "  data        %.*s\n",
           scheme, first_listen(c), STR(c->data));
    if (admin)
        printf("  admin key   %s   (shown once)\n", admin);
    printf("\nPaste this into your MCP client:\n\n"
           "  {\"mcpServers\": {\"gatespan\": {\"type\": \"http\", \"url\": \"%s://%s/mcp\",\n"
           "    \"headers\": {\"Authorization\": \"Bearer %s\"}}}}\n\n",
           scheme, first_listen(c), client);
    fflush(stdout);
}

/* The first start makes an admin key, unless one was given, and a client key. */
static err_t make_first_keys(struct control *c) {
    char admin[KEY_TEXT] = "", client[KEY_TEXT];
    struct key_record r;
    if (!c->options.admin_key.n) {
        key_make(c->hmac_key, admin, &r, &c->arena);
        r.principal.name = S("admin");
        r.principal.grants.admin = true;
        TRY(store_key(c, &r));
    }
    key_make(c->hmac_key, client, &r, &c->arena);
    r.principal.name = S("client");
    TRY(store_key(c, &r));
    if (!c->options.quiet)
        print_first_start(c, admin[0] ? admin : NULL, client);
    crypto_wipe(admin, sizeof admin);
    crypto_wipe(client, sizeof client);
    return OK;
}

err_t keys_load(struct control *c) {
    TRY(import_file(c));
    TRY(refresh_keys(NULL, c));
    if (c->options.admin_key.n) {
        struct key_record r;
        TRY_WRAP(key_adopt(c->hmac_key, c->options.admin_key, &r, &c->arena), "GATESPAN_ADMIN_KEY");
        r.principal.name = S("admin");
        r.principal.grants.admin = true;
        bool first = !c->kept_count;
        if (!knows_key(c, &r)) /* also one that was revoked: whoever starts us says it is valid */
            TRY(store_key(c, &r));
        return first ? make_first_keys(c) : OK;
    }
    return has_admin(c) ? OK : make_first_keys(c);
}

/* ---- the index --------------------------------------------------------------------- */

/* The last of n against those before: rights, limits and sessions go by the id. In the file
 * stands each secret once; it may give new rights to a key of the data directory. */
static err_t check_unique(const struct control *c, const struct key_record *all, size_t n) {
    const struct key_record *last = &all[n - 1];
    for (size_t i = 0; i < n - 1; i++) {
        if (!str_eq(all[i].principal.id, last->principal.id))
            continue;
        if (memcmp(all[i].hmac, last->hmac, SHA256_SIZE) != 0)
            return ERR(INVALID, "another key has the id %.*s too", STR(last->principal.id));
        if (i >= c->kept_count)
            return ERR(INVALID, "keys.%.*s has the same secret", STR(all[i].principal.name));
    }
    return OK;
}

err_t keys_build(struct control *c, const struct gateway_conf *conf, struct key_index **out) {
    struct arena a;
    arena_init(&a, NULL, 0);
    struct key_record *all = ARENA_ARRAY(&a, struct key_record, c->kept_count + conf->keys.n + 1);
    size_t n = c->kept_count;
    if (n)
        memcpy(all, c->kept, n * sizeof *all);
    err_t e = OK;
    for (size_t i = 0; !e && i < conf->keys.n; i++) {
        const struct key_conf *k = &((const struct key_conf *)conf->keys.items)[i];
        e = key_adopt(c->hmac_key, k->secret, &all[n], &a);
        if (!e)
            e = check_unique(c, all, n + 1);
        if (e) {
            e = err_wrap(e, "keys.%.*s", STR(k->name));
            break;
        }
        all[n].principal.name = k->name;
        all[n++].principal.grants = (struct grants){
            .profiles = k->profiles, .allow = k->allow, .deny = k->deny, .admin = k->admin, .rate = k->rate,
            .burst = k->burst ? (double)k->burst : k->rate.per_second,
        };
    }
    if (!e)
        *out = key_index_new(all, n, c->hmac_key, conf->anonymous == 1);
    arena_done(&a);
    return e;
}

/* ---- last use ---------------------------------------------------------------------- */

/* The index in use tells when each key was used; the store learns it now and then. */
err_t keys_flush_used(struct task *t, struct control *c) {
    SCOPED(arena_scope) struct arena a;
    arena_init(&a, NULL, 0);
    const struct key_index *keys = c->store && c->gateway
                                       ? snapshot_peek(c->worker, c->gateway->keys)
                                       : NULL;
    nanos now = clock_mono(), offset = clock_wall() - now;
    size_t count = keys ? key_index_count(keys) : 0, n = 0;
    struct store_statement *all = ARENA_ARRAY(&a, struct store_statement, count + 1);
    for (size_t i = 0; i < count; i++) {
        const struct principal *who = key_index_at(keys, i);
        nanos used = __atomic_load_n(who->used, __ATOMIC_RELAXED);
        if (!used || used <= c->used_flushed)
            continue;
        struct store_value *binds = ARENA_ARRAY(&a, struct store_value, 3);
        binds[0] = store_text(arena_dup(&a, who->tenant));
        binds[1] = store_text(arena_dup(&a, who->id));
        binds[2] = store_int(used + offset);
        all[n++] = (struct store_statement){
            "INSERT INTO key_use VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET last_used = excluded.last_used",
            binds, 3, NULL };
    }
    if (!n)
        return OK;
    TRY(store_write(t, c->store, all, n, NULL));
    c->used_flushed = now - NANOS_SEC; /* workers' clocks are a little behind */
    return OK;
}

/* ---- while it runs ----------------------------------------------------------------- */

static bool file_has_admin(const struct gateway_conf *conf) {
    for (size_t i = 0; i < conf->keys.n; i++)
        if (((const struct key_conf *)conf->keys.items)[i].admin)
            return true;
    return false;
}

/* Nobody locks himself out: somebody can still administer afterwards. */
err_t keys_check(struct control *c, struct str id, struct str doc) {
    struct arena a;
    struct key_record r = { 0 };
    arena_init(&a, NULL, 0);
    err_t e = doc.p ? key_doc_read(&a, doc, &r) : OK;
    if (!e && doc.p && !str_eq(r.principal.id, id))
        e = ERR(INVALID, "the document is of key %.*s", STR(r.principal.id));
    bool admin = file_has_admin(c->file->conf) ||
                 (doc.p && r.principal.grants.admin && key_usable(&r, clock_wall()));
    for (size_t i = 0; i < c->kept_count && !admin; i++)
        admin = c->kept[i].principal.grants.admin && !str_eq(c->kept[i].principal.id, id);
    if (!e && !admin)
        e = ERR(CONFLICT, "key %.*s is the last one that may administer: make another one first",
                STR(id));
    arena_done(&a);
    return e;
}

static void expire_later(struct control *c);

err_t keys_publish(struct task *t, struct control *c) {
    struct key_index *keys;
    TRY(keys_flush_used(t, c)); /* the old index goes, and what it knows */
    TRY(refresh_keys(t, c));
    TRY(keys_build(c, c->held->conf, &keys));
    expire_later(c);
    return gateway_publish_keys(t, c->gateway, keys);
}

static err_t publish_alone(struct task *t, void *arg) {
    return keys_publish(t, arg);
}

/* Not beside a change: what it read before a revocation must not be published after it. */
static void run_expiry(struct task *t, void *arg) {
    struct control *c = arg;
    err_t e = registry_alone(t, c->registry, publish_alone, c);
    if (!e)
        return;
    log_error("expired keys are still accepted", F("error", e->text));
    timer_set(c->worker, &c->key_expiry, worker_now(c->worker) + NANOS_SEC);
}

static void on_expiry(struct worker *w, struct timer *timer) {
    struct control *c = (struct control *)((char *)timer - offsetof(struct control, key_expiry));
    if (!task_spawn(w, run_expiry, c))
        timer_set(w, timer, worker_now(w) + NANOS_SEC);
    worker_run_ready(w);
}

/* The index knows no time: it is made anew when a key in it expires. */
static void expire_later(struct control *c) {
    nanos next = NANOS_NEVER;
    for (size_t i = 0; i < c->kept_count; i++)
        if (c->kept[i].expires && c->kept[i].expires < next)
            next = c->kept[i].expires;
    nanos wait = next == NANOS_NEVER ? 0 : next - clock_wall();
    if (wait > 24 * 3600 * NANOS_SEC)
        wait = 24 * 3600 * NANOS_SEC; /* the wall clock may be set meanwhile */
    c->key_expiry.fire = on_expiry;
    timer_set(c->worker, &c->key_expiry,
              next == NANOS_NEVER ? NANOS_NEVER : worker_now(c->worker) + (wait > 0 ? wait : 0));
}

void keys_serve(struct control *c) {
    if (c->registry)
        expire_later(c);
}
