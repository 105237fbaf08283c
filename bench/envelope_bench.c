/* envelope_bench.c - ns and MB/s of each engine of mcp/envelope.h.
 *
 * usage: bench-envelope            all engines, sizes and shapes of text
 *        bench-envelope ERA N      the small call of ERA (legacy, modern) and its answer N
 *                                  times, for callgrind: (those of 2000 - of 1000) / 1000
 *
 * Each figure is the best of seven rounds of about 20 ms of CPU time: noise only adds. */

#include "mcp/envelope.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* What bench/driver sends and bench/upstream answers in either era. */
#define CALL "{\"jsonrpc\":\"2.0\",\"id\":1000017,\"method\":\"tools/call\",\"params\":{"
#define META "io.modelcontextprotocol/"
#define NAME_AND_TEXT                                                                          \
    "\"name\":\"echo\",\"arguments\":{\"text\":\"1000017xxxxxxxxxxxxxxxxxxxxxxxxx\"}}}"
static const char legacy_call[] = CALL NAME_AND_TEXT;
static const char modern_call[] = CALL
    "\"_meta\":{\"" META "protocolVersion\":\"2026-07-28\",\"" META "clientInfo\":{\"name\":"
    "\"bench\",\"version\":\"1.0.0\"},\"" META "clientCapabilities\":{}}," NAME_AND_TEXT;
static const char small_answer[] =
    "{\"jsonrpc\":\"2.0\",\"id\":1000017,\"result\":{\"content\":[{\"type\":\"text\",\"text\":"
    "\"1000017xxxxxxxxxxxxxxxxxxxxxxxxx\"}]}}";

static const struct envelope_limits limits;

struct text {
    char *p;
    size_t n, cap;
};

static void put(struct text *t, const char *s) {
    size_t n = strlen(s);
    if (t->n + n > t->cap) {
        t->cap = 2 * (t->cap + n);
        t->p = realloc(t->p, t->cap);
        if (!t->p)
            abort();
    }
    memcpy(t->p + t->n, s, n);
    t->n += n;
}

/* ---- shapes: about `size` bytes of a call whose arguments are … -------------------- */

static void put_escapes(struct text *t, size_t size) {
    put(t, "\"");
    while (t->n < size)
        put(t, "a \\\"word\\\" and a line of text that goes on, ");
    put(t, "\"");
}

static void put_objects(struct text *t, size_t size) {
    char row[80];
    put(t, "[");
    for (unsigned i = 0; t->n < size || i == 0; i++) {
        snprintf(row, sizeof row, "%s{\"id\":%u,\"name\":\"item %u\",\"on\":true,\"w\":%u.5}",
                 i ? "," : "", i, i, i % 97);
        put(t, row);
    }
    put(t, "]");
}

static void put_chinese(struct text *t, size_t size) {
    put(t, "\"");
    while (t->n < size)
        put(t, "三分之二是中文 the rest is not. ");
    put(t, "\"");
}

static const struct shape {
    const char *name;
    void (*put)(struct text *t, size_t size);
} shapes[] = {
    { "ASCII with escapes", put_escapes },
    { "small objects", put_objects },
    { "2/3 Chinese", put_chinese },
};

static struct text message(const struct shape *s, size_t size) {
    struct text t = { 0 };
    put(&t,
        "{\"jsonrpc\":\"2.0\",\"id\":17,\"method\":\"tools/call\",\"params\":{\"name\":\"echo\","
        "\"arguments\":{\"text\":");
    s->put(&t, size);
    put(&t, "}}}");
    return t;
}

/* ---- clock ------------------------------------------------------------------------- */

static double now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void must_scan(struct str text) {
    struct envelope e;
    if (envelope_scan(text, limits, &e) != ENVELOPE_NONE)
        abort();
}

static double round_ns(struct str text, unsigned times) {
    double from = now_ns();
    for (unsigned i = 0; i < times; i++)
        must_scan(text);
    return (now_ns() - from) / times;
}

static double best_ns(struct str text) {
    unsigned times = (unsigned)(20e6 / round_ns(text, 10)) + 1;
    double best = round_ns(text, times);
    for (int i = 0; i < 6; i++) {
        double ns = round_ns(text, times);
        best = ns < best ? ns : best;
    }
    return best;
}

static void measure(const char *engine) {
    static const size_t sizes[] = { 300, 1300, 66 << 10, 1 << 20 };
    if (!envelope_use_engine(engine)) {
        printf("%-6s not on this processor\n", engine);
        return;
    }
    for (size_t i = 0; i < ARRAY_SIZE(shapes); i++) {
        for (size_t k = 0; k < ARRAY_SIZE(sizes); k++) {
            struct text t = message(&shapes[i], sizes[k]);
            double ns = best_ns(str_from(t.p, t.n));
            printf("%-6s %-20s %8zu B %10.0f ns %7.0f MB/s\n", engine, shapes[i].name, t.n, ns,
                   (double)t.n * 1e3 / ns);
            free(t.p);
        }
    }
}

static void count(const char *era, unsigned times) {
    struct str call = *era == 'l' ? S(legacy_call) : S(modern_call);
    struct envelope e;
    for (unsigned i = 0; i < times; i++) {
        must_scan(call);
        if (envelope_scan_answer(S(small_answer), S("1000017"), 16 << 10, limits, &e) !=
            ENVELOPE_NONE)
            abort();
    }
}

int main(int argc, char **argv) {
    if (argc == 3) {
        count(argv[1], (unsigned)atoi(argv[2]));
        return 0;
    }
    measure("avx2");
    measure("sse2");
    measure("plain");
    return 0;
}
