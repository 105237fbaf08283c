/* fixture.c - see fixture.h. Texts are those of the suite. */
#include "fixture.h"
#include "base/mem.h"
#include "mcp/question.h"

#define PNG "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="
#define WAV "UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAAB9AAACABAAZGF0YQIAAAA="
#define IMAGE "{\"type\":\"image\",\"data\":\"" PNG "\",\"mimeType\":\"image/png\"}"
#define OBJECT(properties) "{\"type\":\"object\",\"properties\":{" properties "}}"
#define PAUSE (50 * NANOS_MS)
#define TOOL_FN(name)                                                                              \
    static err_t name(struct call_ctx *c, void *self, const void *args, struct tool_result *r)

/* What the triggers change. */
struct fixture {
    bool more_tools, more_prompts, touched;
    struct event changed;
};

static err_t open_fixture(const void *conf, const struct server_env *env, void **out) {
    *out = NEW(struct fixture);
    return OK;
}

static err_t watch(struct task *t, void *self, struct server_watcher *w) {
    struct fixture *f = self;
    TRY(event_wait(t, &f->changed));
    if (f->touched)
        w->updated(w, S("test://watched-resource"));
    f->touched = false;
    return OK;
}

/* ---- content ----------------------------------------------------------------------- */

#define SAYS(name, text_)                                                                          \
    TOOL_FN(name) {                                                                                \
        buf_str(&r->text, S(text_));                                                               \
        return OK;                                                                                 \
    }
#define GIVES(name, content_)                                                                      \
    TOOL_FN(name) {                                                                                \
        buf_str(&r->content, S(content_));                                                         \
        return OK;                                                                                 \
    }
SAYS(simple_text, "This is a simple text response for testing.")
SAYS(accepted, "ok")
GIVES(image, IMAGE)
GIVES(audio, "{\"type\":\"audio\",\"data\":\"" WAV "\",\"mimeType\":\"audio/wav\"}")
GIVES(embedded, "{\"type\":\"resource\",\"resource\":{\"uri\":\"test://embedded-resource\","
                "\"mimeType\":\"text/plain\",\"text\":\"This is an embedded resource content.\"}}")
GIVES(mixed, "{\"type\":\"text\",\"text\":\"Multiple content types test:\"}," IMAGE
             ",{\"type\":\"resource\",\"resource\":{\"uri\":\"test://mixed-content-resource\","
             "\"mimeType\":\"application/"
             "json\",\"text\":\"{\\\"test\\\":\\\"data\\\",\\\"value\\\":123}\"}}")

TOOL_FN(fails) {
    return ERR(INVALID, "This tool intentionally returns an error for testing");
}

TOOL_FN(progress) {
    for (int done = 0; done <= 100; done += 50) {
        if (c->sink)
            c->sink->progress(c->sink, done, 100, S(""));
        TRY(task_sleep(c->task, PAUSE));
    }
    return simple_text(c, self, args, r);
}

TOOL_FN(logging) {
    static const char *const steps[] = { "\"Tool execution started\"", "\"Tool processing data\"",
                                         "\"Tool execution completed\"" };
    for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
        if (c->sink)
            c->sink->log(c->sink, log_level_parse(S("info")), S("fixture"), str_of(steps[i]));
        TRY(task_sleep(c->task, PAUSE));
    }
    return simple_text(c, self, args, r);
}

/* Longer than a gateway in front of it holds a connection where it is told to have clients poll. */
TOOL_FN(reconnection) {
    call_let_go(c);
    TRY(task_sleep(c->task, NANOS_SEC));
    return simple_text(c, self, args, r);
}

TOOL_FN(change_tools) {
    struct fixture *f = self;
    f->more_tools = !f->more_tools;
    event_set(&f->changed);
    return simple_text(c, self, args, r);
}

TOOL_FN(change_prompts) {
    struct fixture *f = self;
    f->more_prompts = !f->more_prompts;
    event_set(&f->changed);
    return simple_text(c, self, args, r);
}

TOOL_FN(touch) {
    struct fixture *f = self;
    f->touched = true;
    event_set(&f->changed);
    return simple_text(c, self, args, r);
}

/* ---- questions --------------------------------------------------------------------- */

#define FORM(message, properties, required)                                                        \
    "{\"mode\":\"form\",\"message\":\"" message                                                    \
    "\",\"requestedSchema\":{\"type\":\"object\",\"properties\":{" properties                      \
    "},\"required\":[" required "]}}"
#define TEXT_FORM(message, name) FORM(message, "\"" name "\":{\"type\":\"string\"}", "\"" name "\"")
#define SAMPLE(text, tokens)                                                                       \
    "{\"messages\":[{\"role\":\"user\",\"content\":{\"type\":\"text\",\"text\":\"" text            \
    "\"}}],\"maxTokens\":" tokens "}"

static struct str argument(struct call_ctx *c, const void *args, const char *name) {
    struct str all = *(const struct str *)args;
    struct str raw = all.p && all.p[0] == '{' ? json_raw_get(all, str_of(name)) : (struct str){ 0 };
    return raw.p && raw.p[0] == '"' ? raw : S("\"\"");
}

/* The answer as text, or isError where the caller cannot be asked at all. */
static bool ask(struct call_ctx *c, struct tool_result *r, const char *key, enum method m,
                struct str params, struct str *answer) {
    if (question_needs(m, params) & ~c->asks) {
        buf_str(&r->text, S("the client cannot be asked for this"));
        r->is_error = true;
        return false;
    }
    return call_ask(c, key, m, params, answer);
}

#define ASKS(name, key, method, params, said)                                                      \
    TOOL_FN(name) {                                                                                \
        struct str answer;                                                                         \
        if (ask(c, r, key, method, params, &answer))                                               \
            buf_fmt(&r->text, said " %.*s", STR(answer));                                          \
        return OK;                                                                                 \
    }
ASKS(sampling, "sampling", METHOD_SAMPLING,
     arena_fmt(c->arena,
               "{\"messages\":[{\"role\":\"user\",\"content\":{\"type\":\"text\",\"text\":%.*s}}],"
               "\"maxTokens\":100}",
               STR(argument(c, args, "prompt"))),
     "LLM response:")
ASKS(elicitation, "elicitation", METHOD_ELICITATION,
     arena_fmt(c->arena,
               "{\"mode\":\"form\",\"message\":%.*s,\"requestedSchema\":{\"type\":\"object\","
               "\"properties\":{"
               "\"username\":{\"type\":\"string\"},\"email\":{\"type\":\"string\"}},"
               "\"required\":[\"username\",\"email\"]}}",
               STR(argument(c, args, "message"))),
     "User response:")
ASKS(elicitation_defaults, "elicitation", METHOD_ELICITATION,
     S(FORM("Please review the defaults",
            "\"name\":{\"type\":\"string\",\"default\":\"John Doe\"},"
            "\"age\":{\"type\":\"integer\",\"default\":30},"
            "\"score\":{\"type\":\"number\",\"default\":95.5},"
            "\"status\":{\"type\":\"string\",\"enum\":[\"active\",\"inactive\",\"pending\"],"
            "\"default\":\"active\"},"
            "\"verified\":{\"type\":\"boolean\",\"default\":true}",
            "")),
     "Elicitation completed:")
#define TITLED(n) "{\"const\":\"value" n "\",\"title\":\"Value " n "\"}"
#define OPTIONS "[\"option1\",\"option2\",\"option3\"]"
#define TITLES "[" TITLED("1") "," TITLED("2") "," TITLED("3") "]"
ASKS(elicitation_enums, "elicitation", METHOD_ELICITATION,
     S(FORM("Please choose",
            "\"untitledSingle\":{\"type\":\"string\",\"enum\":" OPTIONS "},"
            "\"titledSingle\":{\"type\":\"string\",\"oneOf\":" TITLES "},"
            "\"legacyEnum\":{\"type\":\"string\",\"enum\":[\"opt1\",\"opt2\",\"opt3\"],"
            "\"enumNames\":[\"Option 1\",\"Option 2\",\"Option 3\"]},"
            "\"untitledMulti\":{\"type\":\"array\",\"items\":{\"type\":\"string\",\"enum\":" OPTIONS
            "}},"
            "\"titledMulti\":{\"type\":\"array\",\"items\":{\"anyOf\":" TITLES "}}",
            "")),
     "Elicitation completed:")
ASKS(ask_capital, "capital_question", METHOD_SAMPLING,
     S(SAMPLE("What is the capital of France?", "100")), "The model says:")
ASKS(ask_roots, "client_roots", METHOD_ROOTS_LIST, S("{}"), "Roots:")
ASKS(ask_confirm, "confirm", METHOD_ELICITATION,
     S(FORM("Please confirm", "\"ok\":{\"type\":\"boolean\"}", "\"ok\"")), "state-ok")

static void greet(struct call_ctx *c, struct str answer, struct tool_result *r) {
    struct str content = json_raw_get(answer, S("content"));
    struct str name = content.p && content.p[0] == '{' ? json_raw_get(content, S("name")) : content;
    struct str plain = name.p && name.p[0] == '"' ? json_unquote(c->arena, name) : S("nobody");
    buf_fmt(&r->text, "Hello, %.*s!", STR(plain));
}

TOOL_FN(ask_name) {
    struct str answer;
    if (ask(c, r, "user_name", METHOD_ELICITATION, S(TEXT_FORM("What is your name?", "name")),
            &answer))
        greet(c, answer, r);
    return OK;
}

TOOL_FN(ask_three) {
    struct str name, greeting, roots;
    bool all = ask(c, r, "user_name", METHOD_ELICITATION,
                   S(TEXT_FORM("What is your name?", "name")), &name);
    all &= ask(c, r, "greeting", METHOD_SAMPLING, S(SAMPLE("Generate a greeting", "50")),
               &greeting);
    all &= ask(c, r, "client_roots", METHOD_ROOTS_LIST, S("{}"), &roots);
    if (all)
        buf_fmt(&r->text, "%.*s %.*s %.*s", STR(name), STR(greeting), STR(roots));
    return OK;
}

TOOL_FN(ask_twice) {
    struct str name, color;
    if (ask(c, r, "step1", METHOD_ELICITATION, S(TEXT_FORM("Step 1: What is your name?", "name")),
            &name) &&
        ask(c, r, "step2", METHOD_ELICITATION,
            S(TEXT_FORM("Step 2: What is your favorite color?", "color")), &color))
        buf_fmt(&r->text, "%.*s likes %.*s", STR(name), STR(color));
    return OK;
}

/* Only what this caller offers. */
TOOL_FN(ask_possible) {
    struct str answer;
    if (c->asks & ASK_SAMPLING)
        return ask_capital(c, self, args, r);
    if (c->asks & ASK_FORM)
        return ask_name(c, self, args, r);
    if (!(c->asks & ASK_ROOTS) || call_ask(c, "client_roots", METHOD_ROOTS_LIST, S("{}"), &answer))
        return simple_text(c, self, args, r);
    return OK;
}

/* P-045 */
TOOL_FN(needs_sampling) {
    if (c->asks & ASK_SAMPLING)
        return simple_text(c, self, args, r);
    r->rpc_code = RPC_MISSING_CAPABILITY;
    buf_str(&r->text, S("This tool needs the client capability sampling"));
    buf_str(&r->structured, S("{\"requiredCapabilities\":{\"sampling\":{}}}"));
    return OK;
}

/* ---- tasks ------------------------------------------------------------------------- */

TOOL_FN(greets) {
    struct str name = json_unquote(c->arena, argument(c, args, "name"));
    buf_fmt(&r->text, "Hello, %.*s!", STR(name));
    return OK;
}

static nanos seconds_of(const void *args) {
    struct str all = *(const struct str *)args;
    struct str raw = all.p ? json_raw_get(all, S("seconds")) : all;
    char text[32] = { 0 };
    if (!raw.n || raw.n >= sizeof text)
        return 0;
    memcpy(text, raw.p, raw.n);
    return (nanos)(strtod(text, NULL) * (double)NANOS_SEC);
}

TOOL_FN(computes) {
    nanos wait = seconds_of(args);
    if (wait > 0 && call_as_task(c, r))
        return OK;
    TRY(task_sleep(c->task, wait));
    buf_fmt(&r->text, "%.*s is done", STR(json_unquote(c->arena, argument(c, args, "label"))));
    return OK;
}

TOOL_FN(fails_later) {
    if (call_as_task(c, r))
        return OK;
    TRY(task_sleep(c->task, NANOS_SEC));
    return ERR(INVALID, "This job fails by design");
}

TOOL_FN(breaks_later) {
    if (call_as_task(c, r))
        return OK;
    r->rpc_code = RPC_INTERNAL;
    buf_str(&r->text, S("This job breaks by design"));
    return OK;
}

#define CONFIRM(what) FORM(what, "\"confirm\":{\"type\":\"boolean\"}", "\"confirm\"")

TOOL_FN(confirms) {
    struct str answer;
    if (!call_as_task(c, r) &&
        ask(c, r, "confirm", METHOD_ELICITATION, S(CONFIRM("Delete the file?")), &answer))
        buf_fmt(&r->text, "Deleted, as told: %.*s", STR(answer));
    return OK;
}

TOOL_FN(asks_two) {
    struct str first, second;
    if (call_as_task(c, r))
        return OK;
    bool all = ask(c, r, "first", METHOD_ELICITATION, S(TEXT_FORM("The first?", "value")), &first);
    all &= ask(c, r, "second", METHOD_ELICITATION, S(TEXT_FORM("The second?", "value")), &second);
    if (all)
        buf_fmt(&r->text, "%.*s %.*s", STR(first), STR(second));
    return OK;
}

/* Rounds first, then the task (P-299). */
TOOL_FN(asks_then_works) {
    struct str answer;
    if (ask(c, r, "user_name", METHOD_ELICITATION, S(TEXT_FORM("What is your name?", "name")),
            &answer) &&
        !call_as_task(c, r))
        greet(c, answer, r);
    return OK;
}

/* ---- the tools --------------------------------------------------------------------- */

#define RAW(name_, fn, schema_, description_)                                                      \
    { .name = name_, .title = name_, .description = description_, .schema = schema_, .run = fn,    \
      .hints = TOOL_READ_ONLY }
#define LONG(name_, fn, schema_, task_, description_)                                              \
    { .name = name_, .title = name_, .description = description_, .schema = schema_, .run = fn,    \
      .hints = TOOL_READ_ONLY, .task = task_ }
#define NONE OBJECT("")
#define ADDRESS                                                                                    \
    "\"address\":{\"$anchor\":\"addressDef\",\"type\":\"object\",\"properties\":{"                 \
    "\"street\":{\"type\":\"string\"},\"city\":{\"type\":\"string\"}}}"
#define CONTACT                                                                                    \
    "{\"$schema\":\"https://json-schema.org/draft/2020-12/schema\",\"type\":\"object\","           \
    "\"$defs\":{" ADDRESS "},\"properties\":{\"name\":{\"type\":\"string\"},"                      \
    "\"address\":{\"$ref\":\"#/$defs/address\"},"                                                  \
    "\"contactMethod\":{\"type\":\"string\",\"enum\":[\"phone\",\"email\"]},"                      \
    "\"phone\":{\"type\":\"string\"},\"email\":{\"type\":\"string\"}},"                            \
    "\"allOf\":[{\"anyOf\":[{\"required\":[\"phone\"]},{\"required\":[\"email\"]}]}],"             \
    "\"if\":{\"properties\":{\"contactMethod\":{\"const\":\"phone\"}},\"required\":[\"contactMethod\"]}," \
    "\"then\":{\"required\":[\"phone\"]},\"else\":{\"required\":[\"email\"]},\"additionalProperties\":false}"

static const struct tool tools[] = {
    RAW("test_simple_text", simple_text, NONE, "Returns a text."),
    RAW("test_image_content", image, NONE, "Returns an image."),
    RAW("test_audio_content", audio, NONE, "Returns a sound."),
    RAW("test_embedded_resource", embedded, NONE, "Returns an embedded resource."),
    RAW("test_multiple_content_types", mixed, NONE, "Returns several kinds of content."),
    RAW("test_error_handling", fails, NONE, "Fails."),
    RAW("test_tool_with_progress", progress, NONE, "Reports progress."),
    RAW("test_reconnection", reconnection, NONE, "Lets its caller go, who comes back for the answer."),
    RAW("test_tool_with_logging", logging, NONE, "Logs while it runs."),
    RAW("test_logging_tool", logging, NONE, "Logs while it runs, to who asks for it."),
    RAW("json_schema_2020_12_tool", accepted, CONTACT, "Has a schema with many keywords."),
    RAW("test_custom_header", accepted,
        OBJECT("\"region\":{\"type\":\"string\",\"x-mcp-header\":\"Region\"}"), "Has a parameter that is a header too."),
    RAW("test_sampling", sampling, OBJECT("\"prompt\":{\"type\":\"string\"}"), "Asks the client's model."),
    RAW("test_elicitation", elicitation, OBJECT("\"message\":{\"type\":\"string\"}"), "Asks the user."),
    RAW("test_elicitation_sep1034_defaults", elicitation_defaults, NONE, "Asks with defaults."),
    RAW("test_elicitation_sep1330_enums", elicitation_enums, NONE, "Asks with choices."),
    RAW("test_input_required_result_elicitation", ask_name, NONE, "Asks for a name."),
    RAW("test_input_required_result_sampling", ask_capital, NONE, "Asks the client's model."),
    RAW("test_input_required_result_list_roots", ask_roots, NONE, "Asks for roots."),
    RAW("test_input_required_result_request_state", ask_confirm, NONE, "Asks, with a state."),
    RAW("test_input_required_result_multiple_inputs", ask_three, NONE, "Asks three things at once."),
    RAW("test_input_required_result_multi_round", ask_twice, NONE, "Asks one thing after the other."),
    RAW("test_input_required_result_tampered_state", ask_confirm, NONE, "Asks, with a sealed state."),
    RAW("test_input_required_result_capabilities", ask_possible, NONE, "Asks what can be asked."),
    RAW("test_missing_capability", needs_sampling, NONE, "Needs a client with sampling."),
    RAW("test_streaming_elicitation", ask_name, NONE, "Asks, in a stream."),
    RAW("test_trigger_tool_change", change_tools, NONE, "Changes the list of tools."),
    RAW("test_trigger_prompt_change", change_prompts, NONE, "Changes the list of prompts."),
    RAW("test_trigger_resource_update", touch, NONE, "Says that test://watched-resource has changed."),
    RAW("greet", greets, OBJECT("\"name\":{\"type\":\"string\"}"), "Greets."),
    LONG("slow_compute", computes,
         OBJECT("\"seconds\":{\"type\":\"number\"},\"label\":{\"type\":\"string\"}"), TOOL_MAY_TASK, "Takes its time."),
    LONG("failing_job", fails_later, NONE, TOOL_NEEDS_TASK, "Fails, after a while."),
    LONG("protocol_error_job", breaks_later, NONE, TOOL_MAY_TASK, "Ends with a protocol error."),
    LONG("confirm_delete", confirms, OBJECT("\"filename\":{\"type\":\"string\"}"), TOOL_MAY_TASK, "Asks while it works."),
    LONG("multi_input", asks_two, NONE, TOOL_MAY_TASK, "Asks two things while it works."),
    LONG("test_tool_with_task", asks_then_works, NONE, TOOL_MAY_TASK, "Asks, then works."),
    RAW("test_more", simple_text, NONE, "Comes and goes."),
};

static bool offers(void *self, const struct tool *tool) {
    return tool->run != simple_text || tool == &tools[0] || ((struct fixture *)self)->more_tools;
}

/* ---- resources --------------------------------------------------------------------- */

#define RESOURCE(uri, mime) "{\"uri\":\"" uri "\",\"name\":\"" uri "\",\"description\":\"For tests.\",\"mimeType\":\"" mime "\"}"

static err_t list_resources(struct call_ctx *c, void *self, struct str cursor, struct jw *w,
                            struct str *next) {
    jw_raw(w, S(RESOURCE("test://static-text", "text/plain")));
    jw_raw(w, S(RESOURCE("test://static-binary", "image/png")));
    jw_raw(w, S(RESOURCE("test://watched-resource", "text/plain")));
    return OK;
}

static err_t list_templates(struct call_ctx *c, void *self, struct jw *w) {
    jw_raw(w, S("{\"uriTemplate\":\"test://template/{id}/data\",\"name\":\"template\","
                "\"description\":\"For tests.\",\"mimeType\":\"application/json\"}"));
    return OK;
}

static void put_content(struct jw *w, struct str uri, const char *mime, const char *member,
                        struct str value) {
    jw_object(w);
    jw_put_string(w, "uri", uri);
    jw_put_string(w, "mimeType", str_of(mime));
    jw_put_string(w, member, value);
    jw_object_end(w);
}

static err_t read_template(struct call_ctx *c, struct str uri, struct jw *w) {
    struct str head = S("test://template/"), tail = S("/data");
    bool fits = str_starts(uri, head) && uri.n > head.n + tail.n &&
                str_eq(str_skip(uri, uri.n - tail.n), tail);
    if (!fits)
        return ERR(NOT_FOUND, "Resource not found: %.*s", STR(uri));
    struct str id = str_from(uri.p + head.n, uri.n - head.n - tail.n);
    SCOPED(buf_done) struct buf b = { 0 };
    struct jw in = jw_init(&b);
    jw_object(&in);
    jw_put_string(&in, "id", id);
    jw_put_bool(&in, "templateTest", true);
    jw_put_string(&in, "data", arena_fmt(c->arena, "Data for ID: %.*s", STR(id)));
    jw_object_end(&in);
    put_content(w, uri, "application/json", "text", buf_view(&b));
    return OK;
}

static err_t read_resource(struct call_ctx *c, void *self, struct str uri, struct jw *w) {
    if (str_eq(uri, S("test://static-text")))
        put_content(w, uri, "text/plain", "text",
                    S("This is the content of the static text resource."));
    else if (str_eq(uri, S("test://static-binary")))
        put_content(w, uri, "image/png", "blob", S(PNG));
    else if (str_eq(uri, S("test://watched-resource")))
        put_content(w, uri, "text/plain", "text", S("Watched."));
    else
        return read_template(c, uri, w);
    return OK;
}

/* Nothing comes to mind. */
static err_t complete(struct call_ctx *c, void *self, const struct server_completion *asked,
                      struct str_list *out, size_t *total) {
    *total = 0;
    return OK;
}

static const struct server_resources resources = { list_resources, list_templates, read_resource,
                                                   complete };

static const struct server_resources *resources_of(void *self) {
    return &resources;
}

/* ---- prompts ----------------------------------------------------------------------- */

#define PROMPT(name, arguments) "{\"name\":\"" name "\",\"description\":\"For tests.\"" arguments "}"
#define REQUIRED(name) "{\"name\":\"" name "\",\"description\":\"For tests.\",\"required\":true}"

static err_t list_prompts(struct call_ctx *c, void *self, struct jw *w) {
    jw_raw(w, S(PROMPT("test_simple_prompt", "")));
    jw_raw(w, S(PROMPT("test_prompt_with_arguments",
                       ",\"arguments\":[" REQUIRED("arg1") "," REQUIRED("arg2") "]")));
    jw_raw(w, S(PROMPT("test_prompt_with_embedded_resource",
                       ",\"arguments\":[" REQUIRED("resourceUri") "]")));
    jw_raw(w, S(PROMPT("test_prompt_with_image", "")));
    jw_raw(w, S(PROMPT("test_input_required_result_prompt", "")));
    if (((struct fixture *)self)->more_prompts)
        jw_raw(w, S(PROMPT("test_more", "")));
    return OK;
}

static void put_message(struct jw *w, struct str content) {
    jw_object(w);
    jw_put_string(w, "role", S("user"));
    jw_put_raw(w, "content", content);
    jw_object_end(w);
}

static void put_text(struct call_ctx *c, struct jw *w, struct str text) {
    SCOPED(buf_done) struct buf b = { 0 };
    json_escape(&b, text);
    put_message(w, arena_fmt(c->arena, "{\"type\":\"text\",\"text\":\"%.*s\"}", STR(buf_view(&b))));
}

static err_t get_with_context(struct call_ctx *c, struct jw *w) {
    struct str answer;
    if (!(c->asks & ASK_FORM))
        return ERR(INVALID, "the client cannot be asked for the context");
    if (call_ask(c, "user_context", METHOD_ELICITATION,
                 S(TEXT_FORM("What context should the prompt use?", "context")), &answer))
        put_text(c, w, answer);
    return OK;
}

static err_t get_prompt(struct call_ctx *c, void *self, struct str name, struct str arguments,
                        struct jw *w) {
    const void *args = &arguments;
    if (str_eq(name, S("test_simple_prompt"))) {
        put_text(c, w, S("This is a simple prompt for testing."));
    } else if (str_eq(name, S("test_prompt_with_arguments"))) {
        struct str a = json_unquote(c->arena, argument(c, args, "arg1"));
        struct str b = json_unquote(c->arena, argument(c, args, "arg2"));
        put_text(
            c, w,
            arena_fmt(c->arena, "Prompt with arguments: arg1='%.*s', arg2='%.*s'", STR(a), STR(b)));
    } else if (str_eq(name, S("test_prompt_with_embedded_resource"))) {
        put_message(
            w, arena_fmt(
                   c->arena,
                   "{\"type\":\"resource\",\"resource\":{\"uri\":%.*s,\"mimeType\":\"text/plain\","
                   "\"text\":\"Embedded resource content for testing.\"}}",
                   STR(argument(c, args, "resourceUri"))));
        put_text(c, w, S("Please process the embedded resource above."));
    } else if (str_eq(name, S("test_prompt_with_image"))) {
        put_message(w, S(IMAGE));
        put_text(c, w, S("Please analyze the image above."));
    } else if (str_eq(name, S("test_input_required_result_prompt"))) {
        return get_with_context(c, w);
    } else {
        return ERR(NOT_FOUND, "Unknown prompt: %.*s", STR(name));
    }
    return OK;
}

static const struct server_prompts prompts = { list_prompts, get_prompt };

const struct server_ops fixture_server = {
    .name = "conformance", .title = "Conformance fixture", .summary = "What the official suite looks for.",
    .tools = tools, .tool_count = ARRAY_SIZE(tools), .open = open_fixture, .close = free,
    .offers = offers, .resources = resources_of, .prompts = &prompts, .asks = true, .logs = true, .watch = watch,
};
