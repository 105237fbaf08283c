/* conf_fuzz.c - any bytes as a configuration file: refused with a place, or a document whose
 * values all have one, and whose problems print. */
#include "base/mem.h"
#include "control/conf_tree.h"
#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* No ${file:…}: the fuzzer must not read this machine. */
static struct str variable(void *arg, struct str name) {
    return name.n % 2 ? str_head(name, 3) : (struct str){ 0 };
}

static err_t input(void *arg, json root, struct str id, struct arena *a, struct str *out) {
    *out = id;
    return id.n > 3 ? ERR(NOT_FOUND, "no such input") : OK;
}

struct server {
    struct str name, command;
    struct str_list args;
    struct pair_list env;
    nanos timeout;
    int64_t port;
    bool on;
};
static const struct field server_rows[] = {
    FIELD(struct server, command, STR, NULL, "1..20", FIELD_REQUIRED, "Program."),
    FIELD(struct server, args, STRS, NULL, NULL, 0, "Arguments."),
    FIELD(struct server, env, PAIRS, NULL, NULL, FIELD_PRIVATE, "Environment."),
    FIELD(struct server, timeout, DURATION, "1s", "1ms..1h", 0, "Wait."),
    FIELD(struct server, port, INT, "1", "1..65535", 0, "Port."),
    FIELD(struct server, on, BOOL, "true", NULL, FIELD_LATER, "Switch."),
};
struct conf {
    struct item_list servers, list;
};
static const struct field conf_rows[] = {
    FIELD_NEST(struct conf, servers, MAP, server_rows, struct server, 0, "Servers."),
    FIELD_NEST(struct conf, list, LIST, server_rows, struct server, 0, "List."),
};

static void check_places(const struct conf_file *f, json v) {
    struct conf_pos at = conf_file_position(f, v);
    assert(at.line >= 1 && at.column >= 1);
    for (struct json_iter it = json_iter(v); json_next(&it);)
        check_places(f, it.value);
}

static void check_reading(struct conf_file *f, struct arena *a) {
    SCOPED(buf_done) struct buf out = { 0 };
    struct conf conf;
    field_defaults(conf_rows, ARRAY_SIZE(conf_rows), &conf, a);
    field_read(conf_rows, ARRAY_SIZE(conf_rows), conf_file_root(f), S(""), &conf, a,
               conf_file_problems(f));
    struct conf_tree *t = conf_tree_new(a);
    conf_tree_put_file(t, f);
    *conf_tree_problems(t) = *conf_file_problems(f);
    if (!conf_tree_finish(t)) {
        conf_tree_print(t, &out);
        assert(out.n > 0 || conf_file_problems(f)->n == 0);
    }
    struct jw w = jw_init(&out);
    field_write(conf_rows, ARRAY_SIZE(conf_rows), &conf, &w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    SCOPED(arena_scope) struct arena a;
    const struct conf_expand expand = { .variable = variable, .input = input };
    struct str text = str_from((const char *)data, size);
    struct conf_file *f = NULL;
    arena_init(&a, NULL, 0);
    if (str_find(text, S("file:")) >= 0)
        return 0;
    err_t e = conf_file_parse(&a, S("f"), text, &expand, &f);
    if (e) {
        assert(strncmp(e->text, "f:", 2) == 0);
        return 0;
    }
    check_places(f, conf_file_root(f));
    check_reading(f, &a);
    return 0;
}
