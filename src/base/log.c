/* log.c - see log.h. A line is admitted (flood limit), formatted into its thread's buffer,
 * and written; the lock is taken for the first and the last step only. */
#include "base/log.h"
#include "base/json.h"
#include "base/map.h"
#include "base/mem.h"
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#define VALUE_MAX 4096          /* bytes of one value that are printed */
#define LINE_KEEP (64 * 1024)   /* a thread's buffer that grew beyond this is given back */
#define SECRET_LONG 20          /* letters from which on anything after gs_…_ is a secret */

static const char *const level_words[] = { "debug", "info", "warn", "error" };
static const char *const level_heads[] = { "DEBUG ", "INFO  ", "WARN  ", "ERROR " };
static const char *const level_colors[] = { "\033[36m", "\033[32m", "\033[33m", "\033[1;31m" };

static int threshold = LOG_INFO; /* atomic: read by every log line that is not printed */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct log_conf conf = { .level = LOG_INFO, .fd = STDERR_FILENO };
static uint64_t dropped;       /* lines, ever */
static uint64_t dropped_noted; /* of these, reported in a line */
static uint64_t left_out;      /* lines, ever */
static bool torn;              /* the last line was written in part */

struct log_tap {
    enum log_level level;
    size_t bytes;
    struct buf lines;
    uint64_t dropped;
};
static struct log_tap *taps[LOG_TAPS]; /* under the lock, as what is in them */

static _Thread_local struct buf line;
static _Thread_local struct str request;

/* The lowest level that anybody wants. */
static void set_threshold(void) {
    enum log_level lowest = conf.level;
    for (size_t i = 0; i < LOG_TAPS; i++)
        if (taps[i] && taps[i]->level < lowest)
            lowest = taps[i]->level;
    __atomic_store_n(&threshold, (int)lowest, __ATOMIC_RELAXED);
}

void log_setup(struct log_conf c) {
    pthread_mutex_lock(&lock);
    conf = c;
    set_threshold();
    pthread_mutex_unlock(&lock);
}

struct str log_request(void) {
    return request;
}

enum log_level log_threshold(void) {
    return (enum log_level)__atomic_load_n(&threshold, __ATOMIC_RELAXED);
}

void log_use_request(struct str id) {
    request = id;
}

uint64_t log_dropped(void) {
    pthread_mutex_lock(&lock);
    uint64_t n = dropped;
    pthread_mutex_unlock(&lock);
    return n;
}

uint64_t log_left_out(void) {
    pthread_mutex_lock(&lock);
    uint64_t n = left_out;
    pthread_mutex_unlock(&lock);
    return n;
}

/* ---- text ------------------------------------------------------------------------ */

/* DEL and the C1 controls, which a terminal may obey and JSON lets pass. */
static bool is_late_control(struct str s) {
    return s.p[0] == 0x7f ||
           (s.n > 1 && (uint8_t)s.p[0] == 0xc2 && ((uint8_t)s.p[1] & 0xe0) == 0x80);
}

static void put_clean(struct buf *b, struct str s) {
    size_t n = 0;
    while (n < s.n) {
        if (!is_late_control(str_skip(s, n))) {
            n++;
            continue;
        }
        size_t last = s.p[n] == 0x7f ? n : n + 1; /* its code point, in both cases */
        json_escape(b, str_head(s, n));
        buf_fmt(b, "\\u00%02x", (uint8_t)s.p[last]);
        s = str_skip(s, last + 1);
        n = 0;
    }
    json_escape(b, s);
}

static bool is_key_letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-';
}

/* The secret of the first of our keys (gs_<id>_<secret>) in s, empty when there is none.
 * "settings_x_y" is none, but a long tail is taken for one whatever stands before it. */
static struct str next_secret(struct str s) {
    ptrdiff_t hit;
    for (size_t at = 0; (hit = str_find(str_skip(s, at), S("gs_"))) >= 0;) {
        size_t from = at + (size_t)hit, end = from + 3;
        while (end < s.n && is_key_letter(s.p[end]))
            end++;
        struct str secret = str_from(s.p + from + 3, end - from - 3);
        str_cut(&secret, '_');
        bool alone = from == 0 || !is_key_letter(s.p[from - 1]);
        if (secret.n && (alone || secret.n >= SECRET_LONG))
            return secret;
        at = from + 3;
    }
    return (struct str){ NULL, 0 };
}

static void put_text(struct buf *b, struct str s) {
    struct str rest = str_head(s, VALUE_MAX), secret;
    while ((secret = next_secret(rest)).n) {
        size_t from = (size_t)(secret.p - rest.p);
        put_clean(b, str_head(rest, from));
        buf_str(b, S("***"));
        rest = str_skip(rest, from + secret.n);
    }
    put_clean(b, rest);
    if (s.n > VALUE_MAX)
        buf_str(b, S("…"));
}

/* Bare in readable lines; everything else is quoted and escaped as JSON does it. */
static bool is_bare(struct str s) {
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] <= ' ' || s.p[i] > '~' || strchr("\"=\\", s.p[i]))
            return false;
    return s.n > 0;
}

static void put_string(struct buf *b, struct str s, bool json) {
    if (!json && is_bare(s)) {
        put_text(b, s);
        return;
    }
    buf_char(b, '"');
    put_text(b, s);
    buf_char(b, '"');
}

/* ---- lines ----------------------------------------------------------------------- */

static void put_value(struct buf *b, const struct log_field *f, bool json) {
    struct jw w = jw_init(b);
    switch (f->type) {
    case LOG_STR:
        put_string(b, f->s, json);
        return;
    case LOG_INT:
        jw_int(&w, f->i);
        return;
    case LOG_DOUBLE:
        jw_double(&w, f->d);
        return;
    case LOG_FLAG:
        jw_bool(&w, f->b);
        return;
    }
}

static void put_field(struct buf *b, const struct log_field *f, const struct log_conf *c) {
    if (c->json)
        buf_fmt(b, ",\"%s\":", f->key);
    else
        buf_fmt(b, c->color ? " \033[2m%s=\033[0m" : " %s=", f->key);
    put_value(b, f, c->json);
}

static void put_head(struct buf *b, const struct log_conf *c, nanos now, enum log_level level,
                     const char *event) {
    char text[CLOCK_TEXT];
    struct str time = clock_rfc3339(now, text);
    if (c->json) {
        buf_fmt(b, "{\"time\":\"%.*s\",\"level\":\"%s\",\"event\":\"", STR(time),
                level_words[level]);
        put_text(b, str_of(event));
        buf_char(b, '"');
        return;
    }
    buf_str(b, time);
    buf_char(b, ' ');
    if (c->color)
        buf_fmt(b, "%s%s\033[0m", level_colors[level], level_heads[level]);
    else
        buf_str(b, str_of(level_heads[level]));
    put_text(b, str_of(event));
}

static void put_tail(struct buf *b, const struct log_conf *c, const struct log_field *fields,
                     size_t n) {
    for (size_t i = 0; i < n; i++)
        put_field(b, &fields[i], c);
    buf_str(b, c->json ? S("}\n") : S("\n"));
}

/* ---- floods ---------------------------------------------------------------------- */

#define FLOODS 256 /* events that are told apart; more are not limited */

struct flood {
    uint64_t hash;
    int64_t second;
    unsigned seen, left_out; /* in that second */
    enum log_level level;
    char event[48];
};

static struct flood floods[FLOODS];
static int64_t swept; /* second of the last note_floods */

static struct flood *flood_of(const char *event, enum log_level level) {
    uint64_t hash = hash_str(str_of(event)) | 1;
    for (size_t i = 0; i < FLOODS; i++) {
        struct flood *f = &floods[(hash + i) % FLOODS];
        if (f->hash == hash)
            return f;
        if (f->hash == 0) {
            *f = (struct flood){ .hash = hash, .level = level };
            struct str name = str_head(str_of(event), sizeof f->event - 1);
            memcpy(f->event, name.p, name.n);
            return f;
        }
    }
    return NULL;
}

/* Lines that say what was left out in seconds before this one and what was dropped. */
static void note_losses(struct buf *b, nanos now) {
    int64_t second = now / NANOS_SEC;
    if (second == swept)
        return;
    swept = second;
    for (size_t i = 0; i < FLOODS; i++) {
        struct flood *f = &floods[i];
        if (f->left_out == 0 || f->second == second)
            continue;
        put_head(b, &conf, now, f->level, "log lines left out");
        put_tail(b, &conf, (struct log_field[]){ F("of", f->event), F("count", f->left_out) }, 2);
        f->left_out = 0;
    }
    if (dropped == dropped_noted)
        return;
    put_head(b, &conf, now, LOG_WARN, "log lines dropped: their reader was too slow");
    put_tail(b, &conf, (struct log_field[]){ F("count", dropped - dropped_noted) }, 1);
    dropped_noted = dropped;
}

static bool admits(const char *event, enum log_level level, nanos now) {
    struct flood *f = conf.burst ? flood_of(event, level) : NULL;
    if (!f)
        return true;
    if (f->second != now / NANOS_SEC) {
        f->second = now / NANOS_SEC;
        f->seen = f->left_out = 0;
    }
    if (f->seen == conf.burst) {
        f->left_out++;
        left_out++;
        return false;
    }
    f->seen++;
    return true;
}

/* ---- writing --------------------------------------------------------------------- */

/* True when all of it was written. A reader that is too slow loses lines, never the process
 * its time; half a line is ended by the next one. */
static bool write_all(int fd, struct str s, bool *out_any) {
    while (s.n) {
        ssize_t n = write(fd, s.p, s.n);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        *out_any = true;
        s = str_skip(s, (size_t)n);
    }
    return true;
}

static void write_line(int fd, struct str s) {
    bool any = false;
    pthread_mutex_lock(&lock);
    if (torn && write_all(fd, S("\n"), &any))
        torn = false;
    any = false;
    if (!write_all(fd, s, &any)) {
        dropped++;
        torn = torn || any;
    }
    pthread_mutex_unlock(&lock);
}

static pthread_key_t line_key;
static pthread_once_t line_once = PTHREAD_ONCE_INIT;

static void line_free(void *p) {
    buf_done(p);
}

static void line_key_make(void) {
    if (pthread_key_create(&line_key, line_free) != 0)
        abort();
}

static struct buf *line_buffer(void) {
    if (!line.p) {
        pthread_once(&line_once, line_key_make);
        pthread_setspecific(line_key, &line);
    }
    buf_clear(&line);
    return &line;
}

static void format_line(struct buf *b, const struct log_conf *c, nanos now, enum log_level level,
                        const char *event, const struct log_field *fields, size_t n) {
    const struct log_field id = F("request", request);
    put_head(b, c, now, level, event);
    if (request.n)
        put_field(b, &id, c);
    put_tail(b, c, fields, n);
}

/* ---- taps ------------------------------------------------------------------------ */

struct log_tap *log_tap_new(enum log_level level, size_t bytes) {
    struct log_tap *tap = NULL;
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < LOG_TAPS && !tap; i++)
        if (!taps[i]) {
            taps[i] = tap = NEW(struct log_tap);
            tap->level = level;
            tap->bytes = bytes;
        }
    set_threshold();
    pthread_mutex_unlock(&lock);
    return tap;
}

void log_tap_free(struct log_tap *tap) {
    if (!tap)
        return;
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < LOG_TAPS; i++)
        if (taps[i] == tap)
            taps[i] = NULL;
    set_threshold();
    pthread_mutex_unlock(&lock);
    buf_done(&tap->lines);
    free(tap);
}

uint64_t log_tap_take(struct log_tap *tap, struct buf *out) {
    struct buf taken;
    pthread_mutex_lock(&lock);
    taken = tap->lines;
    tap->lines = (struct buf){ 0 };
    uint64_t lost = tap->dropped;
    tap->dropped = 0;
    pthread_mutex_unlock(&lock);
    buf_str(out, buf_view(&taken));
    buf_done(&taken);
    return lost;
}

static bool is_tapped(enum log_level level) {
    for (size_t i = 0; i < LOG_TAPS; i++)
        if (taps[i] && taps[i]->level <= level)
            return true;
    return false;
}

static void give_taps(enum log_level level, struct str text) {
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < LOG_TAPS; i++) {
        struct log_tap *tap = taps[i];
        if (!tap || tap->level > level)
            continue;
        if (tap->lines.n + text.n > tap->bytes)
            tap->dropped++;
        else
            buf_str(&tap->lines, text);
    }
    pthread_mutex_unlock(&lock);
}

/* ---- one event ------------------------------------------------------------------- */

/* `cut`: floods of it are cut. */
static void put_event(enum log_level level, const char *event, const struct log_field *fields,
                      size_t n, bool cut) {
    int saved_errno = errno;
    struct buf *b = line_buffer();
    pthread_mutex_lock(&lock);
    struct log_conf c = conf;
    nanos now = c.wall ? c.wall() : clock_wall();
    bool wanted = level >= c.level, tapped = is_tapped(level), admitted = false;
    note_losses(b, now);
    if (wanted)
        admitted = !cut || admits(event, level, now);
    pthread_mutex_unlock(&lock);
    if (admitted)
        format_line(b, &c, now, level, event, fields, n);
    if (b->n)
        write_line(c.fd, buf_view(b));
    if (tapped) {
        buf_clear(b);
        format_line(b, &(struct log_conf){ .json = true }, now, level, event, fields, n);
        give_taps(level, buf_view(b));
    }
    if (b->cap > LINE_KEEP)
        buf_done(b);
    errno = saved_errno;
}

void log_event(enum log_level level, const char *event, const struct log_field *fields, size_t n) {
    put_event(level, event, fields, n, true);
}

void log_record(enum log_level level, const char *event, const struct log_field *fields, size_t n) {
    put_event(level, event, fields, n, false);
}
