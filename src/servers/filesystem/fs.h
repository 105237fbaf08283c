/* fs.h - what the files of the filesystem server share: its options, its roots, a place.
 *
 * Threads  constant after opening, but for the watch, which guards itself
 */
#pragma once
#include "base/mem.h"
#include "servers/filesystem/path.h"
#include "servers/server.h"
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

enum fs_operation {
    FS_READ = 1 << 0,
    FS_WRITE = 1 << 1,
    FS_LIST = 1 << 2,
    FS_DELETE = 1 << 3,
    FS_MOVE = 1 << 4,
    FS_COPY = 1 << 5,
};
enum fs_hard_links { HARD_LINKS_REFUSE, HARD_LINKS_READ, HARD_LINKS_ALLOW };

struct fs_root_conf {
    struct str name;
    struct str path;
    bool read_only;
};

struct fs_options {
    struct str root_path;
    struct item_list roots; /* struct fs_root_conf */
    struct str_list allowed_operations;
    int64_t max_read, max_media, max_write, max_copy, max_entries, max_matches, max_scan, max_depth;
    int64_t max_search_file, max_search_bytes;
    nanos search_time;
    bool follow_symlinks, hidden_files;
    int hard_links; /* enum fs_hard_links */
    int64_t resources, watches;
};
enum { FS_OPTIONS = 19 };
extern const struct field fs_option_rows[FS_OPTIONS];

struct fs_root {
    struct str name;
    struct str path, real; /* as configured; without symbolic links */
    int fd;                /* O_PATH, held open for good: everything starts here */
    bool read_only;
};

enum { FS_LOCKS = 64 };
struct fs_watch;
struct fs {
    const struct fs_options *options;
    struct arena arena;
    struct fs_root *roots;
    size_t root_count;
    unsigned allowed; /* enum fs_operation */
    struct fs_watch *watch;
    pthread_mutex_t locks[FS_LOCKS]; /* of names being changed, by their hash */
};

/* What rows cannot say about the options. */
err_t fs_check(const void *conf);
/* Roots opened, confinement tried. UNAVAILABLE where the kernel cannot confine. */
err_t fs_new(const struct fs_options *options, const struct server_env *env, struct fs **out);
void fs_free(struct fs *fs);

/* A path of a caller, understood but not yet looked up. */
struct fs_place {
    const struct fs_root *root;
    struct str rest; /* clean; NUL-terminated; "" is the root itself */
};
/* `what` is the argument's name, for messages. */
err_t fs_locate(const struct fs *fs, struct arena *a, const char *what, struct str path,
                struct fs_place *out);
/* As tools show it: "files/notes/a.txt". */
struct str fs_shown(struct arena *a, const struct fs_place *place);
struct fs_place fs_child(struct arena *a, const struct fs_place *folder, struct str name);
err_t fs_writable(const char *what, const struct fs_place *place);

/* Words for tables. */
const char *fs_type_word(mode_t mode);
struct str fs_time(struct arena *a, struct timespec t); /* RFC 3339 with seconds, UTC */

/* A tool's work, on the blocking pool. */
typedef err_t fs_body(struct call_ctx *c, struct fs *fs, const void *args,
                      struct tool_result *result, const bool *cancelled);
err_t fs_on_pool(struct call_ctx *c, void *self, const void *args, struct tool_result *result,
                 fs_body *body);
#define FS_TOOL(name)                                                                              \
    err_t name##_tool(struct call_ctx *c, void *self, const void *args,                            \
                      struct tool_result *result) {                                                \
        return fs_on_pool(c, self, args, result, name##_now);                                      \
    }
#define FS_ANSWER(rows, value, result)                                                             \
    do {                                                                                           \
        struct jw w_ = jw_init(&(result)->structured);                                             \
        field_write(rows, ARRAY_SIZE(rows), value, &w_);                                           \
    } while (0)

static inline void fd_scope(int *fd) {
    if (*fd >= 0)
        close(*fd);
}
