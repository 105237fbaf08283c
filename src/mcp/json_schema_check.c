/* json_schema_check.c - the keywords: what each holds, and how an instance is held against it.
 *
 * One row of schema_keywords is one keyword. Their order is the order of evaluation: those
 * that look at what their siblings did not evaluate come last (Core §11). */
#include "mcp/json_schema_private.h"
#include <stdio.h>

/* Where in the instance we are; on the stack of the callers. */
struct place {
    const struct place *parent;
    struct str name; /* p NULL: an element */
    size_t index;
};

/* Resources entered on the way here, for $dynamicRef (Core §7.1). */
struct scope {
    const struct scope *outer;
    const struct resource *resource;
};

struct run {
    const struct json_schema *schema;
    struct arena scratch;
    pcre2_match_data *match;
    const struct place *place;
    const struct scope *scope;
    uint64_t steps;
    unsigned depth, quiet; /* quiet: a failure here is not the last word */
    bool exhausted;
    char message[ERR_TEXT];
};

/* Each level takes about 400 bytes of a stack of 64 KiB. */
enum { MAX_DEPTH = 64 };

/* ---- failing ------------------------------------------------------------------------- */

static void write_place(const struct place *p, char *out, size_t room) {
    const struct place *way[MAX_DEPTH];
    size_t n = 0, used = 0;
    for (; p && n < MAX_DEPTH; p = p->parent)
        way[n++] = p;
    out[0] = '\0';
    while (n-- && used + 2 < room) {
        int wrote = way[n]->name.p ? snprintf(out + used, room - used, "/%.*s",
                                              STR(str_head(way[n]->name, 60)))
                                   : snprintf(out + used, room - used, "/%zu", way[n]->index);
        used += wrote > 0 ? (size_t)wrote : 0;
    }
}

/* Keeps the first reason that counts. */
__attribute__((format(printf, 2, 3))) static bool fail(struct run *r, const char *format, ...) {
    if (r->quiet || r->message[0])
        return false;
    char place[200];
    va_list args;
    write_place(r->place, place, sizeof place);
    int used = snprintf(r->message, sizeof r->message, "%s: ", place[0] ? place : "/");
    va_start(args, format);
    vsnprintf(r->message + used, sizeof r->message - (size_t)used, format, args);
    va_end(args);
    return false;
}

static bool spend(struct run *r, uint64_t steps) {
    r->steps += steps;
    if (r->steps > r->schema->max_steps)
        r->exhausted = true;
    return !r->exhausted;
}

/* ---- what was evaluated -------------------------------------------------------------- */

static void mark(struct run *r, struct seen *seen, size_t i) {
    if (!seen->wanted)
        return;
    size_t words = seen->n / 64 + 1;
    if (!seen->bits) {
        if (!spend(r, words))
            return;
        seen->bits = ARENA_ARRAY(&r->scratch, uint64_t, words);
    }
    seen->bits[i / 64] |= (uint64_t)1 << (i % 64);
}

static bool is_marked(const struct seen *seen, size_t i) {
    return seen->bits && (seen->bits[i / 64] >> (i % 64) & 1);
}

static void merge(struct run *r, struct seen *into, const struct seen *from) {
    for (size_t i = 0; into->wanted && from->bits && i < from->n; i++)
        if (is_marked(from, i))
            mark(r, into, i);
}

/* ---- applying ------------------------------------------------------------------------ */

static bool check_rules(struct run *r, const struct node *node, json instance, struct seen *seen) {
    for (size_t i = 0; i < node->n; i++)
        if (!node->rules[i].check(r, &node->rules[i], instance, seen))
            return false;
    return !r->exhausted;
}

/* To the same instance, whose marks go to `into` when it passes. */
static bool apply(struct run *r, const struct node *node, json instance, struct seen *into) {
    if (node->never)
        return fail(r, "is not allowed");
    if (r->depth == MAX_DEPTH || !spend(r, 1)) {
        r->exhausted = true;
        return false;
    }
    struct seen own = { .wanted = r->schema->asks_seen && (node->asks_seen || (into && into->wanted)),
                        .n = json_count(instance) };
    struct scope scope = { r->scope, node->resource };
    if (!r->scope || r->scope->resource != node->resource)
        r->scope = &scope;
    r->depth++;
    bool ok = check_rules(r, node, instance, &own);
    r->depth--;
    if (r->scope == &scope)
        r->scope = scope.outer;
    if (ok && into)
        merge(r, into, &own);
    return ok;
}

static bool apply_quietly(struct run *r, const struct node *node, json instance,
                          struct seen *into) {
    r->quiet++;
    bool ok = apply(r, node, instance, into);
    r->quiet--;
    return ok;
}

static bool apply_member(struct run *r, const struct node *node, struct str name, json value) {
    struct place here = { r->place, name, 0 };
    r->place = &here;
    bool ok = apply(r, node, value, NULL);
    r->place = here.parent;
    return ok;
}

static bool apply_element(struct run *r, const struct node *node, size_t index, json value) {
    struct place here = { r->place, { 0 }, index };
    r->place = &here;
    bool ok = apply(r, node, value, NULL);
    r->place = here.parent;
    return ok;
}

/* ---- references ---------------------------------------------------------------------- */

static bool check_ref(struct run *r, const struct rule *rule, json v, struct seen *seen) {
    return apply(r, rule->node, v, seen);
}

/* The outermost resource on the way that has a dynamic anchor of that name. */
static const struct node *dynamic_target(const struct run *r, const struct rule *rule) {
    const struct node *found = rule->node;
    for (const struct scope *s = rule->anchor.p ? r->scope : NULL; s; s = s->outer) {
        const void *at = map_get(&s->resource->dynamic, rule->anchor);
        const struct node *node = at ? idmap_get(&r->schema->nodes, (uintptr_t)at) : NULL;
        if (node)
            found = node;
    }
    return found;
}

static bool check_dynamic_ref(struct run *r, const struct rule *rule, json v, struct seen *seen) {
    return apply(r, dynamic_target(r, rule), v, seen);
}

/* ---- logic (Core §10.2) -------------------------------------------------------------- */

static bool check_all_of(struct run *r, const struct rule *rule, json v, struct seen *seen) {
    for (size_t i = 0; i < rule->n; i++)
        if (!apply(r, rule->nodes[i], v, seen))
            return false;
    return true;
}

/* When marks are wanted every branch counts, not just the first that fits. */
static size_t count_fitting(struct run *r, const struct rule *rule, json v, struct seen *seen,
                            size_t enough) {
    size_t fitting = 0;
    for (size_t i = 0; i < rule->n && !r->exhausted; i++) {
        fitting += apply_quietly(r, rule->nodes[i], v, seen);
        if (fitting >= enough && !seen->wanted)
            break;
    }
    return fitting;
}

static bool check_any_of(struct run *r, const struct rule *rule, json v, struct seen *seen) {
    return count_fitting(r, rule, v, seen, 1) ||
           fail(r, "must match at least one of %zu schemas (anyOf)", rule->n);
}

static bool check_one_of(struct run *r, const struct rule *rule, json v, struct seen *seen) {
    size_t fitting = count_fitting(r, rule, v, seen, 2);
    return fitting == 1 || fail(r, "must match exactly one of %zu schemas (oneOf), matches %s",
                                rule->n, fitting ? "more" : "none");
}

static bool check_not(struct run *r, const struct rule *rule, json v, struct seen *seen) {
    return (!apply_quietly(r, rule->node, v, NULL) && !r->exhausted) ||
           fail(r, "must not match the schema of `not`");
}

static const struct rule *sibling(const struct rule *rule, const char *keyword) {
    for (size_t i = 0; i < rule->parent->n; i++)
        if (strcmp(rule->parent->rules[i].keyword, keyword) == 0)
            return &rule->parent->rules[i];
    return NULL;
}

static bool check_if(struct run *r, const struct rule *rule, json v, struct seen *seen) {
    bool yes = apply_quietly(r, rule->node, v, seen);
    const struct rule *branch = sibling(rule, yes ? "then" : "else");
    return !r->exhausted && (!branch || apply(r, branch->node, v, seen));
}

/* Called for by `if` alone; a rule of their own so that siblings find them. */
static bool check_nothing(struct run *r, const struct rule *rule, json v, struct seen *seen) {
    return true;
}

static bool check_dependent_schemas(struct run *r, const struct rule *rule, json v,
                                    struct seen *seen) {
    for (size_t i = 0; i < rule->n; i++)
        if (json_get(v, rule->names[i]) && !apply(r, rule->nodes[i], v, seen))
            return false;
    return true;
}

/* ---- objects (Core §10.3.2) ---------------------------------------------------------- */

static const struct node *named(const struct rule *rule, struct str name) {
    if (rule->by_name)
        return map_get(rule->by_name, name);
    for (size_t i = 0; i < rule->n; i++)
        if (str_eq(rule->names[i], name))
            return rule->nodes[i];
    return NULL;
}

static bool check_properties(struct run *r, const struct rule *rule, json v, struct seen *seen) {
    size_t i = 0;
    if (json_type(v) != JSON_OBJECT)
        return true;
    for (struct json_iter it = json_iter(v); json_next(&it); i++) {
        const struct node *node = spend(r, 1) ? named(rule, it.key) : NULL;
        if (!node)
            continue;
        mark(r, seen, i);
        if (!apply_member(r, node, it.key, it.value))
            return false;
    }
    return true;
}

static bool matches(struct run *r, const pcre2_code *pattern, struct str s) {
    if (!spend(r, 1 + s.n / 16))
        return false;
    if (!r->match)
        r->match = pcre2_match_data_create(1, NULL);
    int found = pcre2_match(pattern, (PCRE2_SPTR)(s.p ? s.p : ""), s.n, 0, PCRE2_NO_UTF_CHECK,
                            r->match, r->schema->match);
    if (found < PCRE2_ERROR_NOMATCH)
        r->exhausted = true; /* a limit of the matcher */
    return found >= 0;
}

static bool check_pattern_properties(struct run *r, const struct rule *rule, json v,
                                     struct seen *seen) {
    size_t i = 0;
    if (json_type(v) != JSON_OBJECT)
        return true;
    for (struct json_iter it = json_iter(v); json_next(&it); i++)
        for (size_t k = 0; k < rule->n; k++) {
            if (!matches(r, rule->patterns[k], it.key))
                continue;
            mark(r, seen, i);
            if (!apply_member(r, rule->nodes[k], it.key, it.value))
                return false;
        }
    return true;
}

static bool is_additional(struct run *r, const struct rule *named_ones, const struct rule *patterns,
                          struct str name) {
    if (named_ones && named(named_ones, name))
        return false;
    for (size_t k = 0; patterns && k < patterns->n; k++)
        if (matches(r, patterns->patterns[k], name))
            return false;
    return true;
}

static bool check_additional(struct run *r, const struct rule *rule, json v, struct seen *seen) {
    const struct rule *named_ones = sibling(rule, "properties"),
                      *patterns = sibling(rule, "patternProperties");
    size_t i = 0;
    if (json_type(v) != JSON_OBJECT)
        return true;
    for (struct json_iter it = json_iter(v); json_next(&it); i++) {
        if (!spend(r, 1) || !is_additional(r, named_ones, patterns, it.key))
            continue;
        mark(r, seen, i);
        if (!apply_member(r, rule->node, it.key, it.value))
            return false;
    }
    return true;
}

/* The name as a value, so that a schema can be applied to it. */
static json value_of_name(struct run *r, struct str name) {
    SCOPED(buf_done) struct buf b = { 0 };
    struct jw w = jw_init(&b);
    jw_string(&w, name);
    json v = NULL;
    return json_parse(&r->scratch, buf_view(&b), (struct json_limits){ 0 }, &v) ? NULL : v;
}

static bool check_property_names(struct run *r, const struct rule *rule, json v,
                                 struct seen *seen) {
    if (json_type(v) != JSON_OBJECT)
        return true;
    for (struct json_iter it = json_iter(v); json_next(&it);) {
        if (!spend(r, 4 + it.key.n / 16))
            return false;
        if (!apply_quietly(r, rule->node, value_of_name(r, it.key), NULL))
            return fail(r, "the name %.*s is not allowed", STR(str_head(it.key, 60)));
    }
    return true;
}

/* ---- arrays (Core §10.3.1) ----------------------------------------------------------- */

static bool check_prefix_items(struct run *r, const struct rule *rule, json v, struct seen *seen) {
    size_t i = 0;
    if (json_type(v) != JSON_ARRAY)
        return true;
    for (struct json_iter it = json_iter(v); i < rule->n && json_next(&it); i++) {
        mark(r, seen, i);
        if (!apply_element(r, rule->nodes[i], i, it.value))
            return false;
    }
    return true;
}

static bool check_items(struct run *r, const struct rule *rule, json v, struct seen *seen) {
    const struct rule *prefix = sibling(rule, "prefixItems");
    size_t i = 0, from = prefix ? prefix->n : 0;
    if (json_type(v) != JSON_ARRAY)
        return true;
    for (struct json_iter it = json_iter(v); json_next(&it); i++) {
        if (i < from)
            continue;
        mark(r, seen, i);
        if (!apply_element(r, rule->node, i, it.value))
            return false;
    }
    return true;
}

static double sibling_number(const struct rule *rule, const char *keyword, double otherwise) {
    const struct rule *other = sibling(rule, keyword);
    double n = otherwise;
    if (other)
        json_is_double(other->value, &n);
    return n;
}

static bool check_contains(struct run *r, const struct rule *rule, json v, struct seen *seen) {
    double least = sibling_number(rule, "minContains", 1),
           most = sibling_number(rule, "maxContains", -1);
    size_t i = 0, found = 0;
    if (json_type(v) != JSON_ARRAY)
        return true;
    for (struct json_iter it = json_iter(v); json_next(&it); i++) {
        if (!apply_quietly(r, rule->node, it.value, NULL))
            continue;
        mark(r, seen, i);
        found++;
    }
    if ((double)found < least)
        return fail(r, "must contain at least %.0f matching elements", least);
    return most < 0 || (double)found <= most ||
           fail(r, "must contain at most %.0f matching elements", most);
}

/* ---- what is left (Core §11) --------------------------------------------------------- */

static bool check_unevaluated_items(struct run *r, const struct rule *rule, json v,
                                    struct seen *seen) {
    size_t i = 0;
    if (json_type(v) != JSON_ARRAY)
        return true;
    for (struct json_iter it = json_iter(v); json_next(&it); i++) {
        if (is_marked(seen, i))
            continue;
        if (!apply_element(r, rule->node, i, it.value))
            return false;
        mark(r, seen, i);
    }
    return true;
}

static bool check_unevaluated_properties(struct run *r, const struct rule *rule, json v,
                                         struct seen *seen) {
    size_t i = 0;
    if (json_type(v) != JSON_OBJECT)
        return true;
    for (struct json_iter it = json_iter(v); json_next(&it); i++) {
        if (is_marked(seen, i))
            continue;
        if (!apply_member(r, rule->node, it.key, it.value))
            return false;
        mark(r, seen, i);
    }
    return true;
}

/* ---- any type (Validation §6.1) ------------------------------------------------------ */

static bool is_type(struct str name, json v) {
    enum json_type t = json_type(v);
    if (str_eq(name, S("integer")))
        return t == JSON_NUMBER && number_is_integer(v);
    return str_eq(name, str_of(json_type_name(t)));
}

static bool check_type(struct run *r, const struct rule *rule, json v, struct seen *seen) {
    if (json_type(rule->value) == JSON_STRING)
        return is_type(json_text(rule->value), v) ||
               fail(r, "must be %.*s, is %s", STR(json_text(rule->value)),
                    json_type_name(json_type(v)));
    for (struct json_iter it = json_iter(rule->value); json_next(&it);)
        if (is_type(json_text(it.value), v))
            return true;
    return fail(r, "must not be %s", json_type_name(json_type(v)));
}

static bool check_enum(struct run *r, const struct rule *rule, json v, struct seen *seen) {
    for (struct json_iter it = json_iter(rule->value); json_next(&it);)
        if (spend(r, 1) && json_equal(it.value, v))
            return true;
    SCOPED(buf_done) struct buf allowed = { 0 };
    json_write(&allowed, rule->value);
    return fail(r, "must be one of %.*s", STR(str_head(buf_view(&allowed), 160)));
}

static bool check_const(struct run *r, const struct rule *rule, json v, struct seen *seen) {
    SCOPED(buf_done) struct buf wanted = { 0 };
    if (json_equal(rule->value, v))
        return true;
    json_write(&wanted, rule->value);
    return fail(r, "must be %.*s", STR(str_head(buf_view(&wanted), 160)));
}

/* ---- numbers (§6.2) ------------------------------------------------------------------ */

static bool is_number(json v) {
    return json_type(v) == JSON_NUMBER;
}

static bool check_multiple_of(struct run *r, const struct rule *rule, json v, struct seen *seen) {
    return !is_number(v) || number_is_multiple(v, rule->value) ||
           fail(r, "must be a multiple of %.*s", STR(json_text(rule->value)));
}

static bool check_maximum(struct run *r, const struct rule *rule, json v, struct seen *seen) {
    return !is_number(v) || number_compare(v, rule->value) <= 0 ||
           fail(r, "must be at most %.*s", STR(json_text(rule->value)));
}

static bool check_exclusive_maximum(struct run *r, const struct rule *rule, json v,
                                    struct seen *seen) {
    return !is_number(v) || number_compare(v, rule->value) < 0 ||
           fail(r, "must be less than %.*s", STR(json_text(rule->value)));
}

static bool check_minimum(struct run *r, const struct rule *rule, json v, struct seen *seen) {
    return !is_number(v) || number_compare(v, rule->value) >= 0 ||
           fail(r, "must be at least %.*s", STR(json_text(rule->value)));
}

static bool check_exclusive_minimum(struct run *r, const struct rule *rule, json v,
                                    struct seen *seen) {
    return !is_number(v) || number_compare(v, rule->value) > 0 ||
           fail(r, "must be more than %.*s", STR(json_text(rule->value)));
}

/* ---- strings (§6.3) ------------------------------------------------------------------ */

static size_t code_points(struct str s) {
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++)
        n += ((unsigned char)s.p[i] & 0xc0) != 0x80;
    return n;
}

static double number_of(const struct rule *rule) {
    double n = 0;
    json_is_double(rule->value, &n);
    return n;
}

static bool check_max_length(struct run *r, const struct rule *rule, json v, struct seen *seen) {
    struct str s;
    return !json_is_string(v, &s) || (double)code_points(s) <= number_of(rule) ||
           fail(r, "must have at most %.0f characters", number_of(rule));
}

static bool check_min_length(struct run *r, const struct rule *rule, json v, struct seen *seen) {
    struct str s;
    return !json_is_string(v, &s) || (double)code_points(s) >= number_of(rule) ||
           fail(r, "must have at least %.0f characters", number_of(rule));
}

static bool check_pattern(struct run *r, const struct rule *rule, json v, struct seen *seen) {
    struct str s;
    return !json_is_string(v, &s) || matches(r, rule->patterns[0], s) ||
           fail(r, "must match %.*s", STR(str_head(json_text(rule->value), 160)));
}

/* ---- counts (§6.4, §6.5) ------------------------------------------------------------- */

static bool check_count(struct run *r, const struct rule *rule, json v, enum json_type type,
                        bool most, const char *what) {
    double n = (double)json_count(v), bound = number_of(rule);
    if (json_type(v) != type || (most ? n <= bound : n >= bound))
        return true;
    return fail(r, "must have at %s %.0f %s", most ? "most" : "least", bound, what);
}

static bool check_max_items(struct run *r, const struct rule *rule, json v, struct seen *seen) {
    return check_count(r, rule, v, JSON_ARRAY, true, "elements");
}

static bool check_min_items(struct run *r, const struct rule *rule, json v, struct seen *seen) {
    return check_count(r, rule, v, JSON_ARRAY, false, "elements");
}

static bool check_max_properties(struct run *r, const struct rule *rule, json v,
                                 struct seen *seen) {
    return check_count(r, rule, v, JSON_OBJECT, true, "members");
}

static bool check_min_properties(struct run *r, const struct rule *rule, json v,
                                 struct seen *seen) {
    return check_count(r, rule, v, JSON_OBJECT, false, "members");
}

static bool check_required(struct run *r, const struct rule *rule, json v, struct seen *seen) {
    if (json_type(v) != JSON_OBJECT)
        return true;
    for (struct json_iter it = json_iter(rule->value); json_next(&it);)
        if (!spend(r, 1) || !json_get(v, json_text(it.value)))
            return fail(r, "lacks the required member %.*s",
                        STR(str_head(json_text(it.value), 60)));
    return true;
}

static bool check_dependent_required(struct run *r, const struct rule *rule, json v,
                                     struct seen *seen) {
    if (json_type(v) != JSON_OBJECT)
        return true;
    for (struct json_iter it = json_iter(rule->value); json_next(&it);) {
        if (!json_get(v, it.key))
            continue;
        for (struct json_iter need = json_iter(it.value); json_next(&need);)
            if (!json_get(v, json_text(need.value)))
                return fail(r, "with %.*s there must be %.*s", STR(str_head(it.key, 60)),
                            STR(str_head(json_text(need.value), 60)));
    }
    return true;
}

/* ---- uniqueItems --------------------------------------------------------------------- */

/* The same for equal values: members in any order, numbers by value. */
static uint64_t value_hash(struct run *r, json v) {
    double d = 0;
    bool yes = false;
    uint64_t sum = 0, i = 0;
    if (!spend(r, 1))
        return 0;
    switch (json_type(v)) {
    case JSON_NUMBER:
        json_is_double(v, &d);
        d = d == 0 ? 0 : d; /* no negative zero */
        return hash_bytes(&d, sizeof d);
    case JSON_STRING: return hash_str(json_text(v)) * 3;
    case JSON_OBJECT:
        for (struct json_iter it = json_iter(v); json_next(&it);)
            sum += (hash_str(it.key) * 5) ^ value_hash(r, it.value);
        return sum * 7 + 1;
    case JSON_ARRAY:
        for (struct json_iter it = json_iter(v); json_next(&it); i++)
            sum = sum * 31 + value_hash(r, it.value);
        return sum * 11 + 2;
    case JSON_BOOL: json_is_bool(v, &yes); return 100 + yes;
    default: return 1;
    }
}

struct hashed {
    uint64_t hash;
    json value;
};

static int by_hash(const void *a, const void *b) {
    uint64_t x = ((const struct hashed *)a)->hash, y = ((const struct hashed *)b)->hash;
    return x < y ? -1 : x > y;
}

static bool has_twin(struct run *r, const struct hashed *all, size_t n, size_t i) {
    for (size_t k = i + 1; k < n && all[k].hash == all[i].hash && spend(r, 1); k++)
        if (json_equal(all[i].value, all[k].value))
            return true;
    return false;
}

static bool check_unique_items(struct run *r, const struct rule *rule, json v, struct seen *seen) {
    bool wanted = false;
    size_t n = json_count(v), i = 0;
    if (json_type(v) != JSON_ARRAY || !json_is_bool(rule->value, &wanted) || !wanted ||
        !spend(r, n))
        return true;
    struct hashed *all = ARENA_ARRAY(&r->scratch, struct hashed, n + 1);
    for (struct json_iter it = json_iter(v); json_next(&it); i++)
        all[i] = (struct hashed){ value_hash(r, it.value), it.value };
    qsort(all, n, sizeof *all, by_hash);
    for (i = 0; i < n; i++)
        if (has_twin(r, all, n, i))
            return fail(r, "must not have two equal elements");
    return true;
}

/* ---- the table ----------------------------------------------------------------------- */

#define T(type) (1u << JSON_##type)

const struct keyword schema_keywords[] = {
    { "$defs", SHAPE_MAP, T(OBJECT), false, NULL },
    { "definitions", SHAPE_MAP, T(OBJECT), false, NULL }, /* of earlier drafts, still common */
    { "$id", SHAPE_VALUE, T(STRING), false, NULL },
    { "$anchor", SHAPE_VALUE, T(STRING), false, NULL },
    { "$dynamicAnchor", SHAPE_VALUE, T(STRING), false, NULL },
    { "$ref", SHAPE_VALUE, T(STRING), false, check_ref },
    { "$dynamicRef", SHAPE_VALUE, T(STRING), false, check_dynamic_ref },
    { "type", SHAPE_VALUE, T(STRING) | T(ARRAY), true, check_type },
    { "enum", SHAPE_VALUE, T(ARRAY), true, check_enum },
    { "const", SHAPE_VALUE, 0, true, check_const },
    { "multipleOf", SHAPE_VALUE, T(NUMBER), true, check_multiple_of },
    { "maximum", SHAPE_VALUE, T(NUMBER), true, check_maximum },
    { "exclusiveMaximum", SHAPE_VALUE, T(NUMBER), true, check_exclusive_maximum },
    { "minimum", SHAPE_VALUE, T(NUMBER), true, check_minimum },
    { "exclusiveMinimum", SHAPE_VALUE, T(NUMBER), true, check_exclusive_minimum },
    { "maxLength", SHAPE_VALUE, T(NUMBER), true, check_max_length },
    { "minLength", SHAPE_VALUE, T(NUMBER), true, check_min_length },
    { "pattern", SHAPE_VALUE, T(STRING), true, check_pattern },
    { "maxItems", SHAPE_VALUE, T(NUMBER), true, check_max_items },
    { "minItems", SHAPE_VALUE, T(NUMBER), true, check_min_items },
    { "uniqueItems", SHAPE_VALUE, T(BOOL), true, check_unique_items },
    { "maxContains", SHAPE_VALUE, T(NUMBER), true, check_nothing },
    { "minContains", SHAPE_VALUE, T(NUMBER), true, check_nothing },
    { "maxProperties", SHAPE_VALUE, T(NUMBER), true, check_max_properties },
    { "minProperties", SHAPE_VALUE, T(NUMBER), true, check_min_properties },
    { "required", SHAPE_VALUE, T(ARRAY), true, check_required },
    { "dependentRequired", SHAPE_VALUE, T(OBJECT), true, check_dependent_required },
    { "allOf", SHAPE_SCHEMAS, T(ARRAY), false, check_all_of },
    { "anyOf", SHAPE_SCHEMAS, T(ARRAY), false, check_any_of },
    { "oneOf", SHAPE_SCHEMAS, T(ARRAY), false, check_one_of },
    { "not", SHAPE_SCHEMA, 0, false, check_not },
    { "then", SHAPE_SCHEMA, 0, false, check_nothing },
    { "else", SHAPE_SCHEMA, 0, false, check_nothing },
    { "if", SHAPE_SCHEMA, 0, false, check_if },
    { "dependentSchemas", SHAPE_MAP, T(OBJECT), false, check_dependent_schemas },
    { "prefixItems", SHAPE_SCHEMAS, T(ARRAY), false, check_prefix_items },
    { "items", SHAPE_SCHEMA, 0, false, check_items },
    { "contains", SHAPE_SCHEMA, 0, false, check_contains },
    { "properties", SHAPE_MAP, T(OBJECT), false, check_properties },
    { "patternProperties", SHAPE_PATTERNS, T(OBJECT), false, check_pattern_properties },
    { "additionalProperties", SHAPE_SCHEMA, 0, false, check_additional },
    { "propertyNames", SHAPE_SCHEMA, 0, false, check_property_names },
    { "unevaluatedItems", SHAPE_SCHEMA, 0, false, check_unevaluated_items },
    { "unevaluatedProperties", SHAPE_SCHEMA, 0, false, check_unevaluated_properties },
};
const size_t schema_keyword_count = ARRAY_SIZE(schema_keywords);

/* ---- asking -------------------------------------------------------------------------- */

static err_t verdict(const struct run *r, bool ok) {
    if (r->exhausted)
        return ERR(LIMITED, "holding it against its schema takes too much work or nesting");
    return ok ? OK : ERR(INVALID, "%s", r->message[0] ? r->message : "/: does not match");
}

err_t json_schema_validate(const struct json_schema *s, json instance) {
    char room[1024];
    struct run r = { .schema = s };
    arena_init(&r.scratch, room, sizeof room);
    bool ok = apply(&r, s->root, instance, NULL);
    arena_done(&r.scratch);
    pcre2_match_data_free(r.match);
    return verdict(&r, ok);
}
