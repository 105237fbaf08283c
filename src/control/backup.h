/* backup.h - everything that a gateway knows as one file, and back.
 *
 * The file is a tar archive:
 *   manifest.json     what made it, when, the schema, the master key's fingerprint, and for
 *                     each file below its size and SHA-256
 *   manifest.hmac     HMAC-SHA-256 of the manifest under a key derived from the master key, so
 *                     that nobody who lacks that can change the archive unseen
 *   gatespan.db       a consistent copy of the store
 *   config.sealed     the configuration file, when there is one, under a key derived from the
 *                     master key: it may hold secrets
 *   master.key.sealed only when a passphrase was given: the master key under scrypt
 *
 * Without a passphrase the master key is not in it: the archive is of use only together with
 * the master.key of its data directory, and useless to whoever finds it.
 *
 * Restoring checks the HMAC before a byte of the rest is believed, then all of it before anything
 * changes, keeps the present database aside and
 * swaps atomically. While the gateway runs, only an archive of the same master key can be
 * restored; another one needs the gateway stopped, and its passphrase.
 *
 * Threads  tasks of any worker; t == NULL while no workers run
 * Waits    yes
 */
#pragma once
#include "control/control.h"

struct backup_options {
    struct str passphrase; /* empty: the master key stays out */
};
/* Writes the archive into a new file of mode 0600. Others go on working. */
err_t control_backup(struct task *t, struct control *c, struct str path,
                     const struct backup_options *options);

struct restore_report {
    struct str created, program; /* of the archive */
    struct str aside;            /* where the database before it is kept; empty: there was none */
    struct str config;           /* where its configuration file was put; empty: none was in it */
    bool new_master;             /* the data directory has another master key now */
};
/* INVALID when anything in the archive is not as it was made; CONFLICT when it is of another
 * master key and cannot be restored here. Texts in the arena. */
err_t control_restore(struct task *t, struct control *c, struct arena *a, struct str path,
                      struct str passphrase, struct restore_report *out);

/* For data.c: a restore that a crash cut off after its point of no return is finished. */
err_t restore_finish(struct str data);
