/* backup.c - `gatespan backup` and `gatespan restore`: on the data directory itself when no
 * gateway runs there, else through that gateway's API. */
#include "control/backup.h"
#include "base/file.h"
#include "base/mem.h"
#include "cli/client.h"
#include "cli/libcurl.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PASSPHRASE_LIMIT = 4096, PASSPHRASE_LEAST = 8, ANSWER_LIMIT = 64 * 1024 };

static const struct cli_option backup_options[] = {
    CLIENT_OPTIONS,
    { "data", "DIR", "GATESPAN_DATA", false, "the data directory" },
    { "config", "FILE", "GATESPAN_CONFIG", false, "goes into the backup too; a running gateway takes its own" },
    { "passphrase-file", "FILE", "GATESPAN_PASSPHRASE_FILE", false, "its first line seals the master key, which then is in the backup" },
};

static const struct cli_option restore_options[] = {
    CLIENT_OPTIONS,
    { "data", "DIR", "GATESPAN_DATA", false, "the data directory" },
    { "passphrase-file", "FILE", "GATESPAN_PASSPHRASE_FILE", false, "its first line opens the master key in the backup" },
};

static int read_passphrase(struct cli *c, struct str *out) {
    SCOPED(buf_done) struct buf text = { 0 };
    struct str path = cli_get(c, "passphrase-file");
    bool missing = false;
    *out = S("");
    if (!path.n)
        return 0;
    err_t e = file_read(path, PASSPHRASE_LIMIT, &text, &missing);
    if (e || missing)
        return cli_fail(EXIT_CREDENTIALS, "the passphrase file %.*s: %s", STR(path),
                        e ? e->text : "there is no such file");
    struct str rest = arena_dup(&c->arena, buf_view(&text));
    *out = str_trim(str_cut(&rest, '\n'));
    if (out->n < PASSPHRASE_LEAST)
        return cli_fail(EXIT_CREDENTIALS, "the passphrase in %.*s has less than %d bytes",
                        STR(path), PASSPHRASE_LEAST);
    return 0;
}

static int fail(err_t e) {
    return cli_fail(e->kind == ERR_INVALID ? EXIT_CONFIG : EXIT_FAILURE_, "%s", e->text);
}

/* ---- through the API --------------------------------------------------------------- */

struct transfer {
    CURL *curl;
    struct curl_slist *headers;
    FILE *out;          /* the archive; NULL: the answer goes into `text` */
    struct buf text;
    char error[CURL_ERROR_SIZE];
};

static size_t on_bytes(char *p, size_t size, size_t n, void *arg) {
    struct transfer *x = arg;
    long status = 0;
    sym_curl_easy_getinfo(x->curl, CURLINFO_RESPONSE_CODE, &status);
    if (x->out && status == 200)
        return fwrite(p, 1, size * n, x->out);
    if (x->text.n + size * n > ANSWER_LIMIT)
        return 0;
    buf_put(&x->text, p, size * n);
    return size * n;
}

static void transfer_done(struct transfer *x) {
    if (x->curl) { /* else libcurl may not be loaded */
        sym_curl_slist_free_all(x->headers);
        sym_curl_easy_cleanup(x->curl);
    }
    buf_done(&x->text);
}

/* The API beside the /mcp that --url names. */
static const char *api_url(struct cli *c, const struct mcp_client *m, const char *path) {
    struct str url = str_of(m->url);
    if (str_ends(url, S("/mcp")))
        url.n -= 4;
    return arena_text(&c->arena, arena_fmt(&c->arena, "%.*s%s", STR(url), path));
}

static int transfer_failed(const struct mcp_client *m, struct transfer *x, CURLcode code,
                           long status) {
    struct arena *a = m->arena;
    json answer = NULL;
    if (code)
        return cli_fail(EXIT_UPSTREAM, "%s: %s", m->url,
                        x->error[0] ? x->error : sym_curl_easy_strerror(code));
    err_t unreadable = json_parse(a, arena_dup(a, buf_view(&x->text)), (struct json_limits){ 0 },
                                  &answer);
    struct str message = unreadable ? S("") : json_get_text(answer, S("message"));
    int exit_code = status == 401 || status == 403 ? EXIT_CREDENTIALS : EXIT_FAILURE_;
    return cli_fail(exit_code, "%s answers %ld: %.*s", m->url, status, STR(message));
}

static int post(struct cli *c, const char *path, struct str type, struct str body, FILE *out,
                json *answer) {
    struct mcp_client m;
    SCOPED(transfer_done) struct transfer x = { .out = out };
    int failed = client_open(c, &m);
    if (failed)
        return failed;
    x.curl = sym_curl_easy_init();
    x.headers = sym_curl_slist_append(
        NULL,
        arena_text(&c->arena, arena_fmt(&c->arena, "Authorization: Bearer %.*s", STR(m.key))));
    x.headers = sym_curl_slist_append(
        x.headers, arena_text(&c->arena, arena_fmt(&c->arena, "Content-Type: %.*s", STR(type))));
    x.headers = sym_curl_slist_append(x.headers, "Expect:");
    sym_curl_easy_setopt(x.curl, CURLOPT_URL, api_url(c, &m, path));
    sym_curl_easy_setopt(x.curl, CURLOPT_HTTPHEADER, x.headers);
    sym_curl_easy_setopt(x.curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.n);
    sym_curl_easy_setopt(x.curl, CURLOPT_POSTFIELDS, body.p ? body.p : "");
    sym_curl_easy_setopt(x.curl, CURLOPT_WRITEFUNCTION, on_bytes);
    sym_curl_easy_setopt(x.curl, CURLOPT_WRITEDATA, &x);
    sym_curl_easy_setopt(x.curl, CURLOPT_ERRORBUFFER, x.error);
    sym_curl_easy_setopt(x.curl, CURLOPT_NOSIGNAL, 1L);
    sym_curl_easy_setopt(x.curl, CURLOPT_PROTOCOLS_STR, "http,https");
    CURLcode code = sym_curl_easy_perform(x.curl);
    long status = 0;
    sym_curl_easy_getinfo(x.curl, CURLINFO_RESPONSE_CODE, &status);
    if (code || status != 200)
        return transfer_failed(&m, &x, code, status);
    if (answer && json_parse(&c->arena, arena_dup(&c->arena, buf_view(&x.text)),
                             (struct json_limits){ 0 }, answer))
        *answer = NULL;
    return 0;
}

/* ---- backup ------------------------------------------------------------------------ */

/* To a name of its own first: a backup that failed in the middle is no backup. */
static int fetch_backup(struct cli *c, struct str path, struct str passphrase) {
    SCOPED(buf_done) struct buf body = { 0 };
    const char *name = arena_text(&c->arena, path),
               *partial = arena_text(&c->arena, arena_fmt(&c->arena, "%s.partial", name));
    if (access(name, F_OK) == 0)
        return cli_fail(EXIT_FAILURE_, "%s is there already; a backup does not overwrite", name);
    int fd = open(partial, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    FILE *out = fd < 0 ? NULL : fdopen(fd, "w");
    if (!out)
        return cli_fail(EXIT_FAILURE_, "writing %s: %s", partial, strerrordesc_np(errno));
    if (passphrase.n) {
        struct jw w = jw_init(&body);
        jw_object(&w);
        jw_put_string(&w, "passphrase", passphrase);
        jw_object_end(&w);
    }
    int code = post(c, "/api/v1/backup", S("application/json"), buf_view(&body), out, NULL);
    bool written = fflush(out) == 0 && fsync(fd) == 0;
    int problem = errno;
    fclose(out);
    if (!code && !written)
        code = cli_fail(EXIT_FAILURE_, "writing %s: %s", partial, strerrordesc_np(problem));
    if (!code && rename(partial, name) < 0)
        code = cli_fail(EXIT_FAILURE_, "renaming %s: %s", partial, strerrordesc_np(errno));
    if (code)
        unlink(partial);
    return code;
}

static int run_backup(struct cli *c) {
    struct str path = c->words[0], passphrase, data = cli_data_dir(c);
    struct control *control = NULL;
    int code = read_passphrase(c, &passphrase);
    if (code)
        return code;
    bool remote = cli_has(c, "url") && !cli_has(c, "data");
    err_t e = remote ? NULL : control_open_offline(data, cli_get(c, "config"), false, &control);
    if (e && e->kind != ERR_CONFLICT)
        return fail(e);
    if (control) {
        e = control_backup(NULL, control, path, &(struct backup_options){ passphrase });
        code = e ? fail(e) : 0;
        control_free(control);
    } else {
        code = fetch_backup(c, path, passphrase);
    }
    if (!code && !passphrase.n)
        cli_note(
            c,
            "%.*s is of use only with the master.key of %.*s: keep a copy of that elsewhere, or "
            "use --passphrase-file",
            STR(path), STR(remote ? S("the gateway's data directory") : data));
    return code;
}

/* ---- restore ----------------------------------------------------------------------- */

/* Into the data directory of the gateway, for its owner, who may not be us. */
static err_t copy_in(const char *from, const char *to, const char *folder) {
    struct stat owner;
    char step[2048];
    int in = open(from, O_RDONLY | O_CLOEXEC);
    if (in < 0)
        return err_errno(errno, "reading %s", from);
    int out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    ssize_t n = out < 0 ? -1 : 0;
    while (out >= 0 && (n = read(in, step, sizeof step)) > 0)
        if (write(out, step, (size_t)n) != n) {
            n = -1;
            break;
        }
    int problem = n < 0 ? (errno ? errno : ENOSPC) : 0;
    if (out >= 0 && stat(folder, &owner) == 0 && fchown(out, owner.st_uid, owner.st_gid) < 0 &&
        !problem && geteuid() == 0)
        problem = errno;
    close(in);
    if (out >= 0)
        close(out);
    if (!problem)
        return OK;
    if (out >= 0)
        unlink(to);
    return err_errno(problem, "copying %s to %s", from, to);
}

static int send_file(struct cli *c, struct str path, json *answer) {
    SCOPED(buf_done) struct buf text = { 0 };
    bool missing = false;
    err_t e = file_read(path, (size_t)1 << 30, &text, &missing);
    if (!e && missing)
        e = ERR(NOT_FOUND, "there is no file %.*s", STR(path));
    return e ? fail(e)
             : post(c, "/api/v1/restore", S("application/x-tar"), buf_view(&text), NULL, answer);
}

/* A gateway on this machine finds the archive in its data directory, however large it is. */
static int restore_through(struct cli *c, struct str path, struct str data, bool local,
                           json *answer) {
    if (!local)
        return send_file(c, path, answer);
    struct str name = arena_fmt(&c->arena, "restore.in-%d", (int)getpid());
    const char *to = arena_text(&c->arena, arena_fmt(&c->arena, "%.*s/%.*s", STR(data), STR(name)));
    err_t e = copy_in(arena_text(&c->arena, path), to, arena_text(&c->arena, data));
    if (e)
        return fail(e);
    const char *route = arena_text(&c->arena,
                                   arena_fmt(&c->arena, "/api/v1/restore?file=%.*s", STR(name)));
    int code = post(c, route, S("application/json"), S(""), NULL, answer);
    unlink(to);
    return code;
}

static void tell(struct cli *c, struct str path, struct str created, struct str aside,
                 struct str config) {
    cli_note(c, "restored %.*s of %.*s; what was there before is %.*s", STR(path), STR(created),
             STR(aside));
    if (config.n)
        cli_note(c, "its configuration file is %.*s: compare, and put it where yours is",
                 STR(config));
}

static int restore_here(struct cli *c, struct control *control, struct str path,
                        struct str passphrase) {
    struct restore_report report;
    err_t e = control_restore(NULL, control, &c->arena, path, passphrase, &report);
    if (e)
        return fail(e);
    tell(c, path, report.created, report.aside, report.config);
    if (report.new_master)
        cli_note(c,
                 "the data directory has the master key of the backup now; the one before is "
                 "%.*s.master.key",
                 STR(report.aside));
    return 0;
}

static int run_restore(struct cli *c) {
    struct str path = c->words[0], passphrase, data = cli_data_dir(c);
    struct control *control = NULL;
    json answer = NULL;
    int code = read_passphrase(c, &passphrase);
    if (code)
        return code;
    if (access(arena_text(&c->arena, path), R_OK) < 0)
        return cli_fail(EXIT_USAGE, "%.*s: %s", STR(path), strerrordesc_np(errno));
    bool remote = cli_has(c, "url") && !cli_has(c, "data");
    err_t e = remote ? NULL : control_open_offline(data, S(""), true, &control);
    if (e && e->kind != ERR_CONFLICT)
        return fail(e);
    if (control) {
        code = restore_here(c, control, path, passphrase);
        control_free(control);
        return code;
    }
    code = restore_through(c, path, data, !remote, &answer);
    if (!code)
        tell(c, path, json_get_text(answer, S("created")), json_get_text(answer, S("kept_aside")),
             json_get_text(answer, S("config")));
    return code;
}

const struct command command_backup = {
    .name = "backup", .words = "FILE [OPTIONS]", .summary = "write everything the gateway knows into one file",
    .options = backup_options, .option_count = ARRAY_SIZE(backup_options), .least_words = 1, .most_words = 1,
    .run = run_backup,
    .about = "A tar archive with a manifest of SHA-256 digests: the store, and the configuration file, sealed. The "
             "master key is in it only with --passphrase-file. Where a gateway runs on the data directory it is asked "
             "to make the backup, with an admin key (--key); else the command does it itself.",
};

const struct command command_restore = {
    .name = "restore", .words = "FILE [OPTIONS]", .summary = "bring back what a backup holds",
    .options = restore_options, .option_count = ARRAY_SIZE(restore_options), .least_words = 1, .most_words = 1,
    .run = run_restore,
    .about = "The archive is checked whole before anything changes; a damaged or altered one changes nothing. The "
             "database that was there is kept beside the new one. A running gateway takes it over at once; an archive "
             "of another master key needs the gateway stopped, and --passphrase-file.",
};
