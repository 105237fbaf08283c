/* corpus.h - runs a test over every file of a folder under tests/corpus.
 *
 * Files are named as JSONTestSuite names them: y_ must be accepted, n_ must be refused,
 * i_ may be either. CORPUS_DIR comes from meson. */
#pragma once
#include "base/buf.h"
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

typedef void corpus_fn(const char *name, struct str text, void *arg);

static inline void corpus_read(const char *path, struct buf *out) {
    FILE *f = fopen(path, "rb");
    if (!f) {
        perror(path);
        abort();
    }
    char block[4096];
    for (size_t n; (n = fread(block, 1, sizeof(block), f)) > 0;)
        buf_put(out, block, n);
    fclose(f);
}

/* An exact copy goes to fn, so that a sanitizer sees a read beyond the end. */
static inline void corpus_visit(const char *folder, const char *name, corpus_fn *fn, void *arg) {
    struct buf path = { 0 }, text = { 0 };
    buf_fmt(&path, "%s/%s/%s", CORPUS_DIR, folder, name);
    corpus_read(buf_text(&path), &text);
    char *exact = memcpy(malloc(text.n ? text.n : 1), buf_text(&text), text.n);
    fn(name, str_from(exact, text.n), arg);
    free(exact);
    buf_done(&text);
    buf_done(&path);
}

/* Visits the files of CORPUS_DIR/<folder> in the order of their names; returns how many. */
static inline size_t corpus_each(const char *folder, corpus_fn *fn, void *arg) {
    struct buf dir = { 0 };
    buf_fmt(&dir, "%s/%s", CORPUS_DIR, folder);
    struct dirent **files = NULL;
    int n = scandir(buf_text(&dir), &files, NULL, alphasort);
    size_t visited = 0;
    for (int i = 0; i < n; i++) {
        if (files[i]->d_name[0] != '.') {
            corpus_visit(folder, files[i]->d_name, fn, arg);
            visited++;
        }
        free(files[i]);
    }
    free(files);
    buf_done(&dir);
    return visited;
}
