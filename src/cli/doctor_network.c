/* doctor_network.c - certificates, names and upstreams (doctor.h). */
#include "auth/key.h"
#include "base/mem.h"
#include "cli/client.h"
#include "cli/doctor.h"
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { WARN_DAYS = 21 };

/* ---- TLS ------------------------------------------------------------------------------ */

static X509 *read_certificate(struct doctor *d, struct str path) {
    FILE *f = fopen(arena_text(d->arena, path), "r");
    X509 *x = f ? PEM_read_X509(f, NULL, NULL, NULL) : NULL;
    if (!x)
        doctor_say(d, "tls", FINDING_BROKEN, "name a PEM file that the gateway may read",
                   "%.*s: %s", STR(path), f ? "no certificate in it" : strerror(errno));
    if (f)
        fclose(f);
    return x;
}

static void check_expiry(struct doctor *d, struct str path, const X509 *x) {
    int days = 0, seconds = 0;
    ASN1_TIME_diff(&days, &seconds, NULL, X509_get0_notAfter(x));
    bool over = days < 0 || seconds<0, early = X509_cmp_current_time(X509_get0_notBefore(x))> 0;
    enum finding_state state = over || early      ? FINDING_BROKEN
                               : days < WARN_DAYS ? FINDING_WARNING
                                                  : FINDING_OK;
    doctor_say(d, "tls", state,
               state ? "renew it; the gateway takes the new file over while it runs" : NULL,
               "%.*s %s %d days", STR(path),
               early  ? "is not valid yet; it ends in"
               : over ? "has expired, for"
                      : "is valid for",
               over ? -days : days);
}

static void check_key(struct doctor *d, struct str path, const X509 *x) {
    FILE *f = fopen(arena_text(d->arena, path), "r");
    EVP_PKEY *key = f ? PEM_read_PrivateKey(f, NULL, NULL, NULL) : NULL;
    if (!key)
        doctor_say(d, "tls", FINDING_BROKEN,
                   "name the PEM file of the key, readable for the gateway", "%.*s: %s", STR(path),
                   f ? "no private key in it" : strerror(errno));
    else if (!X509_check_private_key(x, key))
        doctor_say(d, "tls", FINDING_BROKEN, "name the key that the certificate was made for",
                   "%.*s does not belong to the certificate", STR(path));
    EVP_PKEY_free(key);
    if (f)
        fclose(f);
}

void doctor_tls(struct doctor *d) {
    const struct tls_server_options *t = &d->conf->tls;
    X509 *x = t->cert_file.n ? read_certificate(d, t->cert_file) : NULL;
    if (!t->cert_file.n)
        doctor_say(d, "tls", FINDING_SKIPPED, NULL, "no TLS is configured");
    if (!x)
        return;
    check_expiry(d, t->cert_file, x);
    if (t->key_file.n)
        check_key(d, t->key_file, x);
    X509_free(x);
}

/* ---- DNS ------------------------------------------------------------------------------ */

static struct str host_of(struct str url) {
    ptrdiff_t scheme = str_find(url, S("://"));
    struct str rest = str_skip(url, scheme < 0 ? 0 : (size_t)scheme + 3);
    struct str authority = str_cut(&rest, '/');
    if (str_starts(authority, S("[")))
        return str_head(str_skip(authority, 1), (size_t)(str_find_char(authority, ']') - 1));
    return str_cut(&authority, ':');
}

static void resolve(struct doctor *d, const struct upstream_conf *u) {
    struct addrinfo *found = NULL, hints = { .ai_socktype = SOCK_STREAM };
    struct str host = host_of(u->url);
    int wrong = getaddrinfo(arena_text(d->arena, host), NULL, &hints, &found);
    doctor_say(d, "dns", wrong ? FINDING_BROKEN : FINDING_OK,
               wrong ? "check the name in its url, and /etc/resolv.conf" : NULL,
               "%.*s (upstream %.*s) %s%s", STR(host), STR(u->name),
               wrong ? "is not found: " : "is found", wrong ? gai_strerror(wrong) : "");
    if (found)
        freeaddrinfo(found);
}

void doctor_dns(struct doctor *d) {
    const struct upstream_conf *all = d->conf->upstreams.items;
    for (size_t i = 0; i < d->conf->upstreams.n; i++)
        if (all[i].enabled && all[i].url.n)
            resolve(d, &all[i]);
}

/* ---- upstreams ------------------------------------------------------------------------ */

struct trial {
    pid_t pid;
    char folder[512], address[64];
    char key[KEY_TEXT];
};

static bool free_port(char out[64]) {
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t n = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool ok = fd >= 0 && bind(fd, (struct sockaddr *)&a, n) == 0 &&
              getsockname(fd, (struct sockaddr *)&a, &n) == 0;
    snprintf(out, 64, "127.0.0.1:%u", ntohs(a.sin_port));
    if (fd >= 0)
        close(fd);
    return ok;
}

static void make_key(char key[KEY_TEXT]) {
    uint8_t bytes[20];
    crypto_random(bytes, sizeof bytes);
    size_t n = (size_t)snprintf(key, KEY_TEXT, "gs_doctordoctor_");
    for (size_t i = 0; i < sizeof bytes; i++)
        n += (size_t)snprintf(key + n, KEY_TEXT - n, "%02x", bytes[i]);
}

/* This very program, with its own data directory and port, and nothing to say. TLS is left out:
 * it was looked at already, and we ask on loopback. */
static bool start_trial(struct doctor *d, struct trial *t) {
    const char *tmp = getenv("TMPDIR");
    snprintf(t->folder, sizeof t->folder, "%s/gatespan-doctor-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    if (!mkdtemp(t->folder) || !free_port(t->address))
        return false;
    make_key(t->key);
    char *argv[16] = { "gatespan", "serve", "--data", t->folder, "--listen", t->address };
    size_t n = 6;
    if (d->config.n) {
        argv[n++] = "--config";
        argv[n++] = arena_text(d->arena, d->config);
    }
    if (d->conf->tls.cert_file.n) {
        argv[n++] = "--set";
        argv[n++] = "tls.cert_file=";
        argv[n++] = "--set";
        argv[n++] = "tls.key_file=";
    }
    posix_spawn_file_actions_t files;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_addopen(&files, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    setenv("GATESPAN_ADMIN_KEY", t->key, 1);
    bool ok = posix_spawn(&t->pid, "/proc/self/exe", &files, NULL, argv, environ) == 0;
    posix_spawn_file_actions_destroy(&files);
    return ok;
}

static void remove_folder(const char *path) {
    pid_t pid;
    char *argv[] = { "rm", "-rf", "--", (char *)path, NULL };
    if (posix_spawnp(&pid, "rm", NULL, NULL, argv, environ) == 0)
        waitpid(pid, NULL, 0);
}

static void end_trial(struct trial *t) {
    if (t->pid > 0) {
        kill(t->pid, SIGTERM);
        waitpid(t->pid, NULL, 0);
    }
    remove_folder(t->folder);
}

static bool is_settled(json health) {
    for (struct json_iter it = json_iter(json_get(health, S("upstreams"))); json_next(&it);)
        if (str_eq(json_get_text(it.value, S("state")), S("starting")))
            return false;
    return json_count(json_get(health, S("upstreams"))) > 0;
}

/* NULL: it did not come up. What has not answered by the end counts as it stands. */
static json ask_trial(struct doctor *d, struct trial *t, nanos patience) {
    struct str url = arena_fmt(d->arena, "http://%s/mcp", t->address);
    struct mcp_client m = {
        .arena = d->arena, .url = arena_text(d->arena, url), .key = str_of(t->key), .silent = true
    };
    nanos end = clock_mono() + patience;
    json health = NULL, newest = NULL;
    while (clock_mono() < end && !is_settled(health) && waitpid(t->pid, NULL, WNOHANG) == 0) {
        if (!client_rest(&m, "GET", S("/api/v1/health/detailed"), S(""), &newest))
            health = newest;
        nanosleep(&(struct timespec){ .tv_nsec = 100 * NANOS_MS }, NULL);
    }
    return health;
}

static void tell(struct doctor *d, json u) {
    struct str name = json_get_text(u, S("name")), state = json_get_text(u, S("state"));
    struct str reason = json_get_text(u, S("reason")), kind = json_get_text(u, S("kind"));
    if (str_eq(state, S("ready")))
        doctor_say(d, "upstream", FINDING_OK, NULL,
                   "%.*s answers over %.*s in revision %.*s with %.*s tools", STR(name), STR(kind),
                   STR(json_get_text(u, S("revision"))), STR(json_get_text(u, S("tools"))));
    else
        doctor_say(d, "upstream", FINDING_BROKEN,
                   str_eq(kind, S("stdio")) ? "run its command by hand and look at what it says"
                                            : "check its url and what it needs to be let in",
                   "%.*s is %.*s%s%.*s", STR(name), STR(state), reason.n ? ": " : "", STR(reason));
}

void doctor_upstreams(struct doctor *d) {
    struct trial t = { 0 };
    int64_t patience = 15 * NANOS_SEC;
    if (cli_duration(d->cli, "wait", patience, &patience))
        return;
    json health = start_trial(d, &t) ? ask_trial(d, &t, patience) : NULL;
    if (!health)
        doctor_say(d, "upstream", FINDING_BROKEN, "start gatespan serve and read what it says",
                   "a gateway does not start with this configuration");
    for (struct json_iter it = json_iter(json_get(health, S("upstreams"))); json_next(&it);)
        tell(d, it.value);
    end_trial(&t);
}
