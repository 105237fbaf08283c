/* read.c - read_text, read_media, read_many. */
#include "base/crypto.h"
#include "servers/filesystem/beneath.h"
#include "servers/filesystem/text.h"
#include "servers/filesystem/tools.h"

enum { BLOCK = 64 * 1024 };

/* ---- read_text --------------------------------------------------------------------- */

#define T struct read_text_args
struct read_text_args {
    struct str path;
    int64_t head, tail, first_line, last_line, offset, length;
};
static const struct field read_text_args[] = {
    FIELD(T, path, STR, NULL, "1..4000", FIELD_REQUIRED, PATH_HELP),
    FIELD(T, first_line, INT, "0", "0..", 0, "First line to return, counted from 1."),
    FIELD(T, last_line, INT, "0", "0..", 0, "Last line to return."),
    FIELD(T, head, INT, "0", "0..", 0, "Only so many lines from the beginning."),
    FIELD(T, tail, INT, "0", "0..", 0, "Only so many lines from the end."),
    FIELD(T, offset, INT, "0", "0..", 0, "First byte to return, instead of lines: next_offset of the answer before."),
    FIELD(T, length, INT, "0", "0..", 0, "So many bytes at most."),
};
#undef T

#define T struct read_text_result
struct read_text_result {
    struct str path, content;
    int64_t size, offset, first_line, last_line, total_lines, next_offset;
    bool truncated;
    struct str modified;
};
static const struct field read_text_result[] = {
    FIELD(T, path, STR, NULL, NULL, FIELD_REQUIRED, "The file."),
    FIELD(T, content, STR, NULL, NULL, FIELD_REQUIRED, "Its text, or the part asked for, with its line ends."),
    FIELD(T, size, INT, NULL, NULL, FIELD_REQUIRED, "Bytes of the whole file."),
    FIELD(T, offset, INT, NULL, NULL, FIELD_REQUIRED, "Where in the file content begins, in bytes."),
    FIELD(T, first_line, INT, NULL, "1..", 0, "Number of the first line returned; absent when it was not counted."),
    FIELD(T, last_line, INT, NULL, "1..", 0, "Number of the last one."),
    FIELD(T, total_lines, INT, NULL, "1..", 0, "Lines of the whole file, when all were counted."),
    FIELD(T, truncated, BOOL, NULL, NULL, FIELD_REQUIRED, "Whether less was returned than asked for, because of the server's limit."),
    FIELD(T, next_offset, INT, NULL, "1..", 0, "Where to read on; absent at the end of the file."),
    FIELD(T, modified, STR, NULL, NULL, FIELD_REQUIRED, "Last change, RFC 3339."),
};
#undef T

/* One file being read: what is wanted, and what was found. */
struct reading {
    int fd;
    struct stat st;
    size_t most;
    struct buf text;
    const bool *cancelled;
    struct read_text_result *out;
};

static void reading_done(struct reading *r) {
    buf_done(&r->text);
    if (r->fd >= 0)
        close(r->fd);
}

/* Where line `line` (from 1) begins; the end of the file when there are fewer: then *lines says how
 * many there are. */
static err_t find_line(struct reading *r, int64_t line, int64_t *at, int64_t *lines) {
    SCOPED(buf_done) struct buf block = { 0 };
    int64_t seen = 0, offset = 0;
    bool open = false; /* the last line has no end yet */
    for (*at = 0; seen < line - 1;) {
        if (work_cancelled(r->cancelled))
            return ERR(CANCELLED, "path: reading was cancelled");
        buf_clear(&block);
        TRY(text_read(r->fd, "path", offset, BLOCK, &block));
        if (!block.n)
            break;
        for (const char *p = block.p, *end = p + block.n; p < end && seen < line - 1;) {
            const char *stop = memchr(p, '\n', (size_t)(end - p));
            open = !stop;
            p = stop ? stop + 1 : end;
            seen += stop != NULL;
            *at = offset + (p - block.p);
        }
        offset += (int64_t)block.n;
    }
    *lines = seen + open;
    return OK;
}

/* Where the last n lines begin. */
static err_t find_tail(struct reading *r, int64_t n, int64_t *at) {
    SCOPED(buf_done) struct buf block = { 0 };
    int64_t end = r->st.st_size, low = end > (int64_t)r->most ? end - (int64_t)r->most : 0;
    TRY(text_read(r->fd, "path", low, (size_t)(end - low), &block));
    size_t p = block.n;
    if (p && block.p[p - 1] == '\n')
        p--;
    for (; p; p--)
        if (block.p[p - 1] == '\n' && --n == 0)
            break;
    r->out->truncated = p == 0 && low > 0;
    *at = low + (int64_t)p;
    return OK;
}

/* Keeps at most `lines` of what was read, and at most what an answer holds. */
static struct str cut(struct reading *r, int64_t lines) {
    struct str s = buf_view(&r->text);
    size_t n = 0;
    for (int64_t i = 0; i < lines && n < s.n; i++) {
        const char *stop = memchr(s.p + n, '\n', s.n - n);
        n = stop ? (size_t)(stop + 1 - s.p) : s.n;
    }
    if (lines)
        s = str_head(s, n);
    if (s.n <= r->most)
        return s;
    r->out->truncated = true;
    s = text_head(s, r->most);
    const char *last = memrchr(s.p, '\n', s.n);
    return last ? str_head(s, (size_t)(last + 1 - s.p)) : s;
}

static err_t check_range(const struct read_text_args *a) {
    int kinds = (a->head > 0) + (a->tail > 0) + (a->first_line > 0 || a->last_line > 0) +
                (a->offset > 0 || a->length > 0);
    if (kinds > 1)
        return ERR(INVALID, "head, tail, first_line with last_line, and offset with length exclude "
                            "each other: give one of them");
    if (a->last_line && a->last_line < a->first_line)
        return ERR(INVALID, "last_line: %lld is before first_line %lld", (long long)a->last_line,
                   (long long)a->first_line);
    return OK;
}

/* Where to begin, and how many lines at most (0: no bound). */
static err_t find_range(struct reading *r, const struct read_text_args *a, int64_t *at,
                        int64_t *lines) {
    int64_t total = 0, first = a->first_line ? a->first_line : 1;
    *at = a->offset;
    *lines = a->head;
    if (a->tail)
        return find_tail(r, a->tail, at);
    if (a->offset || a->length)
        return OK;
    TRY(find_line(r, first, at, &total));
    if (a->last_line)
        *lines = a->last_line - first + 1;
    if (*at >= r->st.st_size && total && first > total)
        return ERR(INVALID, "first_line: the file has only %lld lines", (long long)total);
    r->out->first_line = first;
    return OK;
}

static err_t check_text(const struct reading *r, struct str text) {
    const char *other = text_is_not(text);
    if (other)
        return ERR(INVALID,
                   "path: %.*s is not UTF-8 text, it looks like %s; read_media gives its bytes",
                   STR(r->out->path), other);
    return OK;
}

static void describe(struct reading *r, struct str text, int64_t at) {
    struct read_text_result *out = r->out;
    int64_t lines = text_lines(text), end = at + (int64_t)text.n;
    out->content = text;
    out->offset = at;
    if (out->first_line && lines)
        out->last_line = out->first_line + lines - 1;
    else
        out->first_line = 0;
    if (end < r->st.st_size)
        out->next_offset = end;
    else if (out->first_line)
        out->total_lines = out->last_line;
}

static err_t read_range(struct reading *r, const struct read_text_args *a) {
    int64_t at, lines;
    TRY(check_range(a));
    TRY(find_range(r, a, &at, &lines));
    size_t most = r->most + 4; /* one character more, so that a cut is seen */
    if (a->length && a->length < (int64_t)most)
        most = (size_t)a->length;
    TRY(text_read(r->fd, "path", at, most, &r->text));
    struct str text = cut(r, lines);
    if (a->offset || a->length) {
        struct str whole = text_from_character(text);
        at += (int64_t)(text.n - whole.n);
        bool more = at + (int64_t)whole.n < r->st.st_size;
        text = more && whole.n ? text_head(str_from(whole.p, whole.n), whole.n - 1) : whole;
        text = more && json_is_utf8(whole) ? whole : text;
    }
    TRY(check_text(r, text));
    describe(r, text, at);
    return OK;
}

static err_t read_text_now(struct call_ctx *c, struct fs *fs, const void *given,
                           struct tool_result *result, const bool *cancelled) {
    const struct read_text_args *args = given;
    struct read_text_result out = { 0 };
    struct fs_place place;
    SCOPED(reading_done)
    struct reading r = {
        .fd = -1, .most = (size_t)fs->options->max_read, .cancelled = cancelled, .out = &out
    };
    TRY(fs_locate(fs, c->arena, "path", args->path, &place));
    TRY(beneath_file(fs, "path", &place, &r.fd, &r.st));
    out.path = fs_shown(c->arena, &place);
    out.size = r.st.st_size;
    out.modified = fs_time(c->arena, r.st.st_mtim);
    TRY(read_range(&r, args));
    buf_str(&result->text, out.content);
    FS_ANSWER(read_text_result, &out, result);
    return OK;
}
static FS_TOOL(read_text)
/* ---- read_media -------------------------------------------------------------------- */

#define T struct read_media_args
    struct read_media_args {
    struct str path;
};
static const struct field read_media_args[] = {
    FIELD(T, path, STR, NULL, "1..4000", FIELD_REQUIRED, PATH_HELP),
};
#undef T

#define T struct read_media_result
struct read_media_result {
    struct str path, mime_type, modified;
    int64_t size;
};
static const struct field read_media_result[] = {
    FIELD(T, path, STR, NULL, NULL, FIELD_REQUIRED, "The file."),
    FIELD(T, mime_type, STR, NULL, NULL, FIELD_REQUIRED, "What it is, by its first bytes and its name."),
    FIELD(T, size, INT, NULL, NULL, FIELD_REQUIRED, "Its bytes."),
    FIELD(T, modified, STR, NULL, NULL, FIELD_REQUIRED, "Last change, RFC 3339."),
};
#undef T

static void put_base64(struct buf *out, struct str bytes) {
    buf_char(out, '"');
    base64_put(out, bytes.p, bytes.n);
    buf_char(out, '"');
}

/* An image or sound as such; anything else as an embedded resource. */
static void put_media(struct buf *out, const struct fs_place *place, struct str mime,
                      struct str bytes) {
    bool image = str_starts(mime, S("image/")) && !str_eq(mime, S("image/svg+xml"));
    bool audio = str_starts(mime, S("audio/"));
    SCOPED(buf_done) struct buf uri = { 0 };
    struct jw w = jw_init(out);
    path_put_uri(&uri, place->root->name, place->rest);
    jw_object(&w);
    jw_put_string(&w, "type", image ? S("image") : audio ? S("audio") : S("resource"));
    if (!image && !audio) {
        jw_key(&w, S("resource"));
        jw_object(&w);
        jw_put_string(&w, "uri", buf_view(&uri));
    }
    jw_put_string(&w, "mimeType", mime);
    jw_key(&w, image || audio ? S("data") : S("blob"));
    put_base64(out, bytes);
    w.comma = true;
    if (!image && !audio)
        jw_object_end(&w);
    jw_object_end(&w);
}

static err_t read_media_now(struct call_ctx *c, struct fs *fs, const void *given,
                            struct tool_result *result, const bool *cancelled) {
    const struct read_media_args *args = given;
    struct fs_place place;
    struct stat st;
    SCOPED(fd_scope) int fd = -1;
    SCOPED(buf_done) struct buf bytes = { 0 };
    TRY(fs_locate(fs, c->arena, "path", args->path, &place));
    TRY(beneath_file(fs, "path", &place, &fd, &st));
    TRY(text_load(fd, "path", &st, fs->options->max_media, &bytes));
    struct read_media_result out = {
        .path = fs_shown(c->arena, &place), .size = (int64_t)bytes.n, .modified = fs_time(c->arena, st.st_mtim),
        .mime_type = path_sniff(buf_view(&bytes), path_mime(path_leaf(place.rest))),
    };
    put_media(&result->content, &place, out.mime_type, buf_view(&bytes));
    FS_ANSWER(read_media_result, &out, result);
    return OK;
}
static FS_TOOL(read_media)
/* ---- read_many --------------------------------------------------------------------- */

#define T struct read_many_args
    struct read_many_args {
    struct str_list paths;
};
static const struct field read_many_args[] = {
    FIELD(T, paths, STRS, NULL, "1..100", FIELD_REQUIRED, "The files. " PATH_HELP),
};
#undef T

#define T struct many_file
struct many_file {
    struct str path, content, error;
    int64_t size;
    bool truncated;
};
static const struct field many_file_rows[] = {
    FIELD(T, path, STR, NULL, NULL, FIELD_REQUIRED, "The file as it was asked for."),
    FIELD(T, content, STR, NULL, NULL, FIELD_REQUIRED, "Its text; empty when there is an error."),
    FIELD(T, size, INT, NULL, NULL, FIELD_REQUIRED, "Bytes of the whole file."),
    FIELD(T, truncated, BOOL, NULL, NULL, FIELD_REQUIRED, "Whether content is only its beginning."),
    FIELD(T, error, STR, NULL, "1..", 0, "Why it could not be read."),
};
#undef T

#define T struct read_many_result
struct read_many_result {
    struct item_list files;
    int64_t failed;
};
static const struct field read_many_result[] = {
    FIELD_NEST(T, files, LIST, many_file_rows, struct many_file, FIELD_REQUIRED, "In the order asked for."),
    FIELD(T, failed, INT, NULL, NULL, FIELD_REQUIRED, "How many could not be read."),
};
#undef T

/* *left is what the answer still holds. */
static err_t read_one(struct call_ctx *c, struct fs *fs, struct many_file *f, size_t *left) {
    struct fs_place place;
    struct stat st;
    SCOPED(fd_scope) int fd = -1;
    SCOPED(buf_done) struct buf text = { 0 };
    TRY(fs_locate(fs, c->arena, "path", f->path, &place));
    TRY(beneath_file(fs, "path", &place, &fd, &st));
    f->size = st.st_size;
    TRY(text_read(fd, "path", 0, *left + 4, &text));
    struct str all = buf_view(&text);
    f->truncated = all.n > *left;
    struct str part = f->truncated ? text_head(all, *left) : all;
    const char *other = text_is_not(part);
    if (other)
        return ERR(INVALID, "path: is not UTF-8 text, it looks like %s", other);
    f->content = arena_dup(c->arena, part);
    *left -= part.n;
    return OK;
}

static void put_file(struct buf *out, const struct many_file *f) {
    buf_fmt(out, "%s--- %.*s%s\n", out->n ? "\n" : "", STR(f->path), f->truncated ? " (cut)" : "");
    buf_str(out, f->error.n ? f->error : f->content);
    if (out->p[out->n - 1] != '\n')
        buf_char(out, '\n');
}

static err_t read_many_now(struct call_ctx *c, struct fs *fs, const void *given,
                           struct tool_result *result, const bool *cancelled) {
    const struct read_many_args *args = given;
    struct many_file *files = ARENA_ARRAY(c->arena, struct many_file, args->paths.n);
    struct read_many_result out = { .files = { files, args->paths.n } };
    size_t left = (size_t)fs->options->max_read;
    for (size_t i = 0; i < args->paths.n; i++) {
        if (work_cancelled(cancelled))
            return ERR(CANCELLED, "paths: reading was cancelled");
        files[i].path = args->paths.items[i];
        err_t e = read_one(c, fs, &files[i], &left);
        if (e)
            files[i].error = arena_dup(c->arena, str_of(e->text));
        out.failed += e != OK;
        put_file(&result->text, &files[i]);
    }
    FS_ANSWER(read_many_result, &out, result);
    return OK;
}
static FS_TOOL(read_many)

    /* ---- rows -------------------------------------------------------------------------- */

static const struct tool tools[] = {
    TOOL("read_text", "Read a text file", read_text_args, struct read_text_args, read_text_result, read_text_tool,
         TOOL_READ_ONLY | TOOL_IDEMPOTENT,
         "Reads a UTF-8 text file: all of it, some lines (first_line, last_line), its beginning (head) or "
         "end (tail), or bytes (offset, length). Long files come in parts: read on at next_offset."),
    TOOL("read_media", "Read an image, sound or other binary file", read_media_args, struct read_media_args,
         read_media_result, read_media_tool, TOOL_READ_ONLY | TOOL_IDEMPOTENT,
         "Reads a whole file as base64 with its MIME type: pictures and sounds as such, anything else as a "
         "blob. For whatever read_text says is no text."),
    TOOL("read_many", "Read several text files", read_many_args, struct read_many_args, read_many_result, read_many_tool,
         TOOL_READ_ONLY | TOOL_IDEMPOTENT,
         "Reads several UTF-8 text files in one call. One that cannot be read has its error and does not "
         "disturb the others; what does not fit the answer is cut."),
};
const struct tool_table fs_read_table = { tools, ARRAY_SIZE(tools) };
