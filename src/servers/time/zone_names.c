/* zone_names.c - see zone_names.h. */
#include "servers/time/zone_names.h"
#include "base/buf.h"
#include "base/mem.h"
#include "servers/time/zone.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define TABLE_MAX ((size_t)1024 * 1024) /* zone.tab has 20 KiB */
#define DEPTH_MAX 3                     /* America/Argentina/Ushuaia */

static struct str first_part(struct str name) {
    return str_cut(&name, '/');
}

static bool is_safe(struct str name) {
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];
        bool letter = (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
        bool between = i > 0 && i + 1 < name.n && name.p[i - 1] != '/';
        if (!letter && !(c >= '0' && c <= '9') && c != '_' && c != '-' && c != '+' &&
            !(c == '/' && between))
            return false;
    }
    return name.n > 0 && name.n <= ZONE_NAME_MAX;
}

bool zone_name_is_plausible(struct str name) {
    static const struct str hidden[] = { S_INIT("posix"), S_INIT("right"), S_INIT("localtime"),
                                         S_INIT("posixrules"), S_INIT("Factory") };
    for (size_t i = 0; i < ARRAY_SIZE(hidden); i++)
        if (str_eq(first_part(name), hidden[i]))
            return false;
    return is_safe(name);
}

/* ---- walking the folder ------------------------------------------------------------ */

/* Only the top folder holds files that are no zones. */
static bool is_zone_file(int folder, const char *name, bool top) {
    char magic[4] = { 0 };
    if (!top)
        return true;
    int fd = openat(folder, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    bool is = fd >= 0 && read(fd, magic, 4) == 4 && memcmp(magic, "TZif", 4) == 0;
    if (fd >= 0)
        close(fd);
    return is;
}

static void add(struct zone_names *names, struct str name) {
    if (names->n < ZONE_NAMES_MAX)
        names->items[names->n++].name = arena_dup(&names->arena, name);
}

static void dir_scope(DIR **d) {
    if (*d)
        closedir(*d);
}

static void walk(struct zone_names *names, int parent, const char *folder, struct str prefix,
                 int depth);

static void visit(struct zone_names *names, DIR *d, const char *file, struct str prefix,
                  int depth) {
    struct stat st;
    char full[ZONE_NAME_MAX + 1];
    struct str name = str_of(file), path = { full, prefix.n + name.n };
    if (path.n > ZONE_NAME_MAX)
        return;
    memcpy(full, prefix.p, prefix.n);
    memcpy(full + prefix.n, name.p, name.n);
    if (!zone_name_is_plausible(path) || fstatat(dirfd(d), file, &st, 0) != 0)
        return;
    if (S_ISREG(st.st_mode) && is_zone_file(dirfd(d), file, prefix.n == 0))
        add(names, path);
    if (!S_ISDIR(st.st_mode) || depth == DEPTH_MAX || path.n == ZONE_NAME_MAX)
        return;
    full[path.n++] = '/';
    walk(names, dirfd(d), file, path, depth + 1);
}

static void walk(struct zone_names *names, int parent, const char *folder, struct str prefix,
                 int depth) {
    int fd = openat(parent, folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    SCOPED(dir_scope) DIR *d = fd < 0 ? NULL : fdopendir(fd);
    if (!d)
        return;
    for (struct dirent *e; (e = readdir(d));)
        visit(names, d, e->d_name, prefix, depth);
}

static int by_name(const void *a, const void *b) {
    return str_cmp(((const struct zone_entry *)a)->name, ((const struct zone_entry *)b)->name);
}

/* ---- countries --------------------------------------------------------------------- */

/* A table of the folder; empty when it has none, countries are an extra. */
static struct str read_table(struct zone_names *names, struct str folder, const char *file) {
    char path[2048];
    snprintf(path, sizeof path, "%.*s/%s", STR(folder), file);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return S("");
    struct stat st;
    struct str text = S("");
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && (size_t)st.st_size <= TABLE_MAX) {
        char *p = arena_alloc(&names->arena, (size_t)st.st_size + 1);
        ssize_t n = read(fd, p, (size_t)st.st_size);
        text = str_from(p, n > 0 ? (size_t)n : 0);
    }
    close(fd);
    return text;
}

/* The next line that is no comment, in its columns; false at the end. */
static bool next_row(struct str *table, struct str columns[3]) {
    while (table->p && table->n) {
        struct str line = str_cut(table, '\n');
        if (line.n == 0 || line.p[0] == '#')
            continue;
        for (size_t i = 0; i < 3; i++)
            columns[i] = str_cut(&line, '\t');
        return true;
    }
    return false;
}

static void read_countries(struct zone_names *names, struct str table) {
    enum { MOST = 400 }; /* ISO 3166 has room for 676 codes, 249 are used */
    struct str columns[3];
    names->countries = ARENA_ARRAY(&names->arena, struct zone_country, MOST);
    while (names->country_count < MOST && next_row(&table, columns))
        names->countries[names->country_count++] = (struct zone_country){ columns[0], columns[1] };
}

static const struct zone_country *country_of(const struct zone_names *names, struct str code) {
    for (size_t i = 0; i < names->country_count; i++)
        if (str_eq(names->countries[i].code, code))
            return &names->countries[i];
    return NULL;
}

static void read_zone_table(struct zone_names *names, struct str table) {
    struct str columns[3]; /* code, coordinates, zone */
    while (next_row(&table, columns)) {
        struct zone_entry key = { .name = columns[2] };
        struct zone_entry *e = bsearch(&key, names->items, names->n, sizeof key, by_name);
        if (e)
            e->country = country_of(names, columns[0]);
    }
}

err_t zone_names_read(struct str folder, struct zone_names **out) {
    struct zone_names *names = NEW(struct zone_names);
    arena_init(&names->arena, NULL, 0);
    names->items = NEW_ARRAY(struct zone_entry, ZONE_NAMES_MAX);
    char *path = arena_text(&names->arena, folder);
    walk(names, AT_FDCWD, path, S(""), 0);
    if (names->n == 0) {
        zone_names_free(names);
        return ERR(NOT_FOUND, "there are no time zones in %.*s", STR(folder));
    }
    names->items = mem_grow(names->items, names->n * sizeof *names->items);
    qsort(names->items, names->n, sizeof *names->items, by_name);
    read_countries(names, read_table(names, folder, "iso3166.tab"));
    read_zone_table(names, read_table(names, folder, "zone.tab"));
    *out = names;
    return OK;
}

void zone_names_free(struct zone_names *names) {
    if (!names)
        return;
    arena_done(&names->arena);
    free(names->items);
    free(names);
}

/* ---- finding ----------------------------------------------------------------------- */

static char folded(char c) {
    return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c == ' ' ? '_' : c;
}

/* Lower case, "_" for spaces; cut to the room. */
static struct str fold(struct str s, char room[ZONE_NAME_MAX]) {
    size_t n = s.n < ZONE_NAME_MAX ? s.n : ZONE_NAME_MAX;
    for (size_t i = 0; i < n; i++)
        room[i] = folded(s.p[i]);
    return str_from(room, n);
}

static bool same(struct str a, struct str b) {
    if (a.n != b.n)
        return false;
    for (size_t i = 0; i < a.n; i++)
        if (folded(a.p[i]) != folded(b.p[i]))
            return false;
    return true;
}

static bool contains(struct str s, struct str part) {
    for (size_t i = 0; i + part.n <= s.n; i++)
        if (same(str_from(s.p + i, part.n), part))
            return true;
    return false;
}

const struct zone_entry *zone_names_find(const struct zone_names *names, struct str name) {
    for (size_t i = 0; i < names->n; i++)
        if (same(names->items[i].name, name))
            return &names->items[i];
    return NULL;
}

static bool in_country(const struct zone_entry *e, struct str country) {
    return e->country && (same(e->country->code, country) || same(e->country->name, country));
}

bool zone_entry_matches(const struct zone_entry *e, const struct zone_filter *f) {
    if (!same(str_head(e->name, f->prefix.n), f->prefix))
        return false;
    if (f->region.n && !same(first_part(e->name), f->region))
        return false;
    if (f->country.n && !in_country(e, f->country))
        return false;
    return contains(e->name, f->search) || (e->country && contains(e->country->name, f->search));
}

/* ---- suggesting -------------------------------------------------------------------- */

/* Abbreviations are no zones: they have many meanings, and no rules. */
static const struct {
    const char *word;
    struct str meant;
} abbreviations[] = {
    { "pst", S_INIT("America/Los_Angeles") },
    { "pdt", S_INIT("America/Los_Angeles") },
    { "pt", S_INIT("America/Los_Angeles") },
    { "mdt", S_INIT("America/Denver") },
    { "mt", S_INIT("America/Denver") },
    { "cst", S_INIT("America/Chicago, Asia/Shanghai") },
    { "cdt", S_INIT("America/Chicago") },
    { "ct", S_INIT("America/Chicago") },
    { "edt", S_INIT("America/New_York") },
    { "et", S_INIT("America/New_York") },
    { "akst", S_INIT("America/Anchorage") },
    { "akdt", S_INIT("America/Anchorage") },
    { "bst", S_INIT("Europe/London") },
    { "cest", S_INIT("Europe/Paris, Europe/Berlin") },
    { "eest", S_INIT("Europe/Athens, Europe/Helsinki") },
    { "msk", S_INIT("Europe/Moscow") },
    { "ist", S_INIT("Asia/Kolkata, Europe/Dublin, Asia/Jerusalem") },
    { "jst", S_INIT("Asia/Tokyo") },
    { "kst", S_INIT("Asia/Seoul") },
    { "sgt", S_INIT("Asia/Singapore") },
    { "hkt", S_INIT("Asia/Hong_Kong") },
    { "aest", S_INIT("Australia/Sydney, Australia/Brisbane") },
    { "aedt", S_INIT("Australia/Sydney") },
    { "nzst", S_INIT("Pacific/Auckland") },
    { "nzdt", S_INIT("Pacific/Auckland") },
    { "brt", S_INIT("America/Sao_Paulo") },
    { "sast", S_INIT("Africa/Johannesburg") },
};

static struct str last_part(struct str name) {
    struct str part = name;
    for (struct str rest = name; rest.p;)
        part = str_cut(&rest, '/');
    return part;
}

/* Lengths that differ more cannot be closer: most names need no look at their letters. */
static unsigned edits(struct str a, struct str b, unsigned limit) {
    size_t apart = a.n > b.n ? a.n - b.n : b.n - a.n;
    return apart > limit ? limit + 1 : str_distance(a, b, limit);
}

/* How far a name is from what was asked for; `limit` + 1 when too far. A city inside of it
 * counts as close. */
static unsigned distance(struct str asked, struct str name, unsigned limit) {
    char room[ZONE_NAME_MAX];
    struct str whole = fold(name, room);
    unsigned best = edits(asked, whole, limit);
    unsigned city = edits(asked, last_part(whole), limit);
    if (city < best)
        best = city;
    bool inside = asked.n >= 3 && (contains(whole, asked) || contains(asked, last_part(whole)));
    return inside && best > 1 ? 1 : best;
}

struct candidate {
    unsigned distance;
    struct str name;
};

/* Keeps the closest, at equal distance the first. */
static void offer(struct candidate best[3], struct candidate c) {
    for (size_t i = 0; i < 3; i++)
        if (!best[i].name.p || c.distance < best[i].distance) {
            struct candidate moved = best[i];
            best[i] = c;
            c = moved;
        }
}

struct str zone_names_suggest(const struct zone_names *names, struct str name, struct arena *a) {
    char room[ZONE_NAME_MAX];
    struct candidate best[3] = { 0 };
    struct str asked = fold(name, room);
    for (size_t i = 0; i < ARRAY_SIZE(abbreviations); i++)
        if (str_eq(asked, str_of(abbreviations[i].word)))
            return abbreviations[i].meant;
    unsigned limit = asked.n < 6 ? 1 : asked.n < 12 ? 2 : 3;
    for (size_t i = 0; i < names->n; i++) {
        unsigned d = distance(asked, names->items[i].name, limit);
        if (d <= limit)
            offer(best, (struct candidate){ d, names->items[i].name });
    }
    SCOPED(buf_done) struct buf text = { 0 };
    for (size_t i = 0; i < 3 && best[i].name.p; i++)
        buf_fmt(&text, "%s%.*s", i ? ", " : "", STR(best[i].name));
    return arena_dup(a, buf_view(&text));
}
