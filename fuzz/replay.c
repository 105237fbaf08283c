/* replay.c - runs a fuzz target over the files of folders, without libFuzzer: the corpus as a
 * unit test, with any compiler.
 *
 * usage: TARGET_replay FOLDER… */
#include "base/mem.h"
#include <assert.h>
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

static void replay(const char *folder, const char *name) {
    char path[1024];
    static uint8_t data[1 << 20];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    fprintf(stderr, "%s\n", path); /* the last line before an assertion fails */
    FILE *f = fopen(path, "rb");
    assert(f);
    size_t n = fread(data, 1, sizeof data, f);
    fclose(f);
    LLVMFuzzerTestOneInput(data, n);
}

int main(int argc, char **argv) {
    size_t count = 0;
    LLVMFuzzerInitialize(&argc, &argv);
    for (int i = 1; i < argc; i++) {
        struct dirent **names = NULL;
        int n = scandir(argv[i], &names, NULL, alphasort);
        for (int k = 0; k < n; k++) {
            if (names[k]->d_name[0] != '.') {
                replay(argv[i], names[k]->d_name);
                count++;
            }
            free(names[k]);
        }
        free(names);
    }
    printf("%zu inputs\n", count);
    return count == 0;
}
