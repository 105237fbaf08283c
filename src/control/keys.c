/* keys.c - the keys of a gateway: those that its first start made or GATESPAN_ADMIN_KEY
 * named, kept as HMACs in keys.json, and those of the configuration file. */
#include "base/mem.h"
#include "control/private.h"
#include <stdio.h>

static struct str keys_path(struct control *c) {
    return arena_fmt(&c->arena, "%.*s/keys.json", STR(c->data));
}

static void keep_key(struct control *c, const struct key_record *r) {
    struct key_record *all = ARENA_ARRAY(&c->arena, struct key_record, c->kept_count + 1);
    if (c->kept_count)
        memcpy(all, c->kept, c->kept_count * sizeof *all);
    all[c->kept_count++] = *r;
    c->kept = all;
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
        keep_key(c, &r);
    }
    key_make(c->hmac_key, client, &r, &c->arena);
    r.principal.name = S("client");
    keep_key(c, &r);
    TRY(key_file_write(keys_path(c), c->kept, c->kept_count));
    if (!c->options.quiet)
        print_first_start(c, admin[0] ? admin : NULL, client);
    crypto_wipe(admin, sizeof admin);
    crypto_wipe(client, sizeof client);
    return OK;
}

err_t keys_load(struct control *c) {
    TRY(key_file_read(&c->arena, keys_path(c), &c->kept, &c->kept_count));
    if (c->options.admin_key.n) {
        struct key_record r;
        TRY_WRAP(key_adopt(c->hmac_key, c->options.admin_key, &r, &c->arena), "GATESPAN_ADMIN_KEY");
        r.principal.name = S("admin");
        r.principal.grants.admin = true;
        bool first = !c->kept_count;
        if (!knows_key(c, &r))
            keep_key(c, &r);
        return first ? make_first_keys(c) : key_file_write(keys_path(c), c->kept, c->kept_count);
    }
    return has_admin(c) ? OK : make_first_keys(c);
}

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
