/* diff.c - see diff.h. */
#include "servers/filesystem/diff.h"
#include "base/mem.h"

enum { AROUND = 3, MOST_EDITS = 1000 };

struct lines {
    struct str *items; /* each with its end */
    size_t n;
};

static struct lines split(struct str s) {
    struct lines l = { 0 };
    size_t room = 1;
    for (size_t i = 0; i < s.n; i++)
        room += s.p[i] == '\n';
    l.items = NEW_ARRAY(struct str, room);
    while (s.n) {
        const char *end = memchr(s.p, '\n', s.n);
        size_t n = end ? (size_t)(end + 1 - s.p) : s.n;
        l.items[l.n++] = str_head(s, n);
        s = str_skip(s, n);
    }
    return l;
}

/* Which lines of the old text go, and which of the new one come. */
struct diff {
    struct lines a, b;
    size_t top, a_end, b_end; /* equal before, equal behind */
    bool *a_gone, *b_new;
};

/* Goes back from the end through the furthest points of each number of edits. */
static void trace(struct diff *d, int32_t *const *v, int edits, int64_t n, int64_t m) {
    int64_t x = n, y = m;
    for (int e = edits; e > 0; e--) {
        const int32_t *last = v[e - 1] + e;
        int64_t k = x - y;
        bool down = k == -e || (k != e && last[k - 1] < last[k + 1]);
        int64_t from_k = down ? k + 1 : k - 1;
        int64_t from_x = last[from_k], from_y = from_x - from_k;
        if (down)
            d->b_new[d->top + (size_t)from_y] = true;
        else
            d->a_gone[d->top + (size_t)from_x] = true;
        x = from_x;
        y = from_y;
    }
}

static int64_t snake(const struct diff *d, int64_t x, int64_t k, int64_t n, int64_t m) {
    while (x < n && x - k < m &&
           str_eq(d->a.items[d->top + (size_t)x], d->b.items[d->top + (size_t)(x - k)]))
        x++;
    return x;
}

/* One round for each number of edits; true when the end is reached. v[e] has room for diagonals
 * -e-1 … e+1, its middle at e+1. */
static bool round_of(const struct diff *d, int32_t **v, int e, int64_t n, int64_t m) {
    v[e] = NEW_ARRAY(int32_t, (size_t)(2 * e + 3));
    int32_t *now = v[e] + e + 1;
    const int32_t *last = e ? v[e - 1] + e : NULL;
    for (int64_t k = -e; k <= e; k += 2) {
        bool down = e && (k == -e || (k != e && last[k - 1] < last[k + 1]));
        int64_t x = !e ? 0 : down ? last[k + 1] : last[k - 1] + 1;
        bool outside = x > n || x - k > m || x - k < 0;
        now[k] = (int32_t)(outside ? x : snake(d, x, k, n, m));
        if (!outside && now[k] >= n && now[k] - k >= m)
            return true;
    }
    return false;
}

static void compare(struct diff *d) {
    int64_t n = (int64_t)(d->a_end - d->top), m = (int64_t)(d->b_end - d->top);
    SCOPED(mem_scope) int32_t **v = NEW_ARRAY(int32_t *, MOST_EDITS + 1);
    int e = 0;
    while (e <= MOST_EDITS && !round_of(d, v, e, n, m))
        e++;
    if (e <= MOST_EDITS)
        trace(d, v, e, n, m);
    for (int i = 0; i <= MOST_EDITS && v[i]; i++)
        free(v[i]);
    if (e <= MOST_EDITS)
        return;
    for (size_t i = d->top; i < d->a_end; i++)
        d->a_gone[i] = true;
    for (size_t i = d->top; i < d->b_end; i++)
        d->b_new[i] = true;
}

static void set_equal_aside(struct diff *d) {
    d->a_end = d->a.n;
    d->b_end = d->b.n;
    while (d->top < d->a_end && d->top < d->b_end && str_eq(d->a.items[d->top], d->b.items[d->top]))
        d->top++;
    while (d->a_end > d->top && d->b_end > d->top &&
           str_eq(d->a.items[d->a_end - 1], d->b.items[d->b_end - 1])) {
        d->a_end--;
        d->b_end--;
    }
}

/* ---- hunks ------------------------------------------------------------------------- */

static void put_line(struct buf *out, char mark, struct str line) {
    buf_char(out, mark);
    buf_str(out, line);
    if (!str_ends(line, S("\n")))
        buf_str(out, S("\n\\ No newline at end of file\n"));
}

/* GNU diff: the line before an empty range, and no ",1". */
static void put_range(struct buf *out, size_t from, size_t n) {
    buf_fmt(out, "%zu", n ? from + 1 : from);
    if (n != 1)
        buf_fmt(out, ",%zu", n);
}

struct hunk {
    size_t a, b, a_end, b_end;
};

static bool is_changed(const struct diff *d, size_t a, size_t b) {
    return (a < d->a.n && d->a_gone[a]) || (b < d->b.n && d->b_new[b]);
}

static void step(const struct diff *d, size_t *a, size_t *b) {
    bool gone = *a < d->a.n && d->a_gone[*a], added = *b < d->b.n && d->b_new[*b];
    *a += gone || !added;
    *b += !gone;
}

/* From a change on, over changes with at most twice the context between them. */
static struct hunk hunk_at(const struct diff *d, size_t a, size_t b) {
    size_t before = a < AROUND ? a : AROUND, quiet = 0;
    struct hunk h = { a - before, b - before, a, b };
    while (a < d->a.n || b < d->b.n) {
        bool changed = is_changed(d, a, b);
        if (!changed && quiet == 2 * AROUND)
            break;
        step(d, &a, &b);
        quiet = changed ? 0 : quiet + 1;
        if (changed) {
            h.a_end = a;
            h.b_end = b;
        }
    }
    size_t behind = d->a.n - h.a_end < AROUND ? d->a.n - h.a_end : AROUND;
    h.a_end += behind;
    h.b_end += behind;
    return h;
}

static void put_hunk(struct buf *out, const struct diff *d, struct hunk h, struct diff_counts *n) {
    buf_str(out, S("@@ -"));
    put_range(out, h.a, h.a_end - h.a);
    buf_str(out, S(" +"));
    put_range(out, h.b, h.b_end - h.b);
    buf_str(out, S(" @@\n"));
    for (size_t a = h.a, b = h.b; a < h.a_end || b < h.b_end;) {
        if (a < h.a_end && d->a_gone[a]) {
            put_line(out, '-', d->a.items[a++]);
            n->removed++;
        } else if (b < h.b_end && d->b_new[b]) {
            put_line(out, '+', d->b.items[b++]);
            n->added++;
        } else {
            put_line(out, ' ', d->a.items[a++]);
            b++;
        }
    }
}

static struct diff_counts put_hunks(struct buf *out, const struct diff *d, struct str name) {
    struct diff_counts n = { 0 };
    size_t a = 0, b = 0;
    while (a < d->a.n || b < d->b.n) {
        if (!is_changed(d, a, b)) {
            step(d, &a, &b);
            continue;
        }
        if (!n.added && !n.removed)
            buf_fmt(out, "--- a/%.*s\n+++ b/%.*s\n", STR(name), STR(name));
        struct hunk h = hunk_at(d, a, b);
        put_hunk(out, d, h, &n);
        a = h.a_end;
        b = h.b_end;
    }
    return n;
}

struct diff_counts diff_unified(struct buf *out, struct str name, struct str before,
                                struct str after) {
    struct diff d = { .a = split(before), .b = split(after) };
    d.a_gone = NEW_ARRAY(bool, d.a.n + 1);
    d.b_new = NEW_ARRAY(bool, d.b.n + 1);
    set_equal_aside(&d);
    compare(&d);
    struct diff_counts n = put_hunks(out, &d, name);
    free(d.a.items);
    free(d.b.items);
    free(d.a_gone);
    free(d.b_new);
    return n;
}
