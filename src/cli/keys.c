/* keys.c - `gatespan keys`: keys of clients, through the API of a running gateway; `recover` on
 * the data directory itself, for when nobody has an admin key any more. */
#include "base/field.h"
#include "base/mem.h"
#include "cli/client.h"
#include "cli/output.h"
#include "control/control.h"

/* ---- finding -------------------------------------------------------------------------- */

static const struct cli_option list_options[] = {
    GATEWAY_OPTIONS,
    { "state", "STATE", NULL, false, "only keys that are active, revoked or expired" },
    OUTPUT_OPTION,
};

static int list(struct cli *c) {
    static const struct column columns[] = {
        { "ID", "id" }, { "NAME", "name" }, { "STATE", "state" }, { "ADMIN", "admin" }, { "FROM", "source" },
        { "PROFILES", "profiles" }, { "ALLOW", "allow" }, { "DENY", "deny" }, { "CREATED", "created" },
        { "LAST USED", "last_used" }, { "EXPIRES", "expires" },
    };
    SCOPED(buf_done) struct buf path = { 0 };
    struct str state = cli_get(c, "state");
    struct mcp_client m;
    json all = NULL;
    int code = client_open(c, &m);
    buf_str(&path, S("/api/v1/keys"));
    if (state.n) {
        buf_str(&path, S("?state="));
        client_escape(&path, state);
    }
    if (!code)
        code = client_rest_all(&m, buf_view(&path), &all);
    if (!code)
        output_list(c, all, columns, ARRAY_SIZE(columns));
    return code;
}

/* By id, or by a name that one active key alone has. */
static int find(struct cli *c, struct mcp_client *m, struct str wanted, struct str *out_id) {
    json all = NULL;
    size_t n = 0;
    int code = client_rest_all(m, S("/api/v1/keys"), &all);
    if (code)
        return code;
    for (struct json_iter it = json_iter(all); json_next(&it);) {
        struct str id = json_get_text(it.value, S("id"));
        bool named = str_eq(json_get_text(it.value, S("name")), wanted) &&
                     str_eq(json_get_text(it.value, S("state")), S("active"));
        if (str_eq(id, wanted)) {
            *out_id = id;
            return 0;
        }
        n += named;
        if (named)
            *out_id = id;
    }
    if (n > 1)
        return cli_fail(EXIT_USAGE,
                        "%zu active keys are called %.*s: name one by its id (gatespan keys list)",
                        n, STR(wanted));
    return n ? 0
             : cli_fail(EXIT_FAILURE_, "there is no active key %.*s (gatespan keys list)",
                        STR(wanted));
}

/* ---- making --------------------------------------------------------------------------- */

static const struct cli_option make_options[] = {
    GATEWAY_OPTIONS,
    { "admin", NULL, NULL, false, "it may use the administration surface too" },
    { "profile", "NAME", NULL, true, "it may use this profile; without it every one", 'p' },
    { "allow", "GLOB", NULL, true, "it may see and call what matches; without it everything" },
    { "deny", "GLOB", NULL, true, "it may not see and call what matches" },
    { "rate", "RATE", NULL, false, "calls it may make, such as 100/s or 6000/m" },
    { "burst", "N", NULL, false, "calls it may make at once" },
    { "expires", "WHEN", NULL, false, "not accepted from then on: 90d from now, or 2027-01-01T00:00:00Z" },
    OUTPUT_OPTION,
};

static void put_list(struct cli *c, struct jw *w, const char *key, const char *option) {
    struct str_list all;
    cli_all(c, option, &all);
    if (!all.n)
        return;
    jw_key(w, str_of(key));
    jw_array(w);
    for (size_t i = 0; i < all.n; i++)
        jw_string(w, all.items[i]);
    jw_array_end(w);
}

static void put_expiry(struct cli *c, struct jw *w) {
    char text[CLOCK_TEXT];
    struct str given = cli_get(c, "expires");
    nanos span = 0;
    if (!given.n)
        return;
    if (clock_parse_duration(given, &span))
        given = clock_rfc3339(clock_wall() + span, text);
    jw_put_string(w, "expires", given);
}

static int put_grants(struct cli *c, struct jw *w) {
    struct str rate = cli_get(c, "rate"), burst = cli_get(c, "burst");
    uint64_t n = 0;
    if (burst.p && !str_to_u64(burst, &n))
        return cli_fail(EXIT_USAGE, "--burst %.*s: a number is needed", STR(burst));
    jw_object(w);
    jw_put_string(w, "name", c->words[0]);
    if (cli_has(c, "admin"))
        jw_put_bool(w, "admin", true);
    put_list(c, w, "profiles", "profile");
    put_list(c, w, "allow", "allow");
    put_list(c, w, "deny", "deny");
    if (rate.n)
        jw_put_string(w, "rate", rate);
    if (burst.p)
        jw_put_int(w, "burst", (int64_t)n);
    put_expiry(c, w);
    jw_object_end(w);
    return 0;
}

/* The key alone goes to standard output, so that $(gatespan keys make ci) is it. */
static void show_made(const struct cli *c, json made) {
    if (output_format(c) != FORMAT_TABLE) {
        output_value(c, made, output_format(c));
        return;
    }
    struct str key = json_get_text(made, S("key"));
    printf("%.*s\n", STR(key));
    cli_note(c, "key %.*s, id %.*s; it is shown this once", STR(json_get_text(made, S("name"))),
             STR(json_get_text(made, S("id"))));
}

static int make(struct cli *c) {
    SCOPED(buf_done) struct buf body = { 0 };
    struct jw w = jw_init(&body);
    struct mcp_client m;
    json made = NULL;
    int code = put_grants(c, &w);
    if (!code)
        code = client_open(c, &m);
    if (!code)
        code = client_rest(&m, "POST", S("/api/v1/keys"), buf_view(&body), &made);
    if (!code)
        show_made(c, made);
    return code;
}

/* ---- changing ------------------------------------------------------------------------- */

static const struct cli_option rotate_options[] = {
    GATEWAY_OPTIONS,
    { "overlap", "DURATION", NULL, false, "how long the old key stays valid; default 1h" },
    OUTPUT_OPTION,
};

static int rotate(struct cli *c) {
    struct str overlap = cli_get(c, "overlap"), id = { 0 };
    int64_t ignored;
    struct mcp_client m;
    json made = NULL;
    int code = str_eq(overlap, S("0s")) ? 0 : cli_duration(c, "overlap", 0, &ignored);
    if (!code)
        code = client_open(c, &m);
    if (!code)
        code = find(c, &m, c->words[0], &id);
    if (code)
        return code;
    struct str body = arena_fmt(&c->arena, "{\"overlap\":\"%.*s\"}",
                                STR(overlap.n ? overlap : S("1h")));
    struct str path = arena_fmt(&c->arena, "/api/v1/keys/%.*s/rotate", STR(id));
    code = client_rest(&m, "POST", path, body, &made);
    if (code)
        return code;
    show_made(c, made);
    cli_note(c, "the old key %.*s stays valid for %.*s", STR(id),
             STR(overlap.n ? overlap : S("1h")));
    return 0;
}

static const struct cli_option revoke_options[] = { GATEWAY_OPTIONS };

static int revoke_key(struct cli *c) {
    struct str id = { 0 };
    struct mcp_client m;
    json ignored = NULL;
    int code = client_open(c, &m);
    if (!code)
        code = find(c, &m, c->words[0], &id);
    if (!code)
        code = client_rest(&m, "DELETE", arena_fmt(&c->arena, "/api/v1/keys/%.*s", STR(id)), S(""),
                           &ignored);
    if (!code)
        cli_note(c, "key %.*s is revoked; no worker accepts it any more", STR(id));
    return code;
}

/* ---- recovering ----------------------------------------------------------------------- */

static const struct cli_option recover_options[] = {
    { "data", "DIR", "GATESPAN_DATA", false, "the data directory of the gateway, which must not be running" },
    { "keep", NULL, NULL, false, "leave the other admin keys valid; without it they are revoked" },
};

static int recover(struct cli *c) {
    char text[KEY_TEXT];
    size_t revoked = 0;
    err_t e = control_recover(cli_data_dir(c), !cli_has(c, "keep"), text, &revoked);
    if (e)
        return cli_fail(e->kind == ERR_NOT_FOUND ? EXIT_USAGE : EXIT_FAILURE_, "%s", e->text);
    puts(text);
    cli_note(c, "a new admin key, shown this once; %zu other admin key%s revoked", revoked,
             revoked == 1 ? "" : "s");
    crypto_wipe(text, sizeof text);
    return 0;
}

/* ---- the commands --------------------------------------------------------------------- */

#define ROWS(rows) .options = rows, .option_count = ARRAY_SIZE(rows)
static const struct cli_example make_examples[] = {
    { "gatespan keys make ci --allow 'files__read_*' --rate 20/s --expires 90d", "for a program that only reads" },
    { "KEY=$(gatespan keys make laptop -q)", "the key alone" },
};
static const struct command command_make = {
    .name = "make", .words = "NAME", .summary = "make a key; it is shown once", ROWS(make_options), .least_words = 1,
    .most_words = 1, .run = make, .examples = make_examples, .example_count = ARRAY_SIZE(make_examples),
};
static const struct command command_list = {
    .name = "list", .words = "[OPTIONS]", .summary = "list keys, without their secrets", ROWS(list_options), .run = list,
};
static const struct command command_rotate = {
    .name = "rotate", .words = "ID|NAME", .summary = "make a key with the same rights; the old one stays valid for a while",
    ROWS(rotate_options), .least_words = 1, .most_words = 1, .run = rotate,
};
static const struct command command_revoke = {
    .name = "revoke", .words = "ID|NAME", .summary = "make a key invalid at once", ROWS(revoke_options), .least_words = 1,
    .most_words = 1, .run = revoke_key,
};
static const struct command command_recover = {
    .name = "recover", .words = "[OPTIONS]", .summary = "replace a lost admin key, on the data directory of a gateway that does not run",
    ROWS(recover_options), .run = recover,
};
static const struct command *const subs[] = { &command_make, &command_list, &command_rotate,
                                              &command_revoke, &command_recover };

const struct command command_keys = {
    .name = "keys", .words = "", .summary = "make, list, rotate, revoke and recover keys", .subs = subs,
    .sub_count = ARRAY_SIZE(subs),
};
