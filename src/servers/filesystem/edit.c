/* edit.c - edit: exact texts replaced, several at once, all or none. */
#include "base/mem.h"
#include "servers/filesystem/change.h"
#include "servers/filesystem/diff.h"
#include "servers/filesystem/text.h"
#include "servers/filesystem/tools.h"

#define T struct one_edit
struct one_edit {
    struct str old_text, new_text;
    bool replace_all;
};
static const struct field edit_rows[] = {
    FIELD(T, old_text, STR, NULL, "1..1048576", FIELD_REQUIRED, "Text that is there now, exactly, with its white space; must be found once."),
    FIELD(T, new_text, STR, NULL, "..16777216", FIELD_REQUIRED, "What comes in its place; empty removes it."),
    FIELD(T, replace_all, BOOL, "false", NULL, 0, "Replace each place where it is found."),
    FIELD_AS("oldText", T, old_text, STR, NULL, NULL, FIELD_HIDDEN, ""),
    FIELD_AS("newText", T, new_text, STR, NULL, NULL, FIELD_HIDDEN, ""),
};
#undef T

#define T struct edit_args
struct edit_args {
    struct str path;
    struct item_list edits;
    bool dry_run;
};
static const struct field edit_args[] = {
    FIELD(T, path, STR, NULL, "1..4000", FIELD_REQUIRED, PATH_HELP),
    FIELD_NEST(T, edits, LIST, edit_rows, struct one_edit, FIELD_REQUIRED, "Replacements, made one after the other; when one fails none is made."),
    FIELD(T, dry_run, BOOL, "false", NULL, 0, "Show the difference and change nothing."),
    FIELD_AS("dryRun", T, dry_run, BOOL, NULL, NULL, FIELD_HIDDEN, ""),
};
#undef T

#define T struct edit_result
struct edit_result {
    struct str path, diff;
    int64_t replacements, added, removed, size;
    bool written;
};
static const struct field edit_result[] = {
    FIELD(T, path, STR, NULL, NULL, FIELD_REQUIRED, "The file."),
    FIELD(T, diff, STR, NULL, NULL, FIELD_REQUIRED, "What changed, as a unified diff; cut where it is very long."),
    FIELD(T, replacements, INT, NULL, NULL, FIELD_REQUIRED, "Places replaced."),
    FIELD(T, added, INT, NULL, NULL, FIELD_REQUIRED, "Lines added."),
    FIELD(T, removed, INT, NULL, NULL, FIELD_REQUIRED, "Lines removed."),
    FIELD(T, size, INT, NULL, NULL, FIELD_REQUIRED, "Bytes of the file with the changes."),
    FIELD(T, written, BOOL, NULL, NULL, FIELD_REQUIRED, "Whether the file was changed; false in a dry run."),
};
#undef T

enum { MOST_EDITS = 1000 };

static int64_t count(struct str text, struct str what) {
    int64_t n = 0;
    for (ptrdiff_t at; (at = str_find(text, what)) >= 0; n++)
        text = str_skip(text, (size_t)at + what.n);
    return n;
}

/* Models write "\n"; a file with "\r\n" is met in its own way. */
static struct str with_crlf(struct arena *a, struct str s) {
    SCOPED(buf_done) struct buf out = { 0 };
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '\n' && !(i && s.p[i - 1] == '\r'))
            buf_char(&out, '\r');
        buf_char(&out, s.p[i]);
    }
    return arena_dup(a, buf_view(&out));
}

static err_t find_old(struct call_ctx *c, struct str text, size_t i, struct one_edit *e,
                      int64_t *found) {
    *found = count(text, e->old_text);
    if (!*found && str_find(text, S("\r\n")) >= 0 && str_find_char(e->old_text, '\n') >= 0) {
        e->old_text = with_crlf(c->arena, e->old_text);
        e->new_text = with_crlf(c->arena, e->new_text);
        *found = count(text, e->old_text);
    }
    if (!*found)
        return ERR(
            INVALID,
            "edits[%zu].old_text: is not in the file%s; read it again and copy the text exactly", i,
            i ? " as the edits before leave it" : "");
    if (*found > 1 && !e->replace_all)
        return ERR(INVALID,
                   "edits[%zu].old_text: is there %lld times; give more of the text around it, or "
                   "say replace_all",
                   i, (long long)*found);
    return OK;
}

static err_t replace(struct fs *fs, size_t i, struct str text, const struct one_edit *e,
                     int64_t found, struct buf *out) {
    int64_t size = (int64_t)text.n + found * ((int64_t)e->new_text.n - (int64_t)e->old_text.n);
    if (size > fs->options->max_write)
        return ERR(TOO_LARGE,
                   "edits[%zu]: the file would have %lld bytes, at most %lld are allowed (option "
                   "max_write)",
                   i, (long long)size, (long long)fs->options->max_write);
    buf_clear(out);
    buf_reserve(out, (size_t)size);
    for (ptrdiff_t at; (at = str_find(text, e->old_text)) >= 0;) {
        buf_str(out, str_head(text, (size_t)at));
        buf_str(out, e->new_text);
        text = str_skip(text, (size_t)at + e->old_text.n);
    }
    buf_str(out, text);
    return OK;
}

/* The text goes from one buffer to the other; *now is the newest. */
static err_t apply_all(struct call_ctx *c, struct fs *fs, const struct edit_args *args,
                       struct buf *now, const bool *cancelled, int64_t *replacements) {
    SCOPED(buf_done) struct buf next = { 0 };
    struct one_edit *edits = args->edits.items;
    for (size_t i = 0; i < args->edits.n; i++) {
        int64_t found;
        if (work_cancelled(cancelled))
            return ERR(CANCELLED, "edits: editing was cancelled");
        TRY(find_old(c, buf_view(now), i, &edits[i], &found));
        TRY(replace(fs, i, buf_view(now), &edits[i], found, &next));
        *replacements += found;
        struct buf swap = *now;
        *now = next;
        next = swap;
    }
    return OK;
}

static err_t check_text(struct str shown, struct str text) {
    const char *other = text_is_not(text);
    if (other)
        return ERR(INVALID, "path: %.*s is not UTF-8 text, it looks like %s", STR(shown), other);
    return OK;
}

static void show_diff(struct call_ctx *c, struct fs *fs, struct str before, struct str after,
                      struct edit_result *out) {
    SCOPED(buf_done) struct buf text = { 0 };
    struct diff_counts n = diff_unified(&text, out->path, before, after);
    struct str part = text_head(buf_view(&text), (size_t)fs->options->max_read);
    out->diff = arena_fmt(c->arena, "%.*s%s", STR(part), part.n < text.n ? "\n[cut]\n" : "");
    out->added = n.added;
    out->removed = n.removed;
}

static err_t edit_now(struct call_ctx *c, struct fs *fs, const void *given,
                      struct tool_result *result, const bool *cancelled) {
    const struct edit_args *args = given;
    SCOPED(change_done) struct change change = { .dir = -1 };
    SCOPED(buf_done) struct buf before = { 0 };
    SCOPED(buf_done) struct buf after = { 0 };
    struct edit_result out = { 0 };
    if (args->edits.n < 1 || args->edits.n > MOST_EDITS)
        return ERR(INVALID, "edits: 1 to %d are needed", MOST_EDITS);
    TRY(change_begin(c, fs, args->path, false, &change));
    if (!change.exists)
        return ERR(NOT_FOUND, "path: %.*s does not exist; write makes files", STR(change.shown));
    TRY(change_load(fs, &change, &before));
    TRY(check_text(change.shown, buf_view(&before)));
    buf_str(&after, buf_view(&before));
    TRY(apply_all(c, fs, args, &after, cancelled, &out.replacements));
    out.path = change.shown;
    out.size = (int64_t)after.n;
    show_diff(c, fs, buf_view(&before), buf_view(&after), &out);
    out.written = !args->dry_run && !str_eq(buf_view(&before), buf_view(&after));
    const struct str whole = buf_view(&after);
    if (out.written)
        TRY(change_store(fs, &change, &whole, 1, true));
    buf_str(&result->text, out.diff.n ? out.diff : S("nothing changes\n"));
    FS_ANSWER(edit_result, &out, result);
    return OK;
}
static FS_TOOL(edit)

static const struct tool tools[] = {
    TOOL("edit", "Edit a file", edit_args, struct edit_args, edit_result, edit_tool, TOOL_DESTRUCTIVE,
         "Replaces exact texts in a text file, several at once, all or none, and answers with the "
         "difference. dry_run shows it first. Each old_text must be found exactly once, or replace_all said."),
};
const struct tool_table fs_edit_table = { tools, ARRAY_SIZE(tools) };
