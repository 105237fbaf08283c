/* explain.c - `gatespan explain`: which rule, hop or credential decides about a tool. */
#include "base/mem.h"
#include "cli/client.h"
#include "cli/output.h"

static const struct cli_option options[] = {
    GATEWAY_OPTIONS,
    { "profile", "NAME", NULL, false, "as it is seen through this profile", 'p' },
    { "for", "KEY-ID", NULL, false, "id or name of the key that would call; default: the one that asks; others need an admin key" },
    OUTPUT_OPTION,
};

static void add(struct buf *b, const char *name, struct str value) {
    if (!value.n)
        return;
    buf_fmt(b, "&%s=", name);
    client_escape(b, value);
}

static void show(const struct cli *c, json answer) {
    static const struct column columns[] = { { NULL, "mark" }, { NULL, "step" }, { NULL, "says" } };
    SCOPED(arena_scope) struct arena a;
    SCOPED(buf_done) struct buf b = { 0 };
    struct jw w = jw_init(&b);
    bool sees = false, may = false, ok = false;
    arena_init(&a, NULL, 0);
    json_is_bool(json_get(answer, S("sees")), &sees);
    json_is_bool(json_get(answer, S("may_call")), &may);
    printf("key %.*s %s %.*s%s\n", STR(json_get_text(answer, S("key"))),
           sees ? "sees" : "does not see", STR(json_get_text(answer, S("tool"))),
           may    ? " and may call it"
           : sees ? ", but a call would fail now"
                  : "");
    jw_array(&w);
    for (struct json_iter it = json_iter(json_get(answer, S("steps"))); json_next(&it);) {
        json_is_bool(json_get(it.value, S("ok")), &ok);
        jw_object(&w);
        jw_put_string(&w, "mark", ok ? S("  ok") : S("  NO"));
        jw_put_string(&w, "step", json_get_text(it.value, S("step")));
        jw_put_string(&w, "says", json_get_text(it.value, S("says")));
        jw_object_end(&w);
    }
    jw_array_end(&w);
    output_list(c, output_document(&a, &b), columns, ARRAY_SIZE(columns));
}

static int run(struct cli *c) {
    SCOPED(buf_done) struct buf path = { 0 };
    struct mcp_client m;
    json answer = NULL;
    bool may = false;
    int code = client_open(c, &m);
    if (code)
        return code;
    buf_str(&path, S("/api/v1/explain?tool="));
    client_escape(&path, c->words[0]);
    add(&path, "key", cli_get(c, "for"));
    add(&path, "profile", cli_get(c, "profile"));
    code = client_rest(&m, "GET", buf_view(&path), S(""), &answer);
    if (code)
        return code;
    if (output_format(c) == FORMAT_TABLE)
        show(c, answer);
    else
        output_value(c, answer, output_format(c));
    json_is_bool(json_get(answer, S("may_call")), &may);
    return may ? 0 : EXIT_FAILURE_;
}

static const struct cli_example examples[] = {
    { "gatespan explain files__write_file --for ci --profile reading", "what keeps the key ci away from a tool" },
};

const struct command command_explain = {
    .name = "explain", .words = "TOOL", .summary = "say which rule, hop or credential decides about a tool",
    .about = "Ends with 0 when a call would get through, else with 1.",
    .options = options, .option_count = ARRAY_SIZE(options), .least_words = 1, .most_words = 1, .run = run,
    .examples = examples, .example_count = ARRAY_SIZE(examples),
};
