/* restore.c - from an archive back to a data directory, see backup.h.
 *
 * The archive is read twice: first its manifest, whose HMAC is checked before a byte of the rest
 * is believed or unpacked (who could write anything there could fill the disk), then the rest,
 * into a folder beside, where it is checked against the manifest. With the same master key the
 * store replaces its content in one transaction. With another one, or where the present store
 * cannot be opened (both offline), files change: the folder gets the name restore.ready, which is
 * the point of no return, and what is in it is moved; a start that finds it goes on with that. */
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "control/backup_private.h"
#include "control/libarchive.h"
#include "store/migrate.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum { TEXT_LIMIT = 32 * 1024 * 1024, MANIFEST_LIMIT = 64 * 1024, STEP = 64 * 1024 };

struct listed { /* one file as the manifest has it */
    struct str name, sha256;
    int64_t bytes;
};
struct manifest {
    int64_t format, schema;
    struct str program, created, master_key;
    bool master_key_included;
    struct item_list files;
};
static const struct field listed_rows[] = {
    FIELD(struct listed, name, STR, NULL, "1..64", FIELD_REQUIRED, "Name."),
    FIELD(struct listed, bytes, INT, NULL, "0..", FIELD_REQUIRED, "Size."),
    FIELD(struct listed, sha256, STR, NULL, "64..64", FIELD_REQUIRED, "Digest."),
};
#define T struct manifest
static const struct field manifest_rows[] = {
    FIELD(T, format, INT, NULL, "1..1", FIELD_REQUIRED, "Form of the archive."),
    FIELD(T, program, STR, NULL, "..128", FIELD_REQUIRED, "What made it."),
    FIELD(T, created, STR, NULL, "..64", FIELD_REQUIRED, "When."),
    FIELD(T, schema, INT, NULL, "1..", FIELD_REQUIRED, "Version of the store's schema."),
    FIELD(T, master_key, STR, NULL, "16..16", FIELD_REQUIRED, "Fingerprint of the master key."),
    FIELD(T, master_key_included, BOOL, "false", NULL, 0, "It is in the archive, sealed."),
    FIELD_NEST(T, files, LIST, listed_rows, struct listed, FIELD_REQUIRED, "What else is in it."),
};
#undef T

struct restoring {
    struct control *control;
    struct arena *arena; /* the caller's */
    const char *path, *folder;
    struct str passphrase;
    bool online;
    struct archive *archive;
    struct str manifest_text;
    struct manifest manifest;
    uint8_t master[SHA256_SIZE];
    struct backup_keys keys;   /* of the archive's master key */
    bool other_master;
    struct str hmac, config, master_sealed, master_again; /* p == NULL: not there */
    size_t seen;
    struct restore_report report;
};

static err_t bad(const struct restoring *r, const char *what) {
    return ERR(INVALID, "%s is not restored, nothing was changed: %s", r->path, what);
}

/* ---- reading --------------------------------------------------------------------- */

static err_t next_entry(struct restoring *r, const char **name) {
    struct archive_entry *e;
    int code = sym_archive_read_next_header(r->archive, &e);
    *name = NULL;
    if (code == ARCHIVE_EOF)
        return OK;
    if (code != ARCHIVE_OK)
        return bad(r, "it is no archive, or it was cut short");
    const char *path = sym_archive_entry_pathname(e);
    if (!path || sym_archive_entry_filetype(e) != AE_IFREG || sym_archive_entry_hardlink(e))
        return bad(r, "there is something in it that is no plain file");
    *name = arena_text(r->arena, str_of(path));
    return OK;
}

static err_t read_text(struct restoring *r, size_t limit, struct str *out) {
    SCOPED(buf_done) struct buf text = { 0 };
    for (;;) {
        buf_reserve(&text, STEP);
        la_ssize_t n = sym_archive_read_data(r->archive, text.p + text.n, STEP);
        if (n < 0)
            return bad(r, "it was cut short");
        if (n == 0)
            break;
        text.n += (size_t)n;
        if (text.n > limit)
            return bad(r, "a file in it is larger than any of ours");
    }
    *out = arena_dup(r->arena, buf_view(&text));
    return OK;
}

/* Runs fn with the archive open at its beginning. */
static err_t with_archive(struct restoring *r, err_t (*fn)(struct restoring *r)) {
    TRY(lazy_load(&libarchive_library, "restoring a backup"));
    r->archive = sym_archive_read_new();
    sym_archive_read_support_format_tar(r->archive);
    err_t e = OK;
    int fd = open(r->path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        e = err_errno(errno, "reading %s", r->path);
    else if (sym_archive_read_open_fd(r->archive, fd, STEP) != ARCHIVE_OK)
        e = bad(r, "it is no archive");
    else
        e = fn(r);
    struct err saved = e ? *e : (struct err){ 0 };
    sym_archive_read_free(r->archive);
    if (fd >= 0)
        close(fd);
    return e ? err_again(&saved) : OK;
}

static err_t read_manifest(struct restoring *r) {
    const char *name;
    json document;
    struct field_problems problems = { .arena = r->arena };
    TRY(next_entry(r, &name));
    if (!name || strcmp(name, BACKUP_MANIFEST) != 0)
        return bad(r, "it is no backup of Gatespan: it does not begin with " BACKUP_MANIFEST);
    TRY(read_text(r, MANIFEST_LIMIT, &r->manifest_text));
    if (json_parse(r->arena, r->manifest_text, (struct json_limits){ 0 }, &document))
        return bad(r, "its manifest is not JSON");
    field_defaults(manifest_rows, ARRAY_SIZE(manifest_rows), &r->manifest, r->arena);
    field_read(manifest_rows, ARRAY_SIZE(manifest_rows), document, S(""), &r->manifest, r->arena,
               &problems);
    if (problems.errors)
        return bad(r, "its manifest is not one of this version");
    if (r->manifest.schema > (int64_t)migration_count)
        return bad(r, "a newer Gatespan made it: restore it with that one");
    return OK;
}

static const struct listed *find_listed(const struct restoring *r, const char *name) {
    const struct listed *all = r->manifest.files.items;
    for (size_t i = 0; i < r->manifest.files.n; i++)
        if (str_eq(all[i].name, str_of(name)))
            return &all[i];
    return NULL;
}

static err_t read_head(struct restoring *r) {
    const char *name;
    TRY(read_manifest(r));
    TRY(next_entry(r, &name));
    if (!name || strcmp(name, BACKUP_HMAC) != 0)
        return bad(r, BACKUP_HMAC " is missing");
    return read_text(r, MANIFEST_LIMIT, &r->hmac);
}

/* The sealed master key opens what authenticates all else; its own seal authenticates it. */
static err_t read_master(struct restoring *r) {
    const char *name;
    for (;;) {
        TRY(next_entry(r, &name));
        if (!name)
            return bad(r, BACKUP_MASTER " is missing");
        if (strcmp(name, BACKUP_MASTER) == 0)
            return read_text(r, MANIFEST_LIMIT, &r->master_sealed);
    }
}

/* ---- whose it is ------------------------------------------------------------------- */

static err_t open_master(struct restoring *r) {
    uint8_t salt[SCRYPT_SALT];
    struct seal_ring ring;
    SCOPED(buf_done) struct buf plain = { 0 };
    struct str rest = r->master_sealed, hex = str_cut(&rest, ' ');
    if (!hex_get(hex, salt, sizeof salt))
        return bad(r, BACKUP_MASTER " was changed");
    backup_passphrase_ring(r->passphrase, salt, &ring);
    err_t e = crypto_open(&ring, S(BACKUP_MASTER), rest, &plain);
    crypto_wipe(&ring, sizeof ring);
    if (e || plain.n != SHA256_SIZE)
        return bad(r, "the passphrase is not the one it was made with");
    memcpy(r->master, plain.p, SHA256_SIZE);
    crypto_wipe(plain.p, plain.n);
    return OK;
}

static err_t find_master(struct restoring *r) {
    memcpy(r->master, r->control->master, SHA256_SIZE);
    backup_keys(r->master, &r->keys);
    if (str_eq(r->manifest.master_key, str_of(r->keys.fingerprint)))
        return OK;
    r->other_master = true;
    if (r->online)
        return ERR(CONFLICT,
                   "%s belongs to another master key, which a running gateway cannot change: stop "
                   "it and use gatespan restore",
                   r->path);
    if (!r->manifest.master_key_included)
        return ERR(
            CONFLICT,
            "%s belongs to another master key, which is not in it: put the master.key of its "
            "data directory into %.*s first",
            r->path, STR(r->control->data));
    if (!r->passphrase.n)
        return ERR(CONFLICT,
                   "%s belongs to another master key: give the passphrase that it was made with "
                   "(--passphrase-file)",
                   r->path);
    TRY(with_archive(r, read_master));
    TRY(open_master(r));
    backup_keys(r->master, &r->keys);
    return str_eq(r->manifest.master_key, str_of(r->keys.fingerprint))
               ? OK
               : bad(r, "the master key in it is not the one its manifest names");
}

static err_t check_manifest(struct restoring *r) {
    uint8_t wanted[SHA256_SIZE], have[SHA256_SIZE];
    crypto_hmac(r->keys.hmac, r->manifest_text, wanted);
    if (!hex_get(str_trim(r->hmac), have, SHA256_SIZE) || !crypto_equal(wanted, have, SHA256_SIZE))
        return bad(r, "its manifest was changed by somebody without the master key");
    return OK;
}

/* ---- unpacking -------------------------------------------------------------------- */

static err_t check_digest(const struct restoring *r, const struct listed *l, uint64_t bytes,
                          const uint8_t digest[SHA256_SIZE]) {
    uint8_t wanted[SHA256_SIZE];
    if ((int64_t)bytes != l->bytes || !hex_get(l->sha256, wanted, SHA256_SIZE) ||
        memcmp(wanted, digest, SHA256_SIZE) != 0)
        return ERR(INVALID,
                   "%s is not restored, nothing was changed: %.*s in it was damaged or changed",
                   r->path, STR(l->name));
    return OK;
}

static err_t copy_out(struct restoring *r, int fd, uint64_t limit, uint64_t *bytes,
                      uint8_t digest[SHA256_SIZE]) {
    SCOPED(mem_scope) char *step = mem_alloc(STEP);
    struct sha256 *sum = sha256_new();
    err_t e = OK;
    la_ssize_t n;
    *bytes = 0;
    while (!e && (n = sym_archive_read_data(r->archive, step, STEP)) != 0) {
        if (n < 0 || *bytes + (uint64_t)n > limit) {
            e = bad(r, "it was cut short or changed");
            break;
        }
        sha256_add(sum, step, (size_t)n);
        *bytes += (uint64_t)n;
        if (write(fd, step, (size_t)n) != n)
            e = err_errno(errno ? errno : ENOSPC, "unpacking into %s", r->folder);
    }
    sha256_end(sum, digest);
    if (!e && fsync(fd) < 0)
        e = err_errno(errno, "unpacking into %s", r->folder);
    return e;
}

static err_t unpack_store(struct restoring *r, const struct listed *l) {
    uint64_t bytes;
    uint8_t digest[SHA256_SIZE];
    const char *path = arena_text(r->arena, arena_fmt(r->arena, "%s/" BACKUP_STORE, r->folder));
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_errno(errno, "unpacking %s", path);
    err_t e = copy_out(r, fd, (uint64_t)l->bytes, &bytes, digest);
    close(fd);
    return e ? e : check_digest(r, l, bytes, digest);
}

static err_t unpack_text(struct restoring *r, const struct listed *l, struct str *out) {
    uint8_t digest[SHA256_SIZE];
    TRY(read_text(r, TEXT_LIMIT, out));
    crypto_sha256(*out, digest);
    return check_digest(r, l, out->n, digest);
}

static err_t unpack_one(struct restoring *r, const char *name) {
    const struct listed *l = find_listed(r, name);
    if (!l)
        return bad(r, "there is a file in it that its manifest does not name");
    r->seen++;
    if (strcmp(name, BACKUP_STORE) == 0)
        return unpack_store(r, l);
    if (strcmp(name, BACKUP_CONFIG) == 0 && !r->config.p)
        return unpack_text(r, l, &r->config);
    if (strcmp(name, BACKUP_MASTER) == 0 && !r->master_again.p)
        return unpack_text(r, l, &r->master_again);
    return bad(r, "there is a file in it that this version does not know, or the same twice");
}

/* Behind the manifest and its HMAC, which were read before. */
static err_t unpack(struct restoring *r) {
    const char *name;
    TRY(next_entry(r, &name));
    TRY(next_entry(r, &name));
    for (;;) {
        TRY(next_entry(r, &name));
        if (!name)
            break;
        TRY(unpack_one(r, name));
    }
    if (r->seen != r->manifest.files.n || !find_listed(r, BACKUP_STORE))
        return bad(r, "a file that its manifest names is missing");
    return OK;
}

/* ---- the change -------------------------------------------------------------------- */

/* A second name: until the new one is moved there, the present one stays where it is. */
static err_t link_aside(struct restoring *r, struct str aside, const char *suffix) {
    const char *from = arena_text(
        r->arena, arena_fmt(r->arena, "%.*s/" BACKUP_STORE "%s", STR(r->control->data), suffix));
    const char *to = arena_text(r->arena, arena_fmt(r->arena, "%.*s%s", STR(aside), suffix));
    return link(from, to) == 0 || errno == ENOENT
               ? OK
               : err_errno(errno, "keeping the present database as %s", to);
}

/* Offline, a database that is damaged or that the disk has no room for twice is kept as it is. */
static err_t keep_aside(struct restoring *r) {
    struct control *c = r->control;
    struct str path = arena_fmt(r->arena, "%.*s/before-restore-%lld.db", STR(c->data),
                                (long long)(clock_wall() / NANOS_MS));
    err_t e = c->store ? store_backup(NULL, c->store, path) : OK;
    if (e && r->online)
        return err_wrap(e, "keeping the present database");
    if (e) {
        log_warn("the database is replaced as it is", F("error", e->text));
        store_close(TAKE(c->store));
        unlink(arena_text(r->arena, path));
    }
    if (!c->store) {
        TRY(link_aside(r, path, ""));
        TRY(link_aside(r, path, "-wal"));
    }
    r->report.aside = path;
    return OK;
}

/* Beside the data: where it stood may be another machine's path. */
static err_t put_config(struct restoring *r) {
    SCOPED(buf_done) struct buf plain = { 0 };
    json document;
    if (!r->config.p)
        return OK;
    if (crypto_open(&r->keys.config, S(BACKUP_CONFIG), r->config, &plain) ||
        json_parse(r->arena, arena_dup(r->arena, buf_view(&plain)), (struct json_limits){ 0 },
                   &document))
        return bad(r, BACKUP_CONFIG " cannot be unsealed");
    struct str path = json_get_text(document, S("path")), base = path;
    while (base.n && str_find_char(base, '/') >= 0)
        base = str_skip(base, (size_t)str_find_char(base, '/') + 1);
    if (!base.n || str_eq(base, S("..")) || str_eq(base, S(".")))
        base = S("gatespan.yaml");
    struct str to = arena_fmt(r->arena, "%.*s/restored-%.*s", STR(r->control->data), STR(base));
    TRY(file_write(to, json_get_text(document, S("text"))));
    r->report.config = to;
    return OK;
}

/* Paths of an arena: with arrays for them clang makes one large frame of all that it inlines. */
static const char *path_in(struct arena *a, struct str folder, const char *name) {
    return arena_text(a, arena_fmt(a, "%.*s/%s", STR(folder), name));
}

static err_t move_into(struct arena *a, struct str folder, const char *name, struct str data) {
    const char *from = path_in(a, folder, name), *to = path_in(a, data, name);
    return rename(from, to) < 0 && errno != ENOENT ? err_errno(errno, "moving %s to %s", from, to)
                                                   : OK;
}

static void sync_folder(struct str path) {
    char text[1024];
    snprintf(text, sizeof text, "%.*s", STR(path));
    int fd = open(text, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        fsync(fd);
        close(fd);
    }
}

err_t restore_finish(struct str data) {
    SCOPED(arena_scope) struct arena a = { 0 };
    const char *folder = path_in(&a, data, RESTORE_READY);
    struct str from = str_of(folder);
    if (access(folder, F_OK) < 0)
        return OK;
    if (access(path_in(&a, from, BACKUP_STORE), F_OK) == 0) {
        unlink(path_in(&a, data, BACKUP_STORE "-wal")); /* the log of the old one is not the */
        unlink(path_in(&a, data, BACKUP_STORE "-shm")); /* new one's */
    }
    TRY(move_into(&a, from, BACKUP_STORE, data));
    TRY(move_into(&a, from, "master.key", data));
    sync_folder(data);
    backup_remove_folder(folder);
    return OK;
}

/* Offline: nobody else has the data directory. */
static err_t swap_all(struct restoring *r) {
    struct control *c = r->control;
    const char *ready = arena_text(r->arena,
                                   arena_fmt(r->arena, "%.*s/" RESTORE_READY, STR(c->data)));
    SCOPED(buf_done) struct buf old = { 0 };
    bool missing;
    struct str now = arena_fmt(r->arena, "%.*s/master.key", STR(c->data));
    TRY(file_read(now, SHA256_SIZE, &old, &missing));
    if (r->other_master)
        TRY(file_write(arena_fmt(r->arena, "%.*s.master.key", STR(r->report.aside)),
                       buf_view(&old)));
    crypto_wipe(old.p, old.n);
    TRY(file_write(arena_fmt(r->arena, "%s/master.key", r->folder),
                   str_from((const char *)r->master, SHA256_SIZE)));
    sync_folder(str_of(r->folder));
    store_close(TAKE(c->store));
    if (rename(r->folder, ready) < 0)
        return err_errno(errno, "renaming %s", r->folder);
    sync_folder(c->data);
    r->report.new_master = r->other_master;
    return restore_finish(c->data);
}

static err_t restore_checked(struct restoring *r) {
    struct str staged = arena_fmt(r->arena, "%s/" BACKUP_STORE, r->folder);
    TRY(with_archive(r, read_head));
    TRY(find_master(r));
    TRY(check_manifest(r));
    TRY(with_archive(r, unpack));
    TRY(store_check_file(staged));
    TRY(keep_aside(r));
    bool whole = r->other_master || !r->control->store;
    TRY(whole ? swap_all(r) : store_replace(NULL, r->control->store, staged));
    return put_config(r);
}

static err_t restore_now(void *arg, const bool *cancelled) {
    (void)cancelled;
    struct restoring *r = arg;
    SCOPED(buf_done) struct buf folder = { 0 };
    buf_fmt(&folder, "%.*s/restore.tmp-XXXXXX", STR(r->control->data));
    buf_text(&folder);
    if (!mkdtemp(folder.p))
        return err_errno(errno, "making a folder in %.*s", STR(r->control->data));
    r->folder = folder.p;
    err_t e = restore_checked(r);
    struct err saved = e ? *e : (struct err){ 0 };
    backup_remove_folder(r->folder);
    return e ? err_again(&saved) : OK;
}

/* ---- all of it --------------------------------------------------------------------- */

#define LONGEST (600 * NANOS_SEC)

static err_t take_effect(struct task *t, struct control *c) {
    TRY(idempotency_expire(t, c->registry, true));
    TRY(registry_reload(t, c));
    return keys_publish(t, c);
}

/* A client that leaves does not leave a store behind that is restored but not in effect. */
static err_t restore_alone(struct task *t, void *arg) {
    struct restoring *r = arg;
    SCOPED(shield_scope) struct shield whole = { 0 };
    if (t)
        whole = task_shield(t, LONGEST);
    TRY(backup_run(t, restore_now, r));
    return r->online ? take_effect(t, r->control) : OK;
}

err_t control_restore(struct task *t, struct control *c, struct arena *a, struct str path,
                      struct str passphrase, struct restore_report *out) {
    if (!c->store && c->gateway)
        return ERR(CONFLICT, "this process has no data directory, so nothing can be restored");
    struct restoring r = { .control = c, .arena = a, .path = arena_text(a, path), .passphrase = passphrase,
                           .online = c->gateway != NULL };
    err_t e = registry_alone(t, c->registry, restore_alone, &r);
    crypto_wipe(r.master, sizeof r.master);
    crypto_wipe(&r.keys, sizeof r.keys);
    if (e)
        return e;
    r.report.created = r.manifest.created;
    r.report.program = r.manifest.program;
    *out = r.report;
    log_info("restored", F("backup", path), F("made", r.report.created),
             F("kept_aside", r.report.aside));
    return OK;
}
