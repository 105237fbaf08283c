/* conf_options.c - see conf_options.h. */
#include "cli/conf_options.h"
#include "base/mem.h"
#include <stdio.h>

/* Variables of the program that no option of a command names. */
static const char *const others[] = { "GATESPAN_ADMIN_KEY" };

static size_t count_options(const struct command *command) {
    size_t n = command->option_count;
    for (size_t i = 0; i < command->sub_count; i++)
        n += count_options(command->subs[i]);
    return n;
}

static void collect(const struct cli_option *options, size_t n, struct str_list *list) {
    for (size_t i = 0; i < n; i++)
        if (options[i].env)
            list->items[list->n++] = str_of(options[i].env);
}

static void collect_all(const struct command *command, struct str_list *list) {
    collect(command->options, command->option_count, list);
    for (size_t i = 0; i < command->sub_count; i++)
        collect_all(command->subs[i], list);
}

static struct str_list known_variables(struct arena *a) {
    size_t most = ARRAY_SIZE(others) + cli_common_count + count_options(&command_root);
    struct str_list list = { .items = ARENA_ARRAY(a, struct str, most) };
    for (size_t i = 0; i < ARRAY_SIZE(others); i++)
        list.items[list.n++] = str_of(others[i]);
    collect(cli_common, cli_common_count, &list);
    collect_all(&command_root, &list);
    return list;
}

void cli_overrides(struct cli *c, struct conf_overrides *out) {
    out->workers = cli_get(c, "workers");
    out->variables = known_variables(&c->arena);
    cli_all(c, "listen", &out->listen);
    cli_all(c, "set", &out->set);
}

int cli_conf(struct cli *c, struct str path, struct gateway_conf **out,
             struct conf_tree **out_tree) {
    SCOPED(buf_done) struct buf report = { 0 };
    struct conf_overrides overrides = { 0 };
    cli_overrides(c, &overrides);
    err_t e = conf_load(&c->arena, path, &overrides, out, out_tree, &report);
    fputs(buf_text(&report), stderr);
    return e ? EXIT_CONFIG : 0;
}
