/* log.h - one event with fields per line.
 *
 *   log_warn("upstream failed", F("upstream", u->name), F("error", e->text), F("after", ms));
 *
 * JSON lines or readable text on stderr (or a descriptor). Each call formats into a
 * buffer of its thread and writes once; lines from many threads never mix. A flood of
 * one event is cut to `burst` lines a second with a count of what was left out.
 * Secrets have no constructor here, so they cannot be printed; text that looks like one
 * of our keys (gs_…) is masked on the way out (DESIGN rule 5, P-172).
 *
 * Threads  any
 * Waits    writes to a pipe or file may block for as long as its reader does; a full
 *          non-blocking descriptor drops the line and counts it
 */
#pragma once
#include "base/buf.h"
#include "base/clock.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR, LOG_OFF };

enum log_field_type { LOG_STR, LOG_INT, LOG_DOUBLE, LOG_FLAG };
struct log_field {
    const char *key;
    enum log_field_type type;
    union {
        struct str s;
        int64_t i;
        double d;
        bool b;
    };
};

static inline struct log_field log_f_str(const char *key, struct str s) {
    return (struct log_field){ .key = key, .type = LOG_STR, .s = s };
}
static inline struct log_field log_f_text(const char *key, const char *s) {
    return log_f_str(key, s ? str_of(s) : S(""));
}
static inline struct log_field log_f_int(const char *key, int64_t i) {
    return (struct log_field){ .key = key, .type = LOG_INT, .i = i };
}
static inline struct log_field log_f_double(const char *key, double d) {
    return (struct log_field){ .key = key, .type = LOG_DOUBLE, .d = d };
}
static inline struct log_field log_f_bool(const char *key, bool b) {
    return (struct log_field){ .key = key, .type = LOG_FLAG, .b = b };
}

#define F(key, value)                                                                              \
    _Generic((value),                                                                              \
        struct str: log_f_str,                                                                     \
        char *: log_f_text,                                                                        \
        const char *: log_f_text,                                                                  \
        bool: log_f_bool,                                                                          \
        float: log_f_double,                                                                       \
        double: log_f_double,                                                                      \
        default: log_f_int)(key, value)

struct log_conf {
    enum log_level level;
    bool json;      /* else readable text */
    bool color;
    int fd;
    unsigned burst; /* lines a second for one event; 0: no cut */
    nanos (*wall)(void); /* where lines get their time; NULL: clock_wall */
};
void log_setup(struct log_conf conf); /* may be called again at a reload */
enum log_level log_threshold(void);
uint64_t log_dropped(void); /* lines that a full descriptor lost, ever */
uint64_t log_left_out(void); /* lines that the limit on one event left out, ever */

void log_event(enum log_level level, const char *event, const struct log_field *fields, size_t n);
/* The same without the cut of a flood, for lines that are counted on: the access log. */
void log_record(enum log_level level, const char *event, const struct log_field *fields, size_t n);

#define LOG_AT(level, event, ...)                                                                  \
    do {                                                                                           \
        if ((level) >= log_threshold()) {                                                          \
            const struct log_field fields_[] = { { 0 }, ##__VA_ARGS__ };                           \
            log_event((level), (event), fields_ + 1, ARRAY_SIZE(fields_) - 1);                     \
        }                                                                                          \
    } while (0)
#define log_debug(event, ...) LOG_AT(LOG_DEBUG, event, ##__VA_ARGS__)
#define log_info(event, ...) LOG_AT(LOG_INFO, event, ##__VA_ARGS__)
#define log_warn(event, ...) LOG_AT(LOG_WARN, event, ##__VA_ARGS__)
#define log_error(event, ...) LOG_AT(LOG_ERROR, event, ##__VA_ARGS__)

/* The request id that every line of the running task carries, "" for none; run/ switches
 * it with the task as it does the error slot. Borrowed. */
void log_use_request(struct str id);
struct str log_request(void);

/* ---- taps ------------------------------------------------------------------------------
 *
 * A reader inside the process: gets every line of its level and above as JSON, whatever the
 * log's own level, form and flood limit are. Lines that it does not take in time are dropped and
 * counted; nobody ever waits for a tap. */
struct log_tap;
/* NULL when there are LOG_TAPS already. `bytes`: most that waits to be taken. */
enum { LOG_TAPS = 8 };
struct log_tap *log_tap_new(enum log_level level, size_t bytes);
void log_tap_free(struct log_tap *tap);
/* Appends whole lines, each with its line end, and empties the tap. Returns the lines that were
 * dropped since the last time. */
uint64_t log_tap_take(struct log_tap *tap, struct buf *out);
