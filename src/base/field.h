/* field.h - one row describes one member of a struct.
 *
 * The same row reads the member from JSON (configuration, tool arguments, REST bodies),
 * writes it back, fills its default, checks its range, and describes it: JSON Schema,
 * reference pages, command line, environment name. So an option exists once.
 *
 *   struct limits { int64_t body; nanos call; };
 *   static const struct field limit_fields[] = {
 *       FIELD(struct limits, body, BYTES, "4MiB", "1KiB..1GiB", 0, "Largest request body."),
 *       FIELD(struct limits, call, DURATION, "30s", "1ms..10m", 0, "Longest wait for one call."),
 *   };
 *
 * An alias is a row of its own with the same member, FIELD_HIDDEN, after the row that it
 * stands for. A member that is null counts as absent, but for FIELD_JSON.
 *
 * Threads  rows are constant
 * Memory   everything read is in the arena given, or borrowed from the document
 * Errors   all problems of a document are collected, each with its path and what is allowed
 */
#pragma once
#include "base/clock.h"
#include "base/json.h"

enum field_type {
    FIELD_BOOL,     /* bool */
    FIELD_INT,      /* int64_t; range "1..65535" */
    FIELD_DOUBLE,   /* double; range "0..1" */
    FIELD_STR,      /* struct str; range is a maximal length "..64" or "1..64" */
    FIELD_SECRET,   /* struct str; written back and printed as "***" */
    FIELD_DURATION, /* nanos; JSON string "30s" (or a number of seconds) */
    FIELD_BYTES,    /* int64_t; JSON string "4MiB", "64KiB", "1GiB", "100kB", or a number */
    FIELD_RATE,     /* struct rate; JSON string "100/s", "6000/m", or "off" */
    FIELD_WORD,     /* int: index into `words` */
    FIELD_STRS,     /* struct str_list */
    FIELD_PAIRS,    /* struct pair_list; JSON object with string (or number, bool) values */
    FIELD_OBJECT,   /* the nested struct itself, by `fields` */
    FIELD_MAP,      /* struct item_list; JSON object, name -> struct that starts with the name */
    FIELD_LIST,     /* struct item_list; JSON array of structs */
    FIELD_JSON,     /* json, as is; NULL when absent */
    FIELD_TIME,     /* struct str that must look like an RFC 3339 date-time; the reader parses it */
};

enum field_flags {
    FIELD_REQUIRED = 1 << 0,
    FIELD_RESTART = 1 << 1,   /* a reload that changes it is refused with "needs a restart";
                               * every other row is taken over by a reload */
    FIELD_HIDDEN = 1 << 2,    /* accepted, not in reference pages: aliases */
    FIELD_LATER = 1 << 3,     /* accepted with a warning: the part is not built */
    FIELD_PRIVATE = 1 << 4,   /* STRS, PAIRS, JSON: values are written back as "***" */
};

struct str_list {
    struct str *items;
    size_t n;
};
struct pair {
    struct str name, value;
};
struct pair_list {
    struct pair *items;
    size_t n;
};
struct item_list {
    void *items; /* array of the row's `size` */
    size_t n;
};
struct rate { /* tokens per second; 0: no limit */
    double per_second;
};

struct field {
    const char *name;
    enum field_type type;
    size_t offset;
    const char *fallback; /* as it would stand in a file; NULL: zero value */
    const char *range;    /* "low..high", either side may be empty; NULL: any */
    unsigned flags;
    const char *help;     /* one sentence */
    const char *const *words; /* FIELD_WORD: NULL-terminated */
    const struct field *fields; /* FIELD_OBJECT, FIELD_MAP, FIELD_LIST */
    size_t count, size;
};

#define FIELD(of, member, kind, fallback_, range_, flags_, help_)                                  \
    {                                                                                              \
        .name = #member, .type = FIELD_##kind, .offset = offsetof(of, member),                     \
        .fallback = fallback_, .range = range_, .flags = flags_, .help = help_                     \
    }
/* The same with a spelling of its own, such as a JSON key with upper case. */
#define FIELD_AS(name_, of, member, kind, fallback_, range_, flags_, help_)                        \
    {                                                                                              \
        .name = name_, .type = FIELD_##kind, .offset = offsetof(of, member),                       \
        .fallback = fallback_, .range = range_, .flags = flags_, .help = help_                     \
    }
#define FIELD_CHOICE(of, member, words_, fallback_, flags_, help_)                                 \
    {                                                                                              \
        .name = #member, .type = FIELD_WORD, .offset = offsetof(of, member),                       \
        .fallback = fallback_, .flags = flags_, .help = help_, .words = words_                     \
    }
/* kind is OBJECT, MAP or LIST; rows is an array of rows, item the C type they describe. */
#define FIELD_NEST(of, member, kind, rows, item, flags_, help_)                                    \
    {                                                                                              \
        .name = #member, .type = FIELD_##kind, .offset = offsetof(of, member), .flags = flags_,    \
        .help = help_, .fields = rows, .count = ARRAY_SIZE(rows), .size = sizeof(item)             \
    }

/* What is wrong with a document. `at` is the value concerned (NULL: its parent lacks it).
 * Messages never quote a string of the document: it may be an expanded secret. */
struct field_problem {
    struct str path;    /* "upstreams.files.timeout" */
    struct str message; /* what is wrong, what is allowed, "did you mean …?" */
    json at, parent;    /* parent: the object or array that holds or lacks it, NULL at the top */
    bool warning;       /* FIELD_LATER */
    bool measure;       /* a text of the right form beyond its bounds, which no schema can say */
};
struct field_problems {
    struct arena *arena; /* set by the caller */
    bool lenient;        /* set by the caller, for files: "8080" is a number too, as ${PORT}
                          * expands to text, and 1.0 is a text too, as YAML has it */
    struct field_problem items[32];
    size_t n, errors; /* beyond 32 only counted */
};

/* Defaults for every row, nested structs too. */
void field_defaults(const struct field *rows, size_t n, void *out, struct arena *a);

/* Reads `object` into `out` over whatever is there (call field_defaults first). Unknown
 * members, wrong types, values out of range and missing required members are problems;
 * `path` is put in front of every path. */
void field_read(const struct field *rows, size_t n, json object, struct str path, void *out,
                struct arena *a, struct field_problems *problems);

/* Appends ".name" (or "name" to an empty path; odd names in quotes) or "[index]". */
void field_path_name(struct buf *path, struct str name);
void field_path_index(struct buf *path, size_t index);

/* Reads one value given as text, as on a command line or in the environment: lists as
 * "a,b" or JSON, pairs as "name=value,…" or JSON, whatever else is nested as JSON. `out` is
 * the struct, as in field_read. */
err_t field_set(const struct field *row, struct str text, void *out, struct arena *a);

/* The same text as the JSON value that field_read takes for it (leniently). */
err_t field_text_json(const struct field *row, struct str text, struct arena *a, struct jw *w);

/* The environment variable of the option at `path`: "limits.body" is GATESPAN_LIMITS_BODY. Of
 * what stands in a MAP or LIST only the row that holds it has one, which takes JSON. */
struct str field_env(struct str path, struct arena *a);

/* The text is a well spelled duration, size or rate, so that only its bounds can be what is
 * wrong with it: what a JSON Schema cannot say. */
bool field_is_measure(const struct field *row, struct str text, struct arena *a);

/* INVALID with the first problem as text; OK when there is none. */
err_t field_problems_err(const struct field_problems *problems);

/* One JSON object, secrets as "***". */
void field_write(const struct field *rows, size_t n, const void *in, struct jw *w);

/* The same with secrets as they are: for copies that stay inside, never for people. */
void field_write_plain(const struct field *rows, size_t n, const void *in, struct jw *w);
/* One value, secrets and the query of an address, which often holds a key, as "***"; `in` is the
 * struct that holds it. */
void field_write_value(const struct field *row, const void *in, struct jw *w);
/* The same for a line of text: no quotes around it, at most 200 bytes. */
struct str field_show(const struct field *row, const void *in, struct arena *a);

/* {"type":"object","properties":…,"required":…,"additionalProperties":false}, without
 * FIELD_HIDDEN rows */
void field_schema(const struct field *rows, size_t n, struct jw *w);
/* The members of such an object (JSON Schema 2020-12) for a configuration file: what it
 * refuses, lenient reading refuses too. FIELD_HIDDEN rows are in it, texts with a dollar pass
 * (they expand), descriptions name the environment variable and what a reload does. */
void field_schema_file(const struct field *rows, size_t n, struct jw *w);

/* Tells each value in which two structs differ. Items of a MAP are matched by name: one that
 * only one side has is told as a whole, with its MAP row and NULL for the other side. */
typedef void field_changed(void *arg, struct str path, const struct field *row, const void *was,
                           const void *is);
void field_diff(const struct field *rows, size_t n, const void *was, const void *is,
                struct str path, struct arena *a, field_changed *tell, void *arg);

/* What the range and type allow, for messages and pages: "a duration from 1ms to 10m". */
struct str field_allowed(const struct field *row, struct arena *a);

/* The row of that name, or NULL; and the row with the closest name within 3 edits (fewer for
 * short names), or NULL. */
const struct field *field_find(const struct field *rows, size_t n, struct str name);
const struct field *field_closest(const struct field *rows, size_t n, struct str name);
