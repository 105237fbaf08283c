/* json_schema_suite.c - runs files of the official JSON-Schema-Test-Suite.
 *
 * usage: json_schema_suite REMOTES FILE...
 *
 * REMOTES is the suite's folder of documents that schemas refer to under localhost:1234.
 * Prints a line for each case that comes out wrong, and the number that came out right. */
#include "base/file.h"
#include "base/mem.h"
#include "mcp/json_schema.h"
#include <ftw.h>
#include <stdio.h>

static struct arena arena;
static struct json_schema_source sources[256];
static size_t source_count, remotes_length, right, wrong;

static struct str read_file(const char *path) {
    FILE *f = fopen(path, "rb");
    SCOPED(buf_done) struct buf b = { 0 };
    char piece[1024];
    for (size_t n; f && (n = fread(piece, 1, sizeof piece, f)) > 0;)
        buf_put(&b, piece, n);
    if (f)
        fclose(f);
    return arena_dup(&arena, buf_view(&b));
}

static int add_source(const char *path, const struct stat *st, int flag, struct FTW *ftw) {
    struct str name = str_of(path);
    const char *other_drafts[] = { "/draft6/", "/draft7/", "/draft2019-09/", "/draft-next/" };
    for (size_t i = 0; i < ARRAY_SIZE(other_drafts); i++)
        if (strstr(path, other_drafts[i]))
            return 0;
    if (flag != FTW_F || !str_ends(name, S(".json")) || source_count == ARRAY_SIZE(sources))
        return 0;
    sources[source_count++] = (struct json_schema_source){
        .uri = arena_fmt(&arena, "http://localhost:1234%s", path + remotes_length),
        .text = read_file(path),
    };
    return 0;
}

static void report(struct str file, json group, json test, const char *what) {
    wrong++;
    printf("%.*s: %.*s: %.*s: %s\n", STR(file), STR(json_get_text(group, S("description"))),
           STR(json_get_text(test, S("description"))), what);
}

static void run_group(struct str file, json group) {
    SCOPED(buf_done) struct buf text = { 0 };
    struct json_schema *schema = NULL;
    struct json_schema_options options = { .sources = sources, .source_count = source_count };
    json_write(&text, json_get(group, S("schema")));
    err_t e = json_schema_compile(buf_view(&text), &options, &schema);
    struct err compiling = e ? *e : (struct err){ 0 };
    for (struct json_iter it = json_iter(json_get(group, S("tests"))); json_next(&it);) {
        bool valid = false;
        json_is_bool(json_get(it.value, S("valid")), &valid);
        if (!schema) {
            report(file, group, it.value, compiling.text);
            continue;
        }
        e = json_schema_validate(schema, json_get(it.value, S("data")));
        if ((e == OK) == valid)
            right++;
        else
            report(file, group, it.value, e ? e->text : "passed");
    }
    json_schema_free(schema);
}

static void run_file(const char *path) {
    json all = NULL;
    err_t e = json_parse(&arena, read_file(path), (struct json_limits){ 0 }, &all);
    if (e) {
        printf("%s: %s\n", path, e->text);
        wrong++;
    }
    const char *name = strrchr(path, '/');
    for (struct json_iter it = json_iter(all); json_next(&it);)
        run_group(str_of(name ? name + 1 : path), it.value);
}

int main(int argc, char **argv) {
    if (argc < 3)
        return 2;
    arena_init(&arena, NULL, 0);
    remotes_length = strlen(argv[1]);
    nftw(argv[1], add_source, 16, FTW_PHYS);
    for (int i = 2; i < argc; i++)
        run_file(argv[i]);
    printf("right %zu wrong %zu\n", right, wrong);
    arena_done(&arena);
    return wrong != 0;
}
