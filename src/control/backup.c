/* backup.c - making the archive, see backup.h. The copy of the store is written first, so that
 * the manifest, which stands in front, knows its digest. */
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "control/backup_private.h"
#include "control/libarchive.h"
#include "store/migrate.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CONFIG_LIMIT = 16 * 1024 * 1024, STEP = 64 * 1024 };

void backup_keys(const uint8_t master[SHA256_SIZE], struct backup_keys *out) {
    uint8_t mark[SHA256_SIZE];
    SCOPED(buf_done) struct buf hex = { 0 };
    crypto_derive(master, "backup-manifest", out->hmac);
    crypto_derive(master, "backup-config", out->config.keys[0].key);
    out->config.count = 1;
    crypto_derive(master, "backup-fingerprint", mark);
    hex_put(&hex, mark, 8);
    memcpy(out->fingerprint, buf_text(&hex), sizeof out->fingerprint);
}

void backup_passphrase_ring(struct str passphrase, const uint8_t salt[SCRYPT_SALT],
                            struct seal_ring *out) {
    *out = (struct seal_ring){ .count = 1 };
    crypto_scrypt(passphrase, salt, out->keys[0].key);
}

err_t backup_run(struct task *t, err_t (*fn)(void *arg, const bool *cancelled), void *arg) {
    return t ? work_run(t, fn, arg) : fn(arg, NULL);
}

void backup_remove_folder(const char *path) {
    DIR *dir = opendir(path);
    for (struct dirent *e; dir && (e = readdir(dir));)
        if (e->d_name[0] != '.')
            unlinkat(dirfd(dir), e->d_name, 0);
    if (dir)
        closedir(dir);
    rmdir(path);
}

/* ---- what goes in ------------------------------------------------------------------ */

struct archived {
    const char *name;
    struct str text;  /* or, when path is set, the file */
    const char *path;
    uint64_t bytes;
    uint8_t digest[SHA256_SIZE];
};

enum { PARTS = 3 };

struct making {
    struct control *control;
    const char *path, *folder;
    struct str passphrase;
    struct arena arena;
    struct backup_keys keys;
    struct archived parts[PARTS];
    size_t n;
};

static void add_text(struct making *m, const char *name, struct str text) {
    struct archived *p = &m->parts[m->n++];
    *p = (struct archived){ .name = name, .text = text, .bytes = text.n };
    crypto_sha256(text, p->digest);
}

static err_t digest_file(const char *path, uint64_t *bytes, uint8_t digest[SHA256_SIZE]) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_errno(errno, "reading %s", path);
    struct sha256 *sum = sha256_new();
    SCOPED(mem_scope) char *step = mem_alloc(STEP);
    ssize_t n;
    *bytes = 0;
    while ((n = read(fd, step, STEP)) > 0) {
        sha256_add(sum, step, (size_t)n);
        *bytes += (uint64_t)n;
    }
    sha256_end(sum, digest);
    int problem = errno;
    close(fd);
    return n < 0 ? err_errno(problem, "reading %s", path) : OK;
}

static err_t add_store(struct making *m) {
    struct archived *p = &m->parts[m->n++];
    *p = (struct archived){ .name = BACKUP_STORE,
                        .path = arena_text(&m->arena, arena_fmt(&m->arena, "%s/" BACKUP_STORE, m->folder)) };
    TRY(store_backup(NULL, m->control->store, str_of(p->path)));
    return digest_file(p->path, &p->bytes, p->digest);
}

/* {"name":…,"text":…}, sealed. A configuration that cannot be read is no reason for no backup. */
static void add_config(struct making *m) {
    SCOPED(buf_done) struct buf text = { 0 };
    SCOPED(buf_done) struct buf plain = { 0 };
    SCOPED(buf_done) struct buf sealed = { 0 };
    struct str path = m->control->options.config;
    bool missing = true;
    err_t e = path.n ? file_read(path, CONFIG_LIMIT, &text, &missing) : OK;
    if (e)
        log_warn("the configuration file is not in the backup", F("error", e->text));
    if (e || missing)
        return;
    struct jw w = jw_init(&plain);
    jw_object(&w);
    jw_put_string(&w, "path", path);
    jw_put_string(&w, "text", buf_view(&text));
    jw_object_end(&w);
    crypto_seal(&m->keys.config, S(BACKUP_CONFIG), buf_view(&plain), &sealed);
    add_text(m, BACKUP_CONFIG, arena_dup(&m->arena, buf_view(&sealed)));
    crypto_wipe(text.p, text.n);
    crypto_wipe(plain.p, plain.n);
}

/* Hex of the salt, a space, the sealed key. */
static void add_master(struct making *m) {
    uint8_t salt[SCRYPT_SALT];
    struct seal_ring ring;
    SCOPED(buf_done) struct buf text = { 0 };
    if (!m->passphrase.n)
        return;
    crypto_random(salt, sizeof salt);
    backup_passphrase_ring(m->passphrase, salt, &ring);
    hex_put(&text, salt, sizeof salt);
    buf_char(&text, ' ');
    crypto_seal(&ring, S(BACKUP_MASTER), str_from((const char *)m->control->master, SHA256_SIZE),
                &text);
    crypto_wipe(&ring, sizeof ring);
    add_text(m, BACKUP_MASTER, arena_dup(&m->arena, buf_view(&text)));
}

static void write_manifest(const struct making *m, struct buf *out) {
    char now[CLOCK_TEXT];
    struct jw w = jw_init(out);
    jw_object(&w);
    jw_put_int(&w, "format", 1);
    jw_put_string(&w, "program", S("gatespan " GATESPAN_VERSION));
    jw_put_string(&w, "created", clock_rfc3339(clock_wall(), now));
    jw_put_int(&w, "schema", (int64_t)migration_count);
    jw_put_string(&w, "master_key", str_of(m->keys.fingerprint));
    jw_put_bool(&w, "master_key_included", m->passphrase.n > 0);
    jw_key(&w, S("files"));
    jw_array(&w);
    for (size_t i = 0; i < m->n; i++) {
        SCOPED(buf_done) struct buf hex = { 0 };
        hex_put(&hex, m->parts[i].digest, SHA256_SIZE);
        jw_object(&w);
        jw_put_string(&w, "name", str_of(m->parts[i].name));
        jw_put_int(&w, "bytes", (int64_t)m->parts[i].bytes);
        jw_put_string(&w, "sha256", buf_view(&hex));
        jw_object_end(&w);
    }
    jw_array_end(&w);
    jw_object_end(&w);
    buf_char(out, '\n');
}

/* ---- the archive ------------------------------------------------------------------- */

static err_t archive_failed(struct archive *a, const char *path) {
    int number = sym_archive_errno(a);
    const char *text = sym_archive_error_string(a);
    return number > 0 ? err_errno(number, "writing %s", path)
                      : ERR(INTERNAL, "writing %s: %s", path, text ? text : "unknown");
}

static err_t put_head(struct archive *a, const char *path, const char *name, uint64_t bytes) {
    struct archive_entry *e = sym_archive_entry_new();
    sym_archive_entry_set_pathname(e, name);
    sym_archive_entry_set_size(e, (la_int64_t)bytes);
    sym_archive_entry_set_filetype(e, AE_IFREG);
    sym_archive_entry_set_perm(e, 0600);
    sym_archive_entry_set_mtime(e, clock_wall() / NANOS_SEC, 0);
    int code = sym_archive_write_header(a, e);
    sym_archive_entry_free(e);
    return code == ARCHIVE_OK ? OK : archive_failed(a, path);
}

static err_t put_bytes(struct archive *a, const char *path, const void *p, size_t n) {
    return sym_archive_write_data(a, p, n) == (la_ssize_t)n ? OK : archive_failed(a, path);
}

static err_t put_file(struct archive *a, const char *path, const char *from) {
    SCOPED(mem_scope) char *step = mem_alloc(STEP);
    int fd = open(from, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_errno(errno, "reading %s", from);
    err_t e = OK;
    ssize_t n;
    while (!e && (n = read(fd, step, STEP)) > 0)
        e = put_bytes(a, path, step, (size_t)n);
    close(fd);
    return e;
}

static err_t put_text(struct archive *a, const char *path, const char *name, struct str text) {
    TRY(put_head(a, path, name, text.n));
    return put_bytes(a, path, text.p, text.n);
}

static err_t write_parts(struct making *m, struct archive *a) {
    SCOPED(buf_done) struct buf manifest = { 0 };
    SCOPED(buf_done) struct buf hex = { 0 };
    uint8_t mac[SHA256_SIZE];
    write_manifest(m, &manifest);
    crypto_hmac(m->keys.hmac, buf_view(&manifest), mac);
    hex_put(&hex, mac, SHA256_SIZE);
    TRY(put_text(a, m->path, BACKUP_MANIFEST, buf_view(&manifest)));
    TRY(put_text(a, m->path, BACKUP_HMAC, buf_view(&hex)));
    for (size_t i = 0; i < m->n; i++) {
        const struct archived *p = &m->parts[i];
        TRY(put_head(a, m->path, p->name, p->bytes));
        TRY(p->path ? put_file(a, m->path, p->path) : put_bytes(a, m->path, p->text.p, p->text.n));
    }
    return sym_archive_write_close(a) == ARCHIVE_OK ? OK : archive_failed(a, m->path);
}

static err_t write_archive(struct making *m) {
    int fd = open(m->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return errno == EEXIST
                   ? ERR(CONFLICT, "%s is there already; a backup does not overwrite", m->path)
                   : err_errno(errno, "writing %s", m->path);
    struct archive *a = sym_archive_write_new();
    sym_archive_write_set_format_pax_restricted(a);
    err_t e = sym_archive_write_open_fd(a, fd) == ARCHIVE_OK ? write_parts(m, a)
                                                             : archive_failed(a, m->path);
    if (!e && fsync(fd) < 0)
        e = err_errno(errno, "syncing %s", m->path);
    struct err saved = e ? *e : (struct err){ 0 };
    sym_archive_write_free(a);
    close(fd);
    if (!e)
        return OK;
    unlink(m->path);
    return err_again(&saved);
}

static err_t make_now(void *arg, const bool *cancelled) {
    (void)cancelled;
    struct making *m = arg;
    SCOPED(buf_done) struct buf folder = { 0 };
    TRY(lazy_load(&libarchive_library, "making a backup"));
    buf_fmt(&folder, "%.*s/backup.tmp-XXXXXX", STR(m->control->data));
    buf_text(&folder);
    if (!mkdtemp(folder.p))
        return err_errno(errno, "making a folder in %.*s", STR(m->control->data));
    m->folder = folder.p;
    err_t e = add_store(m);
    if (!e) {
        add_config(m);
        add_master(m);
        e = write_archive(m);
    }
    struct err saved = e ? *e : (struct err){ 0 };
    backup_remove_folder(m->folder);
    return e ? err_again(&saved) : OK;
}

err_t control_backup(struct task *t, struct control *c, struct str path,
                     const struct backup_options *options) {
    struct making m = { .control = c, .passphrase = options->passphrase };
    if (!c->store)
        return ERR(CONFLICT, "this process has no data directory, so there is nothing to back up");
    arena_init(&m.arena, NULL, 0);
    m.path = arena_text(&m.arena, path);
    backup_keys(c->master, &m.keys);
    err_t e = backup_run(t, make_now, &m);
    struct err saved = e ? *e : (struct err){ 0 };
    crypto_wipe(&m.keys, sizeof m.keys);
    arena_done(&m.arena);
    return e ? err_again(&saved) : OK;
}
