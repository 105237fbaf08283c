/* doctor.c - `gatespan doctor`: what keeps a gateway from working well here, and what to do about
 * each. Every check is a function that says what it found. */
#include "cli/doctor.h"
#include "base/mem.h"
#include "cli/conf_options.h"
#include "cli/output.h"

static const struct cli_option options[] = {
    CONF_OPTIONS,
    { "data", "DIR", "GATESPAN_DATA", false, "the data directory" },
    { "listen", "ADDR:PORT", NULL, true, "as of serve" },
    { "workers", "N", NULL, false, "as of serve" },
    { "wait", "DURATION", NULL, false, "how long upstreams may take to answer; default 15s" },
    { "no-upstreams", NULL, NULL, false, "do not start them to see whether they answer" },
    OUTPUT_OPTION,
};

static const char *const states[] = { "ok", "warning", "broken", "skipped" };

void doctor_say(struct doctor *d, const char *check, enum finding_state state, const char *remedy,
                const char *format, ...) {
    struct finding *all = ARENA_ARRAY(d->arena, struct finding, d->n + 1);
    va_list args;
    va_start(args, format);
    if (d->n)
        memcpy(all, d->items, d->n * sizeof *all);
    all[d->n++] = (struct finding){ check, state, arena_vfmt(d->arena, format, args),
                                    remedy ? arena_dup(d->arena, str_of(remedy)) : S("") };
    va_end(args);
    d->items = all;
}

static json document(const struct doctor *d) {
    SCOPED(buf_done) struct buf b = { 0 };
    struct jw w = jw_init(&b);
    jw_array(&w);
    for (size_t i = 0; i < d->n; i++) {
        jw_object(&w);
        jw_put_string(&w, "check", str_of(d->items[i].check));
        jw_put_string(&w, "state", str_of(states[d->items[i].state]));
        jw_put_string(&w, "says", d->items[i].says);
        jw_put_string(&w, "remedy", d->items[i].remedy);
        jw_object_end(&w);
    }
    jw_array_end(&w);
    return output_document(d->arena, &b);
}

static void print(const struct doctor *d) {
    static const char *const colors[] = { "\033[32m", "\033[33m", "\033[1;31m", "\033[2m" };
    bool color = cli_color(d->cli, stdout);
    for (size_t i = 0; i < d->n; i++) {
        const struct finding *f = &d->items[i];
        SCOPED(buf_done) struct buf says = { 0 };
        output_clean(&says, f->says);
        printf("%s%-8s%s %-9s %s\n", color ? colors[f->state] : "", states[f->state],
               color ? "\033[0m" : "", f->check, buf_text(&says));
        if (f->remedy.n)
            printf("%19s-> %.*s\n", "", STR(f->remedy));
    }
}

static int finish(const struct doctor *d) {
    size_t counts[ARRAY_SIZE(states)] = { 0 };
    for (size_t i = 0; i < d->n; i++)
        counts[d->items[i].state]++;
    if (output_format(d->cli) == FORMAT_TABLE)
        print(d);
    else
        output_value(d->cli, document(d), output_format(d->cli));
    cli_note(d->cli, "%zu broken, %zu warnings, %zu fine", counts[FINDING_BROKEN],
             counts[FINDING_WARNING], counts[FINDING_OK]);
    return counts[FINDING_BROKEN] ? EXIT_FAILURE_ : 0;
}

static int run(struct cli *c) {
    struct doctor d = { .cli = c, .arena = &c->arena, .config = c->word_count ? c->words[0] : cli_get(c, "config"),
                        .data = cli_data_dir(c) };
    int64_t ignored;
    int code = cli_duration(c, "wait", 0, &ignored);
    if (!code)
        code = cli_conf(c, d.config, &d.conf, NULL);
    if (code)
        return code;
    doctor_say(&d, "config", FINDING_OK, NULL, "%.*s is valid",
               STR(d.config.n ? d.config : S("the configuration")));
    doctor_data(&d);
    doctor_ports(&d);
    doctor_limits(&d);
    doctor_sandbox(&d);
    doctor_clock(&d);
    doctor_libraries(&d);
    doctor_tls(&d);
    doctor_dns(&d);
    if (!cli_has(c, "no-upstreams"))
        doctor_upstreams(&d);
    return finish(&d);
}

static const struct cli_example examples[] = {
    { "gatespan doctor gatespan.yaml", "before the first start, or when something is odd" },
    { "gatespan doctor -o json --no-upstreams", "for a health check of a machine" },
};

const struct command command_doctor = {
    .name = "doctor", .words = "[FILE]", .summary = "look for what keeps a gateway from working well here, with a remedy for each",
    .about = "Looks at the configuration, data directory, ports, limits, sandbox, clock, libraries, certificates, names and, by starting "
             "them for a moment, upstreams. Ends with 1 when something is broken; warnings are none.",
    .options = options, .option_count = ARRAY_SIZE(options), .most_words = 1, .run = run, .examples = examples,
    .example_count = ARRAY_SIZE(examples),
};
