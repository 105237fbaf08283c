/* paths_fuzz.c - what a model may write for a path, a URI and a glob: a clean path has no "..",
 * URIs come back as they went, and a glob that compiles is matched within its limits. */
#include "servers/filesystem/path.h"
#include "servers/filesystem/pattern.h"
#include <assert.h>

static void check_clean(struct str clean) {
    assert(clean.n == 0 || (clean.p[0] != '/' && clean.p[clean.n - 1] != '/'));
    for (struct str rest = clean.n ? clean : (struct str){ 0 }; rest.p;) {
        struct str part = str_cut(&rest, '/');
        assert(part.n && part.n <= PATH_NAME && !str_eq(part, S("..")) && !str_eq(part, S(".")));
        assert(!memchr(part.p, '\0', part.n) && !path_is_temp(part));
    }
}

static void check_uri(struct arena *a, struct str clean) {
    struct buf uri = { 0 };
    struct str back;
    path_put_uri(&uri, S("root"), clean);
    assert(path_from_uri(a, buf_view(&uri), &back));
    assert(str_starts(back, S("root/")) && str_eq(str_skip(back, 5), clean));
    buf_done(&uri);
}

static void check_path(struct arena *a, struct str text) {
    struct str clean, again, plain;
    if (!path_clean(a, text, true, &clean)) {
        check_clean(clean);
        check_uri(a, clean);
        assert(!path_clean(a, clean, true, &again) && str_eq(again, clean));
    }
    if (path_from_uri(a, text, &plain) && !path_clean(a, plain, false, &clean))
        check_clean(clean);
    path_mime(text);
    path_sniff(text, S(""));
}

static void check_pattern(enum pattern_kind kind, struct str pattern, struct str subject) {
    struct pattern *p;
    bool found;
    size_t start, end;
    if (pattern_new("pattern", kind, pattern, false, &p))
        return;
    pattern_matches_path(p, subject);
    if (!pattern_find(p, subject, 0, subject.n, &found, &start, &end) && found)
        assert(start <= end && end <= subject.n);
    pattern_free(p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct arena a;
    struct str rest = str_from((const char *)data, size < 4096 ? size : 4096);
    arena_init(&a, NULL, 0);
    check_path(&a, rest);
    struct str pattern = str_cut(&rest, '\n');
    for (enum pattern_kind kind = PATTERN_TEXT; rest.p && kind <= PATTERN_GLOB; kind++)
        check_pattern(kind, pattern, rest);
    arena_done(&a);
    return 0;
}
