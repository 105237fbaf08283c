/* lazy.h - shared libraries that are loaded at their first use instead of with the program.
 *
 * What a gateway uses rarely (an HTTP client for the command line, archives for backups) brings
 * dozens of libraries of its own: more than half of what a start took. Each such library has a
 * header of ours beside the file that uses it, which is all a user includes, with one row for
 * each function (the names are systemd's, which does the same with its optional libraries):
 *
 *     #include <zip.h>
 *     #define ZIP_FUNCTIONS(X) X(zip_open) X(zip_close)
 *     ZIP_FUNCTIONS(LAZY_DECLARE)
 *     extern struct lazy_library zip_library;
 *
 * and one file with the functions and what to load:
 *
 *     ZIP_FUNCTIONS(LAZY_DEFINE)
 *     static const struct lazy_symbol symbols[] = { ZIP_FUNCTIONS(LAZY_ROW) };
 *     struct lazy_library zip_library = LAZY_LIBRARY("libzip.so.4", "libzip4", symbols);
 *     LAZY_NOTE("zip", "what it is good for", "libzip.so.4");
 *
 * A call is `sym_zip_open(…)`. Its prototype is that of the library's own header, so a wrong call
 * does not compile; a call without sym_ does not link; a call before lazy_load crashes.
 *
 * Threads  any, at the same time: it is loaded once, and never unloaded
 * Waits    lazy_load, at first: for the disk, with the stack that constructors want. In a worker
 *          it belongs on the blocking pool (work_run)
 */
#pragma once
#include "base/err.h"
#include <elf.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>

struct lazy_symbol {
    const char *name;
    void *slot; /* the pointer to the function */
};

struct lazy_library {
    const char *soname;  /* of the ABI that the header describes */
    const char *package; /* of Debian, for who lacks it */
    const struct lazy_symbol *symbols;
    size_t count;
    pthread_mutex_t lock;
    atomic_bool loaded;
};

/* All functions can be called after it. UNAVAILABLE names the library, its package and `user`,
 * what it is needed for ("backups"); the next call tries again. */
err_t lazy_load(struct lazy_library *library, const char *user);

#define LAZY_DECLARE(name) extern typeof(name) *sym_##name;
#define LAZY_DEFINE(name) typeof(name) *sym_##name;
#define LAZY_ROW(name) { #name, &sym_##name },
#define LAZY_LIBRARY(file, debian, rows)                                                           \
    { .soname = (file), .package = (debian), .symbols = (rows), .count = sizeof(rows) / sizeof *(rows), \
      .lock = PTHREAD_MUTEX_INITIALIZER }

/* Says in the program file what it may load, for packagers and for whoever makes an image: "ELF
 * Dlopen Metadata" of the UAPI group (systemd-analyze dlopen-metadata, dh_dlopenlibdeps). */
#define LAZY_NOTE(feature, description, file)                                                      \
    static const struct {                                                                          \
        Elf64_Nhdr head; /* the same for 32 bits */                                                \
        char owner[4];                                                                             \
        _Alignas(4) char text[sizeof LAZY_NOTE_TEXT(feature, description, file)];                  \
    } lazy_note __attribute__((used, aligned(4), section(".note.dlopen"))) = {                     \
        { 4, sizeof LAZY_NOTE_TEXT(feature, description, file), 0x407c0c0a },                      \
        "FDO", LAZY_NOTE_TEXT(feature, description, file),                                         \
    }
#define LAZY_NOTE_TEXT(feature, description, file)                                                 \
    "[{\"feature\":\"" feature "\",\"description\":\"" description "\",\"priority\":\"recommended\"," \
    "\"soname\":[\"" file "\"]}]"
