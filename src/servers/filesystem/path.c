/* path.c - see path.h. */
#include "servers/filesystem/path.h"
#include <stdio.h>

/* ---- components -------------------------------------------------------------------- */

static err_t check_component(struct str part, bool hidden) {
    if (str_eq(part, S("..")))
        return ERR(INVALID, "\"..\" is not taken: write the path from its root, without it");
    if (part.n > PATH_NAME)
        return ERR(INVALID, "the name \"%.*s...\" has %zu bytes, a name has at most %d",
                   STR(str_head(part, 20)), part.n, PATH_NAME);
    if (path_is_temp(part))
        return ERR(NOT_FOUND, "%.*s is a temporary file of this server", STR(part));
    if (!hidden && part.p[0] == '.')
        return ERR(NOT_FOUND, "hidden files are off (option hidden_files)");
    return OK;
}

err_t path_clean(struct arena *a, struct str text, bool hidden, struct str *out) {
    char *made = arena_alloc(a, text.n + 1);
    size_t n = 0, parts = 0;
    if (text.n > PATH_LENGTH)
        return ERR(INVALID, "has %zu bytes, a path has at most %d", text.n, PATH_LENGTH);
    if (text.n && memchr(text.p, '\0', text.n))
        return ERR(INVALID, "has a NUL byte in it");
    while (text.p) {
        struct str part = str_cut(&text, '/');
        if (part.n == 0 || str_eq(part, S(".")))
            continue;
        TRY(check_component(part, hidden));
        if (++parts > PATH_COMPONENTS)
            return ERR(INVALID, "has more than %d parts", PATH_COMPONENTS);
        if (n)
            made[n++] = '/';
        memcpy(made + n, part.p, part.n);
        n += part.n;
    }
    made[n] = '\0';
    *out = str_from(made, n);
    return OK;
}

static struct str without_slashes(struct str s) {
    while (s.n && s.p[0] == '/')
        s = str_skip(s, 1);
    return s;
}

bool path_below(struct str path, struct str top, struct str *rest) {
    while (top.n && top.p[top.n - 1] == '/')
        top.n--;
    if (!str_starts(path, top) || (path.n > top.n && path.p[top.n] != '/'))
        return false;
    *rest = without_slashes(str_skip(path, top.n));
    return true;
}

static size_t leaf_at(struct str clean) {
    size_t at = clean.n;
    while (at && clean.p[at - 1] != '/')
        at--;
    return at;
}

struct str path_leaf(struct str clean) {
    return str_skip(clean, leaf_at(clean));
}

struct str path_parent(struct str clean) {
    size_t at = leaf_at(clean);
    return str_head(clean, at ? at - 1 : 0);
}

/* ---- URIs -------------------------------------------------------------------------- */

static bool is_plain(unsigned char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.' || c == '_' || c == '~' || c == '/';
}

static void put_escaped(struct buf *out, struct str s) {
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (is_plain(c))
            buf_char(out, (char)c);
        else
            buf_fmt(out, "%%%02X", c);
    }
}

void path_put_uri(struct buf *out, struct str root, struct str rest) {
    buf_str(out, S("file:///"));
    put_escaped(out, root);
    buf_char(out, '/');
    put_escaped(out, rest);
}

static int digit(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool unescape(struct str s, char *out, size_t *n) {
    *n = 0;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] != '%') {
            out[(*n)++] = s.p[i];
            continue;
        }
        if (i + 2 >= s.n || digit(s.p[i + 1]) < 0 || digit(s.p[i + 2]) < 0)
            return false;
        char c = (char)(digit(s.p[i + 1]) * 16 + digit(s.p[i + 2]));
        if (c == '/' || c == '\0') /* %2F is no separator, and no name has one */
            return false;
        out[(*n)++] = c;
        i += 2;
    }
    return true;
}

bool path_from_uri(struct arena *a, struct str uri, struct str *out) {
    if (!str_starts(uri, S("file:///")))
        return false;
    uri = str_skip(uri, 8);
    if (memchr(uri.p, '?', uri.n) || memchr(uri.p, '#', uri.n))
        return false;
    char *made = arena_alloc(a, uri.n + 1);
    size_t n;
    if (!unescape(uri, made, &n))
        return false;
    made[n] = '\0';
    *out = str_from(made, n);
    return true;
}

/* ---- temporary names --------------------------------------------------------------- */

void path_temp_name(uint64_t number, char out[PATH_TEMP]) {
    snprintf(out, PATH_TEMP, ".gatespan-%016llx.tmp", (unsigned long long)number);
}

bool path_is_temp(struct str name) {
    if (name.n != PATH_TEMP - 1 || !str_starts(name, S(".gatespan-")) || !str_ends(name, S(".tmp")))
        return false;
    for (size_t i = 10; i < 26; i++)
        if (digit(name.p[i]) < 0 || (name.p[i] >= 'A' && name.p[i] <= 'F'))
            return false;
    return true;
}

/* ---- types ------------------------------------------------------------------------- */

static const struct {
    const char *ending, *mime;
} endings[] = {
    { "txt", "text/plain" },
    { "text", "text/plain" },
    { "log", "text/plain" },
    { "md", "text/markdown" },
    { "markdown", "text/markdown" },
    { "rst", "text/x-rst" },
    { "html", "text/html" },
    { "htm", "text/html" },
    { "css", "text/css" },
    { "csv", "text/csv" },
    { "tsv", "text/tab-separated-values" },
    { "xml", "application/xml" },
    { "json", "application/json" },
    { "jsonl", "application/jsonl" },
    { "yaml", "application/yaml" },
    { "yml", "application/yaml" },
    { "toml", "application/toml" },
    { "ini", "text/plain" },
    { "conf", "text/plain" },
    { "env", "text/plain" },
    { "js", "text/javascript" },
    { "mjs", "text/javascript" },
    { "ts", "text/x-typescript" },
    { "jsx", "text/javascript" },
    { "tsx", "text/x-typescript" },
    { "py", "text/x-python" },
    { "c", "text/x-c" },
    { "h", "text/x-c" },
    { "cc", "text/x-c++" },
    { "cpp", "text/x-c++" },
    { "hpp", "text/x-c++" },
    { "rs", "text/x-rust" },
    { "go", "text/x-go" },
    { "java", "text/x-java" },
    { "rb", "text/x-ruby" },
    { "php", "text/x-php" },
    { "sh", "application/x-sh" },
    { "sql", "application/sql" },
    { "diff", "text/x-diff" },
    { "patch", "text/x-diff" },
    { "svg", "image/svg+xml" },
    { "png", "image/png" },
    { "jpg", "image/jpeg" },
    { "jpeg", "image/jpeg" },
    { "gif", "image/gif" },
    { "webp", "image/webp" },
    { "bmp", "image/bmp" },
    { "ico", "image/vnd.microsoft.icon" },
    { "tif", "image/tiff" },
    { "tiff", "image/tiff" },
    { "avif", "image/avif" },
    { "mp3", "audio/mpeg" },
    { "wav", "audio/wav" },
    { "ogg", "audio/ogg" },
    { "flac", "audio/flac" },
    { "m4a", "audio/mp4" },
    { "mp4", "video/mp4" },
    { "webm", "video/webm" },
    { "pdf", "application/pdf" },
    { "zip", "application/zip" },
    { "gz", "application/gzip" },
    { "tar", "application/x-tar" },
    { "doc", "application/msword" },
    { "wasm", "application/wasm" },
    { "docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document" },
    { "xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet" },
    { "pptx", "application/vnd.openxmlformats-officedocument.presentationml.presentation" },
};

struct str path_mime(struct str name) {
    size_t dot = name.n;
    while (dot && name.p[dot - 1] != '.')
        dot--;
    for (size_t i = 0; dot && i < ARRAY_SIZE(endings); i++)
        if (str_eq_nocase(str_skip(name, dot), str_of(endings[i].ending)))
            return str_of(endings[i].mime);
    return S("application/octet-stream");
}

static const struct {
    struct str head;
    const char *mime;
} magics[] = {
    { S_INIT("\x89PNG\r\n\x1a\n"), "image/png" },
    { S_INIT("\xff\xd8\xff"), "image/jpeg" },
    { S_INIT("GIF87a"), "image/gif" },
    { S_INIT("GIF89a"), "image/gif" },
    { S_INIT("%PDF-"), "application/pdf" },
    { S_INIT("ID3"), "audio/mpeg" },
    { S_INIT("fLaC"), "audio/flac" },
    { S_INIT("OggS"), "audio/ogg" },
};

struct str path_sniff(struct str head, struct str by_name) {
    for (size_t i = 0; i < ARRAY_SIZE(magics); i++)
        if (str_starts(head, magics[i].head))
            return str_of(magics[i].mime);
    bool riff = head.n >= 12 && str_starts(head, S("RIFF"));
    if (riff && memcmp(head.p + 8, "WEBP", 4) == 0)
        return S("image/webp");
    if (riff && memcmp(head.p + 8, "WAVE", 4) == 0)
        return S("audio/wav");
    return by_name;
}
