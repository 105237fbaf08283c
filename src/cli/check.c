/* check.c - `gatespan check`: is this configuration usable? Starts nothing. */
#include "base/mem.h"
#include "cli/conf_options.h"
#include "cli/output.h"
#include <stdio.h>

static const char *const forms[] = { "text", "json", "yaml", "table", NULL };

static const struct cli_option options[] = {
    CONF_OPTIONS,
    { "listen", "ADDR:PORT", NULL, true, "as of serve" },
    { "workers", "N", NULL, false, "as of serve" },
    { "output", "FORMAT", NULL, false, "text (default): problems on standard error, one on a line; json, yaml: "
      "one object on standard output, valid or not; table: as text", 'o', forms },
};

/* ---- for programs -------------------- */

static void put_place(struct jw *w, const struct conf_origin *at) {
    if (at->layer != CONF_DEFAULT)
        jw_put_string(w, "source", at->source);
    if (at->at.line) {
        jw_put_int(w, "line", at->at.line);
        jw_put_int(w, "column", at->at.column);
    }
}

static void put_problem(struct jw *w, const struct conf_told *p) {
    jw_object(w);
    jw_put_string(w, "severity", p->warning ? S("warning") : S("error"));
    put_place(w, &p->at);
    if (p->path.n)
        jw_put_string(w, "path", p->path);
    jw_put_string(w, "message", p->message);
    jw_object_end(w);
}

/* Without a document, such as of a file that is no YAML, `report` says all there is to say. */
static void put_problems(struct jw *w, const struct conf_tree *t, struct str report) {
    struct conf_told told[CONF_TOLD];
    size_t more = 0, n = t ? conf_tree_told(t, told, &more) : 0;
    jw_key(w, S("problems"));
    jw_array(w);
    for (size_t i = 0; i < n; i++)
        put_problem(w, &told[i]);
    if (!t)
        put_problem(w, &(struct conf_told){ .message = str_cut(&report, '\n') });
    jw_array_end(w);
    if (more)
        jw_put_int(w, "more_errors", (int64_t)more);
}

static void show(struct cli *c, struct str path, const struct gateway_conf *conf,
                 const struct conf_tree *t, struct str report) {
    SCOPED(buf_done) struct buf text = { 0 };
    struct jw w = jw_init(&text);
    jw_object(&w);
    jw_put_bool(&w, "valid", conf != NULL);
    if (path.n)
        jw_put_string(&w, "file", path);
    if (conf) {
        jw_put_int(&w, "upstreams", (int64_t)conf->upstreams.n);
        jw_put_int(&w, "profiles", (int64_t)conf->profiles.n);
        jw_put_int(&w, "keys", (int64_t)conf->keys.n);
    }
    put_problems(&w, t, report);
    jw_object_end(&w);
    bool yaml = str_eq(cli_get(c, "output"), S("yaml"));
    output_value(c, output_document(&c->arena, &text), yaml ? FORMAT_YAML : FORMAT_JSON);
}

/* ---- the command -------------------- */

static void say(struct str path, const struct gateway_conf *conf) {
    struct str what = path.n ? path : S("the configuration");
    printf("%.*s is valid: %zu upstreams, %zu profiles, %zu keys\n", STR(what), conf->upstreams.n,
           conf->profiles.n, conf->keys.n);
}

static int run(struct cli *c) {
    struct str path = c->word_count ? c->words[0] : cli_get(c, "config"),
               form = cli_get(c, "output");
    SCOPED(buf_done) struct buf report = { 0 };
    struct conf_overrides overrides = { 0 };
    struct gateway_conf *conf = NULL;
    struct conf_tree *t = NULL;
    cli_overrides(c, &overrides);
    err_t e = conf_load(&c->arena, path, &overrides, &conf, &t, &report);
    if (str_eq(form, S("json")) || str_eq(form, S("yaml"))) {
        show(c, path, conf, t, buf_view(&report));
    } else {
        fputs(buf_text(&report), stderr);
        if (!e)
            say(path, conf);
    }
    return e ? EXIT_CONFIG : 0;
}

const struct command command_check = {
    .name = "check", .words = "[FILE]", .options = options, .option_count = ARRAY_SIZE(options),
    .summary = "check a configuration, environment and command line included, without starting anything",
    .most_words = 1, .run = run,
};
