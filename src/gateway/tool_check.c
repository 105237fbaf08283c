/* tool_check.c - see tool_check.h. */
#include "gateway/tool_check.h"
#include "base/log.h"
#include "base/mem.h"
#include "mcp/json_schema.h"

enum schema_of { OF_ARGUMENTS, OF_RESULT, SCHEMAS };

static const char *const members[SCHEMAS] = { "inputSchema", "outputSchema" };

struct tool_check {
    struct json_schema *schema[SCHEMAS];
    char *fault[SCHEMAS]; /* why it does not compile */
    bool looked[SCHEMAS];
};

void tool_checks_free(struct tool_check *all, size_t n) {
    for (size_t i = 0; all && i < n; i++)
        for (int k = 0; k < SCHEMAS; k++) {
            json_schema_free(all[i].schema[k]);
            free(all[i].fault[k]);
        }
    free(all);
}

/* ---- compiling -------------------- */

struct compile_job {
    struct str text;
    struct json_schema *out;
    struct err why;
    bool other_dialect;
};

/* Schemas nest deeper than a task's stack is. */
static err_t compile(void *arg, const bool *cancelled) {
    struct compile_job *job = arg;
    const struct json_schema_options options = { .out_other_dialect = &job->other_dialect };
    err_t e = json_schema_compile(job->text, &options, &job->out);
    if (e)
        job->why = *e;
    return OK;
}

/* Too many servers speak other dialects to refuse them; what leads nowhere is (P-198, P-199). */
static void keep(struct exchange *x, enum schema_of which, struct compile_job *job) {
    struct gateway_worker *gw = x->gw;
    if (!gw->tool_checks)
        gw->tool_checks = NEW_ARRAY(struct tool_check, gw->tool_series_count + 1);
    struct tool_check *c = &gw->tool_checks[x->entry->index];
    if (c->looked[which]) {
        json_schema_free(job->out); /* another task was quicker */
        return;
    }
    c->looked[which] = true;
    c->schema[which] = job->out;
    if (job->why.text[0] && !job->other_dialect)
        c->fault[which] = mem_text(job->why.text, strlen(job->why.text));
}

static bool is_current(const struct exchange *x) {
    return x->gw->generation == x->snapshot->generation &&
           x->entry->index < x->gw->tool_series_count;
}

/* NULL: there is none to check by. */
static const struct json_schema *schema_of(struct exchange *x, enum schema_of which) {
    if (!is_current(x))
        return NULL; /* a request from before the newest catalogue: nowhere to keep it */
    const struct tool_check *c = x->gw->tool_checks ? &x->gw->tool_checks[x->entry->index] : NULL;
    if (c && c->looked[which])
        return c->schema[which];
    struct compile_job job = { .text = json_raw_get(x->entry->raw, str_of(members[which])) };
    if (job.text.p && work_run(x->task, compile, &job))
        return NULL; /* cancelled: whoever comes next tries again */
    if (job.why.text[0])
        log_warn("a tool's schema is not checked", F("tool", x->entry->shown),
                 F("schema", members[which]), F("error", job.why.text));
    if (!is_current(x)) {
        json_schema_free(job.out);
        return NULL;
    }
    keep(x, which, &job);
    return x->gw->tool_checks[x->entry->index].schema[which];
}

/* ---- checking -------------------- */

static err_t hold_against(struct exchange *x, const struct json_schema *schema, struct str raw) {
    struct json_limits limits = { .depth = (unsigned)x->snapshot->conf->limits.json_depth };
    json value = NULL;
    TRY(json_parse(x->arena, raw, limits, &value));
    return json_schema_validate(schema, value);
}

/* P-200: what the model gave does not fit: told as a result, so that it can try again. */
static void answer_misfit(struct exchange *x, const char *why) {
    SCOPED(buf_done) struct buf b = { 0 };
    SCOPED(buf_done) struct buf text = { 0 };
    buf_fmt(&text, "Invalid arguments: %s", why);
    buf_str(&b, S("{\"content\":[{\"type\":\"text\",\"text\":"));
    struct jw w = jw_init(&b);
    jw_string(&w, buf_view(&text));
    buf_str(&b, S("}],\"isError\":true"));
    if (x->era == ERA_MODERN)
        buf_str(&b, S(",\"resultType\":\"complete\""));
    buf_char(&b, '}');
    struct str piece = buf_view(&b);
    x->outcome = "invalid_arguments";
    answer_result(x, &piece, 1);
}

static bool is_wanted(const struct exchange *x) {
    return x->profile && x->method == METHOD_TOOLS_CALL && x->entry;
}

/* As it was made before the call. */
static const struct tool_check *ready(const struct exchange *x) {
    return is_current(x) && x->gw->tool_checks ? &x->gw->tool_checks[x->entry->index] : NULL;
}

/* True when there was something to refuse. */
static bool refuse_unchecked(struct exchange *x, enum schema_of which) {
    const struct tool_check *c = ready(x);
    if (!c || !c->fault[which])
        return false;
    answer_failure(x, ERR(UPSTREAM,
                          "%.*s cannot be checked as this profile wants: its %s has a fault: %s",
                          STR(x->entry->shown), members[which], c->fault[which]));
    return true;
}

bool tool_check_arguments(struct exchange *x) {
    if (is_wanted(x) && x->profile->check_results)
        schema_of(x, OF_RESULT); /* while it may wait: a result is gone after a wait */
    if (!is_wanted(x) || !x->profile->check_arguments)
        return true;
    const struct json_schema *schema = schema_of(x, OF_ARGUMENTS);
    struct str given = x->in.arguments.p ? x->in.arguments : S("{}");
    if (!schema)
        return !refuse_unchecked(x, OF_ARGUMENTS);
    err_t e = hold_against(x, schema, given);
    if (e)
        answer_misfit(x, e->text);
    return !e;
}

static bool is_failed(struct str result) {
    return str_eq(json_raw_get(result, S("isError")), S("true"));
}

bool tool_check_result(struct exchange *x, struct str result) {
    if (!is_wanted(x) || !x->profile->check_results || is_failed(result))
        return true;
    const struct tool_check *c = ready(x);
    const struct json_schema *schema = c ? c->schema[OF_RESULT] : NULL;
    if (!schema)
        return x->profile->check_results == CHECK_WARN || !refuse_unchecked(x, OF_RESULT);
    struct str structured = json_raw_get(result, S("structuredContent"));
    err_t e = structured.p ? hold_against(x, schema, structured)
                           : ERR(INVALID, "structuredContent is missing");
    if (!e)
        return true;
    log_warn("a tool's result breaks its schema", F("tool", x->entry->shown), F("error", e->text));
    if (x->profile->check_results == CHECK_WARN)
        return true;
    answer_failure(x, ERR(UPSTREAM, "the result of %.*s breaks its outputSchema: %s",
                          STR(x->entry->shown), e->text));
    return false;
}
