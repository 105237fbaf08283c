/* search.c - search: names by glob, content by text or regular expression.
 *
 * It runs in slices on the blocking pool, so that others get their turn, progress is told and
 * a cancelled search ends soon. Every bound that it meets is said in the answer. */
#include "base/mem.h"
#include "servers/filesystem/beneath.h"
#include "servers/filesystem/globs.h"
#include "servers/filesystem/text.h"
#include "servers/filesystem/tools.h"
#include "servers/filesystem/walk.h"
#include <errno.h>

#define SLICE (150 * NANOS_MS)
enum {
    LINE_SHOWN = 400,
    HEAD_LOOKED_AT = 8192,
    MOST_AROUND = 10,
    PIECE = 64 * 1024,
    PLACES = 1024
};

static const char *const type_words[] = { "any", "file", "directory", NULL };

#define T struct search_args
struct search_args {
    struct str path, pattern, content;
    struct str_list exclude;
    bool regex, ignore_case;
    int type;
    int64_t context, limit;
};
static const struct field search_args[] = {
    FIELD(T, path, STR, NULL, "..4000", 0, "Directory, or one file, to search; all roots when absent. " PATH_HELP),
    FIELD(T, pattern, STR, NULL, "..2000", 0,
          "Glob of names: *.md anywhere, src/**/*.c below path; {a,b}, [a-z] and ? too. All names when absent."),
    FIELD(T, content, STR, NULL, "..2000", 0, "Text to find within a line of a file. Without it names alone are searched."),
    FIELD(T, regex, BOOL, "false", NULL, 0, "content is a regular expression (Perl's syntax), matched against each line."),
    FIELD(T, ignore_case, BOOL, "false", NULL, 0, "Small and capital letters are the same."),
    FIELD(T, exclude, STRS, NULL, "..50", 0, "Globs to leave out with all below them, such as .git or node_modules."),
    FIELD_CHOICE(T, type, type_words, "any", 0, "Which entries a search of names returns."),
    FIELD(T, context, INT, "0", "0..10", 0, "Lines to show before and after each match."),
    FIELD(T, limit, INT, "100", "1..100000", 0, "At most so many matches; the server has a limit of its own."),
};
#undef T

#define T struct match
struct match {
    struct str path, type, text;
    int64_t line, column;
    struct str_list before, after;
};
static const struct field match_rows[] = {
    FIELD(T, path, STR, NULL, NULL, FIELD_REQUIRED, "Where."),
    FIELD(T, type, STR, NULL, NULL, FIELD_REQUIRED, "file, directory, symlink, fifo, socket or device."),
    FIELD(T, line, INT, NULL, "1..", 0, "Number of the line, when content was searched."),
    FIELD(T, column, INT, NULL, "1..", 0, "Where in the line the match begins, in bytes from 1."),
    FIELD(T, text, STR, NULL, "1..", 0, "The line; cut when it is long."),
    FIELD(T, before, STRS, NULL, "1..", 0, "Lines before it."),
    FIELD(T, after, STRS, NULL, "1..", 0, "Lines after it."),
};
#undef T

#define T struct search_result
struct search_result {
    struct item_list matches;
    int64_t entries, files, bytes, skipped;
    bool complete;
    struct str stopped;
};
static const struct field search_result[] = {
    FIELD_NEST(T, matches, LIST, match_rows, struct match, FIELD_REQUIRED, "In the order of paths; one for each line at most."),
    FIELD(T, entries, INT, NULL, NULL, FIELD_REQUIRED, "Entries looked at."),
    FIELD(T, files, INT, NULL, NULL, FIELD_REQUIRED, "Files whose content was searched."),
    FIELD(T, bytes, INT, NULL, NULL, FIELD_REQUIRED, "Content searched."),
    FIELD(T, skipped, INT, NULL, NULL, FIELD_REQUIRED, "Files not searched: binary, too large, with hard links, or not readable."),
    FIELD(T, complete, BOOL, NULL, NULL, FIELD_REQUIRED, "Whether everything was looked at."),
    FIELD(T, stopped, STR, NULL, "1..", 0, "What ended it early: matches, time, entries, bytes, answer (too long) or depth."),
};
#undef T

struct search {
    struct call_ctx *ctx;
    struct fs *fs;
    const struct search_args *args;
    const bool *cancelled;
    struct pattern *names, *content; /* NULL: all; a text as it is, or none */
    struct globs exclude;
    size_t root;           /* index of the one being searched */
    bool all_roots, done;
    struct fs_place start;
    struct walk *walk;
    size_t top;            /* length of what is cut off paths before they meet globs */
    struct match *matches;
    size_t most, shown;    /* matches; bytes of their texts */
    struct buf file;       /* content of the file being searched */
    nanos end;             /* monotonic */
    struct search_result out;
};

static void search_done(struct search *s) {
    pattern_free(s->names);
    pattern_free(s->content);
    globs_done(&s->exclude);
    walk_free(s->walk);
    buf_done(&s->file);
}

static void stop(struct search *s, const char *why) {
    s->done = true;
    if (!s->out.stopped.n)
        s->out.stopped = str_of(why);
}

/* ---- one file ---------------------------------------------------------------------- */

static struct str line_at(struct str all, size_t at, size_t *out_start) {
    const char *before = at ? memrchr(all.p, '\n', at) : NULL;
    size_t start = before ? (size_t)(before + 1 - all.p) : 0;
    const char *end = memchr(all.p + start, '\n', all.n - start);
    size_t n = (end ? (size_t)(end - all.p) : all.n) - start;
    *out_start = start;
    return str_from(all.p + start, n && all.p[start + n - 1] == '\r' ? n - 1 : n);
}

static struct str shown_line(struct search *s, struct str line) {
    struct str part = text_head(line, LINE_SHOWN);
    s->shown += part.n + 16;
    return arena_fmt(s->ctx->arena, "%.*s%s", STR(part), part.n < line.n ? "…" : "");
}

/* No lines are no list at all. */
static struct str_list or_absent(struct str_list list) {
    return list.n ? list : (struct str_list){ 0 };
}

static struct str_list lines_before(struct search *s, struct str all, size_t start) {
    struct str items[MOST_AROUND];
    struct str_list list = { 0 };
    for (; start && list.n < (size_t)s->args->context; list.n++)
        items[list.n] = line_at(all, start - 1, &start);
    list.items = ARENA_ARRAY(s->ctx->arena, struct str, list.n + 1);
    for (size_t i = 0; i < list.n; i++)
        list.items[i] = shown_line(s, items[list.n - 1 - i]);
    return or_absent(list);
}

static struct str_list lines_after(struct search *s, struct str all, size_t start) {
    struct str_list list = { .items = ARENA_ARRAY(s->ctx->arena, struct str,
                                                  (size_t)s->args->context + 1) };
    for (; list.n < (size_t)s->args->context; list.n++) {
        const char *end = memchr(all.p + start, '\n', all.n - start);
        if (!end || end + 1 == all.p + all.n)
            break;
        struct str line = line_at(all, (size_t)(end + 1 - all.p), &start);
        list.items[list.n] = shown_line(s, line);
    }
    return or_absent(list);
}

static struct match *add_match(struct search *s, struct str rest, mode_t type) {
    struct match *m = &s->matches[s->out.matches.n++];
    struct fs_place place = { s->start.root, rest };
    *m = (struct match){ .path = arena_dup(s->ctx->arena, fs_shown(s->ctx->arena, &place)),
                         .type = str_of(fs_type_word(type)) };
    s->shown += m->path.n;
    if (s->out.matches.n == s->most)
        stop(s, "matches");
    else if (s->shown > (size_t)s->fs->options->max_read)
        stop(s, "answer");
    return m;
}

static void add_line(struct search *s, struct str rest, struct str all, size_t at, int64_t line,
                     size_t *start) {
    struct match *m = add_match(s, rest, S_IFREG);
    struct str text = line_at(all, at, start);
    m->line = line;
    m->column = (int64_t)(at - *start) + 1;
    m->text = shown_line(s, text);
    m->before = lines_before(s, all, *start);
    m->after = lines_after(s, all, *start);
}

static int64_t count_ends(struct str s) {
    int64_t n = 0;
    for (const char *p = s.p, *end = p + s.n; p < end && (p = memchr(p, '\n', (size_t)(end - p)));
         p++)
        n++;
    return n;
}

/* Time and cancellation, between steps that are short. */
static err_t poll_end(struct search *s) {
    if (work_cancelled(s->cancelled))
        return ERR(CANCELLED, "the search was cancelled");
    if (clock_mono() > s->end)
        stop(s, "time");
    return OK;
}

/* A text as it is needs no engine: whole files at the speed of memory. */
static err_t search_plain(struct search *s, struct str rest, struct str all) {
    size_t from = 0, counted = 0, start;
    int64_t line = 1;
    while (!s->done) {
        TRY(poll_end(s));
        ptrdiff_t at = str_find(str_skip(all, from), s->args->content);
        if (at < 0)
            break;
        size_t found = from + (size_t)at;
        line += count_ends(str_from(all.p + counted, found - counted));
        counted = found;
        add_line(s, rest, all, found, line, &start);
        const char *end = memchr(all.p + found, '\n', all.n - found);
        if (!end)
            break;
        from = (size_t)(end + 1 - all.p);
    }
    return OK;
}

/* From few places at a time: the steps of one are bounded (pattern.h), and between them the clock
 * is read. */
static err_t find_in_piece(struct search *s, struct str piece, bool *found, size_t *at) {
    size_t end;
    *found = false;
    for (size_t from = 0; from <= piece.n && !*found && !s->done; from += PLACES) {
        size_t last = from + PLACES - 1 < piece.n ? from + PLACES - 1 : piece.n;
        TRY(pattern_find(s->content, piece, from, last, found, at, &end));
        if (piece.n > PLACES)
            TRY(poll_end(s));
    }
    return OK;
}

/* Where in a line it matches. Long lines are searched in pieces. */
static err_t find_in_line(struct search *s, struct str line, bool *found, size_t *at) {
    size_t done = 0;
    *at = 0;
    do {
        TRY(find_in_piece(s, str_head(str_skip(line, done), PIECE), found, at));
        *at += done;
        done += PIECE;
    } while (!*found && done < line.n && !s->done);
    return OK;
}

/* At most one match for each line. */
static err_t search_lines(struct search *s, struct str rest, struct str all) {
    size_t next = 0, start, at = 0;
    for (int64_t number = 1; next < all.n && !s->done; number++) {
        bool found;
        struct str line = line_at(all, next, &start);
        if (number % 256 == 0)
            TRY(poll_end(s));
        TRY(find_in_line(s, line, &found, &at));
        if (found)
            add_line(s, rest, all, start + at, number, &start);
        const char *end = memchr(all.p + next, '\n', all.n - next);
        next = end ? (size_t)(end + 1 - all.p) : all.n;
    }
    return OK;
}

static err_t search_open_file(struct search *s, struct str rest, int fd, const struct stat *st) {
    const struct fs_options *o = s->fs->options;
    buf_clear(&s->file);
    if (st->st_size > o->max_search_file ||
        text_read(fd, "path", 0, (size_t)st->st_size, &s->file)) {
        s->out.skipped++;
        return OK;
    }
    struct str all = buf_view(&s->file);
    size_t head = all.n < HEAD_LOOKED_AT ? all.n : HEAD_LOOKED_AT;
    if (head && memchr(all.p, '\0', head)) {
        s->out.skipped++;
        return OK;
    }
    s->out.files++;
    s->out.bytes += (int64_t)all.n;
    if (s->out.bytes > o->max_search_bytes)
        stop(s, "bytes");
    return s->content ? search_lines(s, rest, all) : search_plain(s, rest, all);
}

/* ---- entries ----------------------------------------------------------------------- */

static bool type_fits(const struct search *s, mode_t type) {
    return s->args->type == 0 || (s->args->type == 1 ? S_ISREG(type) : S_ISDIR(type));
}

static err_t look_at(struct search *s, const struct walk_entry *e) {
    struct stat st;
    struct str below = str_skip(e->rest, s->top);
    s->out.entries++;
    if (globs_match(&s->exclude, below)) {
        walk_skip(s->walk);
        return OK;
    }
    if (s->names && !pattern_matches_path(s->names, below))
        return OK;
    if (!s->args->content.n) {
        if (type_fits(s, e->type))
            add_match(s, e->rest, e->type);
        return OK;
    }
    if (!S_ISREG(e->type))
        return OK;
    SCOPED(fd_scope) int fd = beneath_child(s->fs, e->dir, e->name, &st);
    if (fd >= 0)
        return search_open_file(s, e->rest, fd, &st);
    s->out.skipped++;
    return OK;
}

/* ---- roots ------------------------------------------------------------------------- */

static void end_walk(struct search *s) {
    if (s->walk->too_many)
        stop(s, "entries");
    if (s->walk->too_deep && !s->out.stopped.n)
        s->out.stopped = S("depth");
    walk_free(TAKE(s->walk));
    s->root++;
    s->done |= !s->all_roots || s->root == s->fs->root_count;
}

static err_t begin_walk(struct search *s) {
    const struct fs_options *o = s->fs->options;
    int fd;
    if (s->all_roots)
        s->start = (struct fs_place){ &s->fs->roots[s->root], S("") };
    TRY(beneath_dir(s->fs, "path", &s->start, &fd));
    size_t left = (size_t)(o->max_scan - s->out.entries);
    s->walk = walk_new(s->fs, fd, s->start.rest, left, (unsigned)o->max_depth);
    s->top = s->start.rest.n ? s->start.rest.n + 1 : 0;
    return OK;
}

/* The path may be one file. */
static err_t search_one(struct search *s, bool *was_file) {
    struct stat st;
    *was_file = false;
    if (s->all_roots || !s->args->content.n)
        return OK;
    SCOPED(fd_scope) int look = -1;
    SCOPED(fd_scope) int fd = -1;
    TRY(beneath_look(s->fs, "path", &s->start, &look, &st));
    if (!S_ISREG(st.st_mode))
        return OK;
    *was_file = s->done = true;
    TRY(beneath_file(s->fs, "path", &s->start, &fd, &st));
    s->done = false;
    s->out.entries = 1;
    err_t e = search_open_file(s, s->start.rest, fd, &st);
    s->done = true;
    return e;
}

static err_t slice(void *arg, const bool *cancelled) {
    struct search *s = arg;
    struct walk_entry e;
    nanos until = clock_mono() + SLICE;
    s->cancelled = cancelled;
    while (!s->done) {
        if (work_cancelled(cancelled))
            return ERR(CANCELLED, "the search was cancelled");
        if (clock_mono() > s->end)
            stop(s, "time");
        else if (clock_mono() > until)
            return OK;
        else if (!s->walk)
            TRY(begin_walk(s));
        else if (walk_next(s->walk, &e))
            TRY(look_at(s, &e));
        else
            end_walk(s);
    }
    return OK;
}

static err_t first_slice(void *arg, const bool *cancelled) {
    struct search *s = arg;
    bool was_file;
    s->cancelled = cancelled;
    TRY(search_one(s, &was_file));
    return was_file ? OK : slice(arg, cancelled);
}

/* ---- the tool ---------------------------------------------------------------------- */

static err_t prepare(struct search *s) {
    const struct search_args *a = s->args;
    const struct fs_options *o = s->fs->options;
    if (!a->pattern.n && !a->content.n)
        return ERR(INVALID, "pattern: a glob of names, or content, is needed");
    if (a->content.n && !(s->fs->allowed & FS_READ))
        return ERR(DENIED, "content: reading is not allowed here (option allowed_operations)");
    s->all_roots = a->path.n == 0;
    if (!s->all_roots)
        TRY(fs_locate(s->fs, s->ctx->arena, "path", a->path, &s->start));
    if (a->pattern.n)
        TRY(pattern_new("pattern", PATTERN_GLOB, a->pattern, a->ignore_case, &s->names));
    if (str_find_char(a->content, '\n') >= 0)
        return ERR(INVALID, "content: has a line end, but lines are searched one by one");
    if (a->content.n && (a->regex || a->ignore_case))
        TRY(pattern_new("content", a->regex ? PATTERN_REGEX : PATTERN_TEXT, a->content,
                        a->ignore_case, &s->content));
    TRY(globs_new("exclude", &a->exclude, &s->exclude));
    s->most = (size_t)(a->limit < o->max_matches ? a->limit : o->max_matches);
    s->matches = ARENA_ARRAY(s->ctx->arena, struct match, s->most);
    s->out.matches.items = s->matches;
    s->end = clock_mono() + o->search_time;
    return OK;
}

static err_t run(struct search *s, work_fn *fn) {
    static const bool never;
    return s->ctx->task ? work_run(s->ctx->task, fn, s) : fn(s, &never);
}

static void tell(struct search *s) {
    struct call_sink *sink = s->ctx->sink;
    if (!sink || !sink->progress)
        return;
    struct str message = arena_fmt(s->ctx->arena, "%lld entries, %zu matches",
                                   (long long)s->out.entries, s->out.matches.n);
    sink->progress(sink, (double)s->out.entries, 0, message);
}

static void put_lines(struct buf *out, const struct search *s) {
    for (size_t i = 0; i < s->out.matches.n; i++) {
        const struct match *m = &s->matches[i];
        for (size_t k = 0; k < m->before.n; k++)
            buf_fmt(out, "%.*s-%lld- %.*s\n", STR(m->path),
                    (long long)(m->line - (int64_t)(m->before.n - k)), STR(m->before.items[k]));
        if (m->line)
            buf_fmt(out, "%.*s:%lld: %.*s\n", STR(m->path), (long long)m->line, STR(m->text));
        else
            buf_fmt(out, "%.*s%s\n", STR(m->path), str_eq(m->type, S("directory")) ? "/" : "");
        for (size_t k = 0; k < m->after.n; k++)
            buf_fmt(out, "%.*s-%lld- %.*s\n", STR(m->path), (long long)m->line + 1 + (long long)k,
                    STR(m->after.items[k]));
    }
    if (!s->out.matches.n)
        buf_str(out, S("nothing found\n"));
    if (!s->out.complete)
        buf_fmt(out, "(not everything was searched: %.*s)\n", STR(s->out.stopped));
}

static err_t search_all(struct search *s) {
    TRY(prepare(s));
    TRY(run(s, first_slice));
    for (tell(s); !s->done; tell(s))
        TRY(run(s, slice));
    s->out.complete = !s->out.stopped.n;
    return OK;
}

static err_t search_tool(struct call_ctx *c, void *self, const void *args,
                         struct tool_result *result) {
    SCOPED(search_done) struct search s = { .ctx = c, .fs = self, .args = args };
    TRY(search_all(&s));
    put_lines(&result->text, &s);
    FS_ANSWER(search_result, &s.out, result);
    return OK;
}

static const struct tool tools[] = {
    TOOL("search", "Search files", search_args, struct search_args, search_result, search_tool,
         TOOL_READ_ONLY | TOOL_IDEMPOTENT,
         "Finds files and directories by a glob of their names, or lines in files by a text or a regular "
         "expression, below a directory. Says whether everything was searched, and what stopped it."),
};
const struct tool_table fs_search_table = { tools, ARRAY_SIZE(tools) };
