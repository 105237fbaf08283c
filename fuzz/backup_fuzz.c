/* backup_fuzz.c - any bytes as an archive that is to be restored into a data directory whose master
 * key the seeds know (32 zero bytes), so that some get behind the manifest's HMAC. Refused, and
 * then nothing is left of it; or restored, which needs a whole store. */
#include "base/file.h"
#include "base/mem.h"
#include "control/backup.h"
#include <assert.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char folder[] = "/tmp/gatespan-fuzz-XXXXXX";
static struct control *control;
static int input = -1;

static void each_entry(const char *path, void (*fn)(int dir, const char *name)) {
    DIR *dir = opendir(path);
    for (struct dirent *e; dir && (e = readdir(dir));)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            fn(dirfd(dir), e->d_name);
    if (dir)
        closedir(dir);
}

static void remove_entry(int dir, const char *name) {
    if (unlinkat(dir, name, 0) < 0)
        unlinkat(dir, name, AT_REMOVEDIR);
}

static void remove_folder(void) {
    control_free(control);
    each_entry(folder, remove_entry);
    rmdir(folder);
}

/* What a restore makes: its own folder, the old store aside, the configuration. */
static bool made_by_restore(const char *name) {
    return strstr(name, "restore") != NULL;
}

static size_t left;

static void remove_made(int dir, const char *name) {
    if (made_by_restore(name)) {
        left++;
        remove_entry(dir, name);
    }
}

static void open_folder(void) {
    static const char zero[SHA256_SIZE];
    char path[sizeof folder + 16];
    assert(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/master.key", folder);
    assert(!file_write(str_of(path), str_from(zero, sizeof zero)));
    assert(!control_open_offline(str_of(folder), S(""), false, &control));
    input = memfd_create("archive", MFD_CLOEXEC);
    assert(input >= 0);
    atexit(remove_folder);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    SCOPED(arena_scope) struct arena a;
    struct restore_report report;
    char path[64];
    if (!control)
        open_folder();
    arena_init(&a, NULL, 0);
    assert(ftruncate(input, 0) == 0 && pwrite(input, data, size, 0) == (ssize_t)size);
    snprintf(path, sizeof path, "/proc/self/fd/%d", input);
    err_t e = control_restore(NULL, control, &a, str_of(path), S(""), &report);
    left = 0;
    each_entry(folder, remove_made);
    assert(!e || left <= 1); /* the old store is kept before the new one is looked at for good */
    return 0;
}
