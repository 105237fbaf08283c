/* data.c - the data directory: made 0700, locked against a second gateway, with the master
 * key from which every other key is derived (DESIGN decisions 13 and 15). */
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "control/backup_private.h"
#include "control/private.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <unistd.h>

static err_t lock_data(struct control *c) {
    const char *name = arena_text(&c->arena, arena_fmt(&c->arena, "%.*s/lock", STR(c->data)));
    c->lock_fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (c->lock_fd < 0)
        return err_errno(errno, "opening %s", name);
    if (flock(c->lock_fd, LOCK_EX | LOCK_NB) < 0)
        return ERR(CONFLICT,
                   "another gateway uses the data directory %.*s; stop it or give this one its own "
                   "with --data",
                   STR(c->data));
    return OK;
}

static void derive_keys(struct control *c) {
    crypto_derive(c->master, "key-hmac", c->hmac_key);
    c->seal.count = c->tickets.count = c->columns.count = 1;
    crypto_derive(c->master, "cursor", c->seal.keys[0].key);
    crypto_derive(c->master, "tls-tickets", c->tickets.keys[0].key);
    crypto_derive(c->master, "store-columns", c->columns.keys[0].key);
}

static err_t load_master(struct control *c) {
    bool made;
    TRY(master_key_load(arena_fmt(&c->arena, "%.*s/master.key", STR(c->data)), c->master, &made));
    derive_keys(c);
    return OK;
}

void data_none(struct control *c) {
    crypto_random(c->master, sizeof c->master);
    derive_keys(c);
}

static err_t open_store(struct control *c) {
    const struct store_conf conf = { .path = arena_fmt(&c->arena, "%.*s/gatespan.db",
                                                       STR(c->data)) };
    TRY(store_open(&conf, &c->store));
    c->registry = registry_new(c->store, &c->columns);
    c->key_store = (struct key_store){ c->registry, c->hmac_key };
    c->history = history_new(c->store, &c->columns);
    return idempotency_expire(NULL, c->registry, true);
}

err_t data_exists(struct control *c) {
    const char *key = arena_text(&c->arena, arena_fmt(&c->arena, "%.*s/master.key", STR(c->data)));
    return access(key, F_OK) == 0
               ? OK
               : ERR(NOT_FOUND, "%.*s is no data directory of a gateway: name it with --data",
                     STR(c->data));
}

/* What a backup or restore that was cut off by a crash has left: copies of the store. Nobody
 * works on one now, since the lock is ours. */
static void remove_leftovers(struct control *c) {
    static const char *const unfinished[] = { "restore.tmp-", "restore.in-", "backup.tmp-",
                                              "backup.out-" };
    DIR *dir = opendir(arena_text(&c->arena, c->data));
    for (struct dirent *e; dir && (e = readdir(dir));)
        for (size_t i = 0; i < ARRAY_SIZE(unfinished); i++)
            if (str_starts(str_of(e->d_name), str_of(unfinished[i]))) {
                const char *path = arena_text(
                    &c->arena, arena_fmt(&c->arena, "%.*s/%s", STR(c->data), e->d_name));
                if (unlink(path) < 0)
                    backup_remove_folder(path);
            }
    if (dir)
        closedir(dir);
}

/* All but the store. */
static err_t prepare(struct control *c) {
    TRY(folder_make(c->data));
    TRY(folder_make(arena_fmt(&c->arena, "%.*s/catalogue", STR(c->data))));
    TRY(lock_data(c));
    TRY(restore_finish(c->data));
    remove_leftovers(c);
    return load_master(c);
}

err_t data_open(struct control *c) {
    TRY(prepare(c));
    return open_store(c);
}

err_t data_open_to_restore(struct control *c) {
    TRY(prepare(c));
    err_t e = open_store(c);
    if (!e)
        return OK;
    log_warn("the database is replaced as it is", F("error", e->text));
    registry_free(TAKE(c->registry));
    history_free(TAKE(c->history));
    store_close(TAKE(c->store));
    return OK;
}
