/* conf_tree_fuzz.c - layers: a path, a value and a file of any bytes. Nothing but an error may
 * come of it, every value of the merged document has a place, and all problems print. */
#include "base/mem.h"
#include "control/conf_path.h"
#include "control/conf_tree.h"
#include "gateway/conf.h"
#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct str variable(void *arg, struct str name) {
    return name.n % 2 ? str_head(name, 3) : (struct str){ 0 };
}

static void check_places(const struct conf_tree *t, json v) {
    assert(conf_tree_origin(t, v).layer != CONF_DEFAULT);
    for (struct json_iter it = json_iter(v); json_next(&it);)
        check_places(t, it.value);
}

static void check_reading(struct conf_tree *t, struct arena *a) {
    SCOPED(buf_done) struct buf out = { 0 };
    struct gateway_conf *conf = ARENA_NEW(a, struct gateway_conf);
    field_defaults(gateway_fields, gateway_field_count, conf, a);
    field_read(gateway_fields, gateway_field_count, conf_tree_root(t), S(""), conf, a,
               conf_tree_problems(t));
    conf_desktop(conf, a, conf_tree_problems(t));
    conf_mcp(conf, conf_tree_root(t), a, conf_tree_problems(t));
    conf_check(conf, conf_tree_root(t), a, conf_tree_problems(t));
    conf_tree_print(t, &out);
    assert(out.n > 0 || conf_tree_problems(t)->n == 0);
}

/* Three lines of path and value, then the file. */
static void put_settings(struct conf_tree *t, struct str *rest) {
    for (int i = 0; i < 3 && rest->p; i++) {
        struct str value = str_cut(rest, '\n'), path = str_cut(&value, '=');
        conf_tree_put_text(t, CONF_COMMAND, S("--set"), path, value.p ? value : S(""));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    SCOPED(arena_scope) struct arena a;
    const struct conf_expand expand = { .variable = variable };
    struct str text = str_from((const char *)data, size), settings = text;
    struct conf_file *f = NULL;
    arena_init(&a, NULL, 0);
    for (int i = 0; i < 3 && text.p; i++)
        str_cut(&text, '\n');
    if (str_find(text, S("file:")) >= 0) /* the fuzzer must not read this machine */
        return 0;
    struct conf_tree *t = conf_tree_new(&a);
    if (!conf_file_parse(&a, S("f"), text.p ? text : S(""), &expand, &f))
        conf_tree_put_file(t, f);
    put_settings(t, &settings);
    if (conf_tree_finish(t))
        return 0;
    if (conf_tree_root(t))
        check_places(t, conf_tree_root(t));
    check_reading(t, &a);
    return 0;
}
