/* backup_private.h - the archive's form, for backup.c and restore.c. */
#pragma once
#include "base/json.h"
#include "control/backup.h"
#include "control/private.h"

#define BACKUP_MANIFEST "manifest.json"
#define BACKUP_HMAC "manifest.hmac"
#define BACKUP_STORE "gatespan.db"
#define BACKUP_CONFIG "config.sealed"
#define BACKUP_MASTER "master.key.sealed"
#define RESTORE_READY "restore.ready"

/* Keys of a master key that archives need. */
struct backup_keys {
    uint8_t hmac[SHA256_SIZE];
    struct seal_ring config;
    char fingerprint[17]; /* tells master keys apart, tells nothing else */
};
void backup_keys(const uint8_t master[SHA256_SIZE], struct backup_keys *out);
/* The ring that seals the master key under a passphrase. */
void backup_passphrase_ring(struct str passphrase, const uint8_t salt[SCRYPT_SALT],
                            struct seal_ring *out);
/* Runs fn on the blocking pool, or here without a task. */
err_t backup_run(struct task *t, err_t (*fn)(void *arg, const bool *cancelled), void *arg);
/* Removes a folder of plain files. */
void backup_remove_folder(const char *path);
