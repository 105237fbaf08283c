/* describe.c - `gatespan describe`: writes docs/reference, or checks that it is up to date. */
#include "cli/describe.h"
#include "base/file.h"
#include "base/mem.h"
#include "cli/cli.h"
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

enum { PAGE_LIMIT = 16 * 1024 * 1024 };

static const struct cli_option options[] = {
    { "out", "DIR", NULL, false, "write the pages there; without it they go to standard output" },
    { "check", "DIR", NULL, false, "exit with 1 and name what differs from the pages in DIR" },
    { "man", "DIR", NULL, false, "write the manual pages there instead, as sources for scdoc" },
};

/* ---- text -------------------- */

void page_row(struct buf *b, const struct str *cells, size_t n) {
    buf_char(b, '|');
    for (size_t i = 0; i < n; i++) {
        buf_char(b, ' ');
        for (size_t k = 0; k < cells[i].n; k++) {
            char c = cells[i].p[k];
            if (c == '|')
                buf_char(b, '\\');
            buf_char(b, c == '\n' ? ' ' : c);
        }
        buf_str(b, S(" |"));
    }
    buf_char(b, '\n');
}

void page_table(struct buf *b, const char *heads) {
    struct str rest = str_of(heads);
    size_t n = 0;
    buf_char(b, '|');
    for (; rest.p; n++) {
        struct str head = str_cut(&rest, '|');
        buf_fmt(b, " %.*s |", STR(head));
    }
    buf_str(b, S("\n|"));
    while (n--)
        buf_str(b, S(" --- |"));
    buf_char(b, '\n');
}

static bool is_markdown(const struct reference_page *p) {
    return str_ends(str_of(p->file), S(".md"));
}

static void write_page(const struct reference_page *p, struct buf *b) {
    if (is_markdown(p))
        buf_fmt(b,
                "# %s\n\nWritten by `gatespan describe`; what it says comes from the tables in the "
                "source.\n\n",
                p->title);
    p->write(b);
}

/* ---- files -------------------- */

static int save(struct cli *c, struct str folder, const struct reference_page *p, struct str text) {
    const char *path = arena_text(&c->arena, arena_fmt(&c->arena, "%.*s/%s", STR(folder), p->file));
    FILE *f = fopen(path, "w");
    bool ok = f && fwrite(text.p, 1, text.n, f) == text.n;
    if (f)
        ok = fclose(f) == 0 && ok;
    return ok ? 0 : cli_fail(EXIT_FAILURE_, "%s: %s", path, strerror(errno));
}

static int write_all(struct cli *c, struct str folder, const struct reference_page *pages,
                     size_t n) {
    int code = 0;
    if (mkdir(arena_text(&c->arena, folder), 0777) && errno != EEXIST)
        return cli_fail(EXIT_FAILURE_, "%.*s: %s", STR(folder), strerror(errno));
    for (size_t i = 0; !code && i < n; i++) {
        SCOPED(buf_done) struct buf b = { 0 };
        write_page(&pages[i], &b);
        code = save(c, folder, &pages[i], buf_view(&b));
    }
    return code;
}

static bool is_current(struct cli *c, struct str folder, const struct reference_page *p) {
    SCOPED(buf_done) struct buf want = { 0 };
    SCOPED(buf_done) struct buf have = { 0 };
    bool missing = false;
    write_page(p, &want);
    err_t e = file_read(arena_fmt(&c->arena, "%.*s/%s", STR(folder), p->file), PAGE_LIMIT, &have,
                        &missing);
    return !e && !missing && str_eq(buf_view(&want), buf_view(&have));
}

/* What stands beside the pages of the program's tables: found out by tools/compatibility. */
static const char measured[] = "compatibility.md";

static bool is_page(const char *name) {
    for (size_t i = 0; i < reference_page_count; i++)
        if (strcmp(reference_pages[i].file, name) == 0)
            return true;
    return name[0] == '.' || strcmp(name, measured) == 0;
}

/* Files that no table stands behind any more. */
static size_t count_strays(struct cli *c, struct str folder) {
    DIR *d = opendir(arena_text(&c->arena, folder));
    size_t n = 0;
    for (struct dirent *entry; d && (entry = readdir(d));) {
        if (is_page(entry->d_name))
            continue;
        printf("%.*s/%s is no page of the reference\n", STR(folder), entry->d_name);
        n++;
    }
    if (d)
        closedir(d);
    return n;
}

static int check_all(struct cli *c, struct str folder) {
    size_t differ = count_strays(c, folder);
    for (size_t i = 0; i < reference_page_count; i++) {
        if (is_current(c, folder, &reference_pages[i]))
            continue;
        printf("%.*s/%s differs\n", STR(folder), reference_pages[i].file);
        differ++;
    }
    return differ ? cli_fail(EXIT_FAILURE_,
                             "the reference is out of date: run gatespan describe --out %.*s",
                             STR(folder))
                  : 0;
}

static int print_all(void) {
    for (size_t i = 0; i < reference_page_count; i++) {
        SCOPED(buf_done) struct buf b = { 0 };
        write_page(&reference_pages[i], &b);
        fwrite(b.p, 1, b.n, stdout);
        putchar('\n');
    }
    return 0;
}

static int run(struct cli *c) {
    struct str out = cli_get(c, "out"), check = cli_get(c, "check"), man = cli_get(c, "man");
    if ((out.p != NULL) + (check.p != NULL) + (man.p != NULL) > 1)
        return cli_fail(EXIT_USAGE, "--out, --check and --man exclude each other");
    if (check.p)
        return check_all(c, check);
    if (man.p)
        return write_all(c, man, manual_pages, manual_page_count);
    return out.p ? write_all(c, out, reference_pages, reference_page_count) : print_all();
}

const struct command command_describe = {
    .name = "describe", .words = "[OPTIONS]", .options = options, .option_count = ARRAY_SIZE(options),
    .summary = "write the reference: options, metrics, routes, commands, errors, servers", .run = run,
};
