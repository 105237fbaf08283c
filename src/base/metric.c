/* metric.c - see metric.h.
 *
 * A series is a run of 64-bit cells with the same numbers in every shard: one cell for a
 * counter or gauge; for a histogram the sum (a double's bits) and then one cell per bucket,
 * not cumulated. The series index is the number of its first cell and, above it, the number
 * of its set of bounds, so that adding needs no look-up at all. Cells live in chunks that
 * double in size and never move: a reader may walk them while their thread adds another. */
#include "base/metric.h"
#include "base/map.h"
#include "base/mem.h"
#include <assert.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>

/* ---- cells ----------------------------------------------------------------------- */

#define CELL_BITS 26
#define CHUNK_FIRST_BITS 9
#define CHUNK_FIRST ((uint32_t)1 << CHUNK_FIRST_BITS)
#define CHUNKS (CELL_BITS - CHUNK_FIRST_BITS)
#define BOUND_SETS (1 << (32 - CELL_BITS))

struct shard {
    int64_t *chunks[CHUNKS]; /* chunk k has CHUNK_FIRST << k cells; NULL: nothing added yet */
    struct shard *next, *next_idle;
};

struct bound_set {
    const double *bounds;
    size_t n;
};

/* Latency in seconds: the buckets that OpenTelemetry's MCP conventions advise, and finer
 * ones before them, since a call through here may take less than the first of those. */
static const double latency_bounds[] = { 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2,
                                         0.5,    1,     2,     5,     10,   30,   60,   120, 300 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* everything below but own_shard */
static struct shard *shards;                             /* all, forever */
static struct shard *idle_shards;                        /* whose thread ended: for the next one */
static uint32_t next_cell = 1;
static struct bound_set bound_sets[BOUND_SETS]; /* set 0 is "no histogram" */
static size_t bound_set_count = 1;

static _Thread_local struct shard *own_shard;
static pthread_key_t shard_key;
static pthread_once_t shard_once = PTHREAD_ONCE_INIT;

static inline uint32_t cell_of(metric_series s) {
    return s & (((uint32_t)1 << CELL_BITS) - 1);
}

static inline const struct bound_set *bounds_of(metric_series s) {
    return &bound_sets[s >> CELL_BITS];
}

static inline unsigned chunk_of(uint32_t cell) {
    return 31 - (unsigned)__builtin_clz((cell >> CHUNK_FIRST_BITS) + 1);
}

static inline uint32_t chunk_start(unsigned chunk) {
    return (CHUNK_FIRST << chunk) - CHUNK_FIRST;
}

/* Two threads of which one began after the other ended may share a shard: what the first one
 * counted stays, and short-lived threads do not pile up shards. */
static void shard_leave(void *p) {
    struct shard *shard = p;
    pthread_mutex_lock(&lock);
    shard->next_idle = idle_shards;
    idle_shards = shard;
    pthread_mutex_unlock(&lock);
    own_shard = NULL;
}

static void shard_key_make(void) {
    if (pthread_key_create(&shard_key, shard_leave) != 0)
        abort();
}

static struct shard *shard_enter(void) {
    pthread_once(&shard_once, shard_key_make);
    pthread_mutex_lock(&lock);
    struct shard *shard = idle_shards;
    if (shard) {
        idle_shards = shard->next_idle;
    } else {
        shard = NEW(struct shard);
        shard->next = shards;
        shards = shard;
    }
    pthread_mutex_unlock(&lock);
    pthread_setspecific(shard_key, shard);
    return own_shard = shard;
}

static __attribute__((noinline)) int64_t *chunk_make(unsigned chunk) {
    struct shard *shard = own_shard ? own_shard : shard_enter();
    int64_t *cells = shard->chunks[chunk]; /* a shard taken over may have it */
    if (!cells) {
        cells = NEW_ARRAY(int64_t, (size_t)CHUNK_FIRST << chunk);
        __atomic_store_n(&shard->chunks[chunk], cells, __ATOMIC_RELEASE);
    }
    return cells;
}

/* The thread's own cells of a series. */
static inline int64_t *own_cells(metric_series s) {
    uint32_t cell = cell_of(s);
    unsigned chunk = chunk_of(cell);
    int64_t *cells = own_shard ? own_shard->chunks[chunk] : NULL;
    if (__builtin_expect(!cells, 0))
        cells = chunk_make(chunk);
    return cells + (cell - chunk_start(chunk));
}

/* Only the owner writes, so reading back needs no atomic; readers see whole values. */
static inline void cell_store(int64_t *cell, int64_t value) {
    __atomic_store_n(cell, value, __ATOMIC_RELAXED);
}

static inline double double_of(int64_t bits) {
    double d;
    memcpy(&d, &bits, sizeof d);
    return d;
}

static inline int64_t bits_of(double d) {
    int64_t bits;
    memcpy(&bits, &d, sizeof bits);
    return bits;
}

/* ---- adding ---------------------------------------------------------------------- */

void metric_add(metric_series s, int64_t n) {
    if (s == 0)
        return;
    assert(s >> CELL_BITS == 0);
    int64_t *cell = own_cells(s);
    cell_store(cell, (int64_t)((uint64_t)*cell + (uint64_t)n));
}

void metric_set(metric_series s, int64_t value) {
    if (s == 0)
        return;
    assert(s >> CELL_BITS == 0);
    cell_store(own_cells(s), value);
}

/* From the low end, where nearly all latencies are. */
static inline size_t bucket_of(const struct bound_set *set, double value) {
    size_t i = 0;
    while (i < set->n && value > set->bounds[i])
        i++;
    return i;
}

void metric_observe_value(metric_series s, double value) {
    if (s == 0 || isnan(value))
        return;
    const struct bound_set *set = bounds_of(s);
    assert(set->bounds);
    int64_t *sum = own_cells(s), *bucket = sum + 1 + bucket_of(set, value);
    cell_store(sum, bits_of(double_of(*sum) + value));
    cell_store(bucket, *bucket + 1);
}

void metric_observe(metric_series s, nanos value) {
    metric_observe_value(s, value > 0 ? (double)value / 1e9 : 0);
}

/* ---- series ---------------------------------------------------------------------- */

struct series {
    metric_series id;
    struct series *next;
    struct str values[METRIC_LABELS]; /* into key */
    size_t key_size;
    char key[]; /* per label: length, bytes */
};

struct metric_state {
    struct metric_def *def;
    size_t labels, count;
    struct map by_key; /* -> struct series */
    struct series *first, **last;
    struct series *other;
    struct metric_state *next;
};

#define LABEL_MAX 256 /* bytes of a value that are kept */

static struct metric_state *metrics, **metrics_end = &metrics;
static size_t series_cap = 1000;

static struct bound_set bounds_wanted(const struct metric_def *def) {
    if (def->kind != METRIC_HISTOGRAM)
        return (struct bound_set){ 0 };
    if (def->bounds)
        return (struct bound_set){ def->bounds, def->bound_count };
    return (struct bound_set){ latency_bounds, ARRAY_SIZE(latency_bounds) };
}

static uint32_t bound_set_index(struct bound_set set) {
    for (uint32_t i = 0; i < bound_set_count; i++)
        if (bound_sets[i].bounds == set.bounds && bound_sets[i].n == set.n)
            return i;
    assert(bound_set_count < BOUND_SETS && set.n <= METRIC_BOUNDS);
    bound_sets[bound_set_count] = set;
    return (uint32_t)bound_set_count++;
}

/* A run of cells inside one chunk; 0 when all are in use. */
static metric_series series_cells(const struct metric_def *def) {
    struct bound_set set = bounds_wanted(def);
    uint32_t n = set.bounds ? (uint32_t)set.n + 2 : 1;
    assert(n <= CHUNK_FIRST);
    uint32_t chunk_end = chunk_start(chunk_of(next_cell) + 1);
    uint32_t first = next_cell + n <= chunk_end ? next_cell : chunk_end;
    if (chunk_of(first) >= CHUNKS)
        return 0;
    next_cell = first + n;
    return first | bound_set_index(set) << CELL_BITS;
}

static struct metric_state *state_of(struct metric_def *def) {
    if (def->state)
        return def->state;
    for (struct metric_state *m = metrics; m; m = m->next)
        assert(strcmp(m->def->name, def->name) != 0);
    struct metric_state *m = NEW(struct metric_state);
    m->def = def;
    m->last = &m->first;
    while (m->labels < METRIC_LABELS && def->labels[m->labels])
        m->labels++;
    *metrics_end = m;
    metrics_end = &m->next;
    return def->state = m;
}

static struct str nth_value(const struct str *values, size_t n, size_t i) {
    return i < n ? str_head(values[i], LABEL_MAX) : S("");
}

static size_t make_key(const struct metric_state *m, const struct str *values, size_t n, char *to) {
    char *at = to;
    for (size_t i = 0; i < m->labels; i++) {
        struct str value = nth_value(values, n, i);
        uint16_t length = (uint16_t)value.n;
        at = mempcpy(at, &length, sizeof length);
        if (value.n)
            at = mempcpy(at, value.p, value.n);
    }
    return (size_t)(at - to);
}

static struct series *series_new(struct metric_state *m, struct str key) {
    struct series *s = mem_zero(sizeof *s + key.n);
    s->id = series_cells(m->def);
    s->key_size = key.n;
    memcpy(s->key, key.p, key.n);
    const char *at = s->key;
    for (size_t i = 0; i < m->labels; i++) {
        uint16_t length;
        memcpy(&length, at, sizeof length);
        s->values[i] = str_from(at + sizeof length, length);
        at += sizeof length + length;
    }
    map_put(&m->by_key, str_from(s->key, s->key_size), s);
    *m->last = s;
    m->last = &s->next;
    m->count++;
    return s;
}

static struct series *series_find(struct metric_state *m, const struct str *values, size_t n) {
    char bytes[METRIC_LABELS * (LABEL_MAX + sizeof(uint16_t))];
    struct str key = { bytes, make_key(m, values, n, bytes) };
    struct series *s = map_get(&m->by_key, key);
    if (s)
        return s;
    if (m->labels == 0 || m->count < series_cap)
        return series_new(m, key);
    if (!m->other) {
        struct str all[METRIC_LABELS];
        for (size_t i = 0; i < m->labels; i++)
            all[i] = S("other");
        key.n = make_key(m, all, m->labels, bytes);
        s = map_get(&m->by_key, key);
        m->other = s ? s : series_new(m, key);
    }
    return m->other;
}

metric_series metric_find(struct metric_def *def, const struct str *values, size_t n) {
    pthread_mutex_lock(&lock);
    metric_series id = series_find(state_of(def), values, n)->id;
    pthread_mutex_unlock(&lock);
    return id;
}

void metric_register(struct metric_def *rows, size_t n) {
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < n; i++)
        state_of(&rows[i]);
    pthread_mutex_unlock(&lock);
}

void metric_cap(size_t series_per_metric) {
    pthread_mutex_lock(&lock);
    series_cap = series_per_metric;
    pthread_mutex_unlock(&lock);
}

bool metric_next(size_t *at, const struct metric_def **def) {
    pthread_mutex_lock(&lock);
    struct metric_state *m = metrics;
    for (size_t i = 0; m && i < *at; i++)
        m = m->next;
    pthread_mutex_unlock(&lock);
    if (!m)
        return false;
    ++*at;
    *def = m->def;
    return true;
}

/* ---- reading --------------------------------------------------------------------- */

static const int64_t *shard_cells(const struct shard *shard, metric_series s) {
    unsigned chunk = chunk_of(cell_of(s));
    const int64_t *cells = __atomic_load_n(&shard->chunks[chunk], __ATOMIC_ACQUIRE);
    return cells ? cells + (cell_of(s) - chunk_start(chunk)) : NULL;
}

/* Sum over the shards of the cell `offset` cells into a series; under the lock. */
static int64_t sum_cell(metric_series s, size_t offset) {
    uint64_t sum = 0;
    for (const struct shard *shard = shards; shard; shard = shard->next) {
        const int64_t *cells = shard_cells(shard, s);
        if (cells)
            sum += (uint64_t)__atomic_load_n(cells + offset, __ATOMIC_RELAXED);
    }
    return (int64_t)sum;
}

static double sum_observed(metric_series s) {
    double sum = 0;
    for (const struct shard *shard = shards; shard; shard = shard->next) {
        const int64_t *cells = shard_cells(shard, s);
        if (cells)
            sum += double_of(__atomic_load_n(cells, __ATOMIC_RELAXED));
    }
    return sum;
}

int64_t metric_value(metric_series s) {
    const struct bound_set *set = bounds_of(s);
    int64_t value = 0;
    pthread_mutex_lock(&lock);
    if (set->bounds)
        for (size_t i = 0; i <= set->n; i++)
            value += sum_cell(s, 1 + i);
    else if (s)
        value = sum_cell(s, 0);
    pthread_mutex_unlock(&lock);
    return value;
}

/* ---- everything ------------------------------------------------------------------ */

struct collector {
    metric_collect_fn *fn;
    void *arg;
    struct collector *next;
};
static struct collector *collectors; /* grows at its head only */

struct metric_sink {
    struct metric_reader *reader;
    const struct metric_def *def; /* the row that samples are given of */
    size_t labels, cap, count;
    double other; /* sum of what is beyond the cap */
    bool has_other;
};

void metric_collector(struct metric_def *rows, size_t n, metric_collect_fn *fn, void *arg) {
    struct collector *c = NEW(struct collector);
    metric_register(rows, n);
    for (size_t i = 0; i < n; i++)
        rows[i].computed = true;
    pthread_mutex_lock(&lock);
    *c = (struct collector){ fn, arg, collectors };
    collectors = c;
    pthread_mutex_unlock(&lock);
}

static void read_histogram(const struct series *s, struct metric_point *p,
                           int64_t buckets[METRIC_BOUNDS + 1]) {
    const struct bound_set *set = bounds_of(s->id);
    p->bounds = set->bounds;
    p->bound_count = set->n;
    p->buckets = buckets;
    for (size_t i = 0; i <= set->n; i++)
        p->count += buckets[i] = sum_cell(s->id, 1 + i);
    p->value = sum_observed(s->id);
}

static void read_metric(struct metric_reader *r, const struct metric_state *m) {
    int64_t buckets[METRIC_BOUNDS + 1];
    r->metric(r, m->def);
    for (const struct series *s = m->first; s; s = s->next) {
        struct metric_point p = { .values = s->values };
        if (s->id == 0)
            continue;
        if (m->def->kind == METRIC_HISTOGRAM)
            read_histogram(s, &p, buckets);
        else
            p.value = (double)sum_cell(s->id, 0);
        r->point(r, m->def, &p);
    }
}

static void end_row(struct metric_sink *out) {
    if (!out->has_other)
        return;
    struct str all[METRIC_LABELS];
    for (size_t i = 0; i < METRIC_LABELS; i++)
        all[i] = S("other");
    out->reader->point(out->reader, out->def,
                       &(struct metric_point){ .values = all, .value = out->other });
}

static void begin_row(struct metric_sink *out, const struct metric_def *def) {
    end_row(out);
    *out = (struct metric_sink){ .reader = out->reader, .cap = out->cap, .def = def };
    while (out->labels < METRIC_LABELS && def->labels[out->labels])
        out->labels++;
    out->reader->metric(out->reader, def);
}

void metric_sample(struct metric_sink *out, const struct metric_def *def, const struct str *values,
                   double value) {
    struct str cut[METRIC_LABELS] = { { 0 } };
    assert(def->kind != METRIC_HISTOGRAM);
    if (out->def != def)
        begin_row(out, def);
    if (out->labels && out->count == out->cap) {
        out->other += value;
        out->has_other = true;
        return;
    }
    for (size_t i = 0; i < out->labels; i++)
        cut[i] = str_head(values[i], LABEL_MAX);
    out->count++;
    out->reader->point(out->reader, def, &(struct metric_point){ .values = cut, .value = value });
}

/* Collectors run without the lock: they may well look at metrics themselves. */
void metric_read(struct metric_reader *r) {
    pthread_mutex_lock(&lock);
    for (const struct metric_state *m = metrics; m; m = m->next)
        if (!m->def->computed)
            read_metric(r, m);
    const struct collector *c = collectors;
    struct metric_sink out = { .reader = r, .cap = series_cap };
    pthread_mutex_unlock(&lock);
    for (; c; c = c->next)
        c->fn(&out, c->arg);
    end_row(&out);
}

/* ---- text format ----------------------------------------------------------------- */

static const char *const kind_words[] = { "counter", "gauge", "histogram" };

static void put_double(struct buf *out, double d) {
    char text[40];
    int digits = 15;
    if (isnan(d) || isinf(d)) {
        buf_str(out, isnan(d) ? S("NaN") : d > 0 ? S("+Inf") : S("-Inf"));
    } else if (fabs(d) < 0x1p53 && d == floor(d)) {
        buf_fmt(out, "%.0f", d);
    } else {
        do
            snprintf(text, sizeof text, "%.*g", digits, d);
        while (strtod(text, NULL) != d && ++digits <= 17);
        buf_str(out, str_of(text));
    }
}

static size_t utf8_width(unsigned char lead) {
    if (lead < 0x80)
        return 1;
    if (lead < 0xc2 || lead > 0xf4)
        return 0;
    return lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
}

/* Bytes of the UTF-8 sequence that s starts with, 0 when it is none (RFC 3629 §4). */
static size_t utf8_sequence(struct str s) {
    const unsigned char *p = (const unsigned char *)s.p;
    size_t n = utf8_width(p[0]);
    if (n > s.n)
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
        (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
        return 0;
    return n;
}

/* Escapes as the format wants; one label that is not UTF-8 would spoil the whole page, so
 * foreign bytes become U+FFFD. */
static void put_escaped(struct buf *out, struct str s, bool quoted) {
    while (s.n) {
        size_t n = utf8_sequence(s);
        if (n == 0)
            buf_str(out, S("\xef\xbf\xbd"));
        else if (s.p[0] == '\n')
            buf_str(out, S("\\n"));
        else if (s.p[0] == '\\' || (quoted && s.p[0] == '"'))
            buf_char(out, '\\'), buf_char(out, s.p[0]);
        else
            buf_put(out, s.p, n);
        s = str_skip(s, n ? n : 1);
    }
}

static void put_head(struct buf *out, const char *name, const char *help, enum metric_kind kind) {
    buf_fmt(out, "# HELP %s ", name);
    put_escaped(out, str_of(help), false);
    buf_fmt(out, "\n# TYPE %s %s\n", name, kind_words[kind]);
}

/* The reader that writes the page. */
struct page {
    struct metric_reader reader;
    struct buf *out;
};

static void page_metric(struct metric_reader *r, const struct metric_def *def) {
    put_head(((struct page *)r)->out, def->name, def->help, def->kind);
}

/* name, suffix and labels of one line, up to the space before its value; le NULL: none. */
static void put_series(struct buf *out, const struct metric_def *def, const struct str *values,
                       const char *suffix, const double *le) {
    char open = '{';
    buf_fmt(out, "%s%s", def->name, suffix);
    for (size_t i = 0; i < METRIC_LABELS && def->labels[i]; i++, open = ',') {
        buf_fmt(out, "%c%s=\"", open, def->labels[i]);
        put_escaped(out, values[i], true);
        buf_char(out, '"');
    }
    if (le) {
        buf_fmt(out, "%cle=\"", open);
        put_double(out, *le);
        buf_char(out, '"');
    }
    buf_str(out, def->labels[0] || le ? S("} ") : S(" "));
}

static void put_line(struct buf *out, const struct metric_def *def, const struct str *values,
                     const char *suffix, const double *le, double value) {
    put_series(out, def, values, suffix, le);
    put_double(out, value);
    buf_char(out, '\n');
}

static void page_point(struct metric_reader *r, const struct metric_def *def,
                       const struct metric_point *p) {
    struct buf *out = ((struct page *)r)->out;
    if (def->kind != METRIC_HISTOGRAM) {
        put_line(out, def, p->values, "", NULL, p->value);
        return;
    }
    int64_t count = 0;
    for (size_t i = 0; i <= p->bound_count; i++) {
        double le = i < p->bound_count ? p->bounds[i] : INFINITY;
        count += p->buckets[i];
        put_line(out, def, p->values, "_bucket", &le, (double)count);
    }
    put_line(out, def, p->values, "_sum", NULL, p->value);
    put_line(out, def, p->values, "_count", NULL, (double)count);
}

#define HELP "# HELP "

static struct str name_of(struct str block) {
    struct str rest = str_skip(block, sizeof HELP - 1);
    return str_cut(&rest, ' ');
}

static int by_name(const void *a, const void *b) {
    return str_cmp(name_of(*(const struct str *)a), name_of(*(const struct str *)b));
}

/* Cuts the text in front of each HELP line; a line break inside a value is escaped. */
static size_t cut_blocks(struct str text, struct str *out) {
    size_t n = 0;
    while (text.n) {
        ptrdiff_t at = str_find(str_skip(text, 1), S("\n" HELP));
        size_t size = at < 0 ? text.n : (size_t)at + 2;
        if (out)
            out[n] = str_head(text, size);
        n++;
        text = str_skip(text, size);
    }
    return n;
}

void metric_expose(struct buf *out) {
    SCOPED(buf_done) struct buf all = { 0 };
    struct page page = { { page_metric, page_point }, &all };
    metric_read(&page.reader);
    size_t n = cut_blocks(buf_view(&all), NULL);
    SCOPED(mem_scope) struct str *blocks = NEW_ARRAY(struct str, n);
    cut_blocks(buf_view(&all), blocks);
    qsort(blocks, n, sizeof *blocks, by_name);
    for (size_t i = 0; i < n; i++)
        buf_str(out, blocks[i]);
}
