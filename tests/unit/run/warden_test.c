/* Real processes under a real warden. Each test runs in a forked gateway, because the
 * warden is started before threads exist; the test process is a child subreaper, so when
 * the gateway is gone it sees by itself whether a process was left. Nothing here waits
 * for time: output, end of file and exits are waited for, and an alarm ends what hangs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "base/log.h"
#include "base/mem.h"
#include "run/warden.h"
#include "run/warden_process.h"
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* In a forked gateway a failing assertion must end that process, not return to cmocka. */
#define CHECK(claim)                                                                               \
    do {                                                                                           \
        if (!(claim)) {                                                                            \
            dprintf(2, "%s:%d: not true: %s\n", __FILE__, __LINE__, #claim);                       \
            _exit(1);                                                                              \
        }                                                                                          \
    } while (0)
#define CHECK_TEXT(text, wanted)                                                                   \
    do {                                                                                           \
        const char *got_ = (text);                                                                 \
        if (strcmp(got_, (wanted)) != 0) {                                                         \
            dprintf(2, "%s:%d: got \"%s\"\n", __FILE__, __LINE__, got_);                           \
            _exit(1);                                                                              \
        }                                                                                          \
    } while (0)

#define LONG "1000" /* seconds that no test waits for */

/* --- the gateway --- */

typedef void body_fn(struct task *t, struct warden *w);

struct gateway {
    struct warden *warden;
    struct workers *all;
    body_fn *body;
    char dir[64]; /* children run here by default */
};
static struct gateway gateway;

static void body_task(struct task *t, void *arg) {
    gateway.body(t, gateway.warden);
    workers_stop(gateway.all);
}

static err_t on_start(struct worker *w, void *arg) {
    if (w->index == 0)
        CHECK(task_spawn(w, body_task, NULL));
    if (!w->control)
        return OK;
    gateway.all = w->all; /* the body may run before workers_start returns */
    return warden_attach(gateway.warden, w->all);
}

static void on_stop(struct worker *w, void *arg) {
    if (w->control)
        warden_stop(gateway.warden, 20 * NANOS_MS);
}

static void run_gateway(body_fn *body) {
    struct worker_hooks hooks = { .on_start = on_start, .on_stop = on_stop };
    log_setup((struct log_conf){ .level = LOG_OFF, .fd = 2 });
    gateway.body = body;
    CHECK(!warden_start(gateway.dir, &gateway.warden));
    struct workers *all = NULL;
    CHECK(!workers_start(2, (struct worker_limits){ 0 }, hooks, &all));
    workers_run(all);
    workers_free(all);
    warden_free(gateway.warden);
    rmdir(gateway.dir);
    exit(0); /* not _exit: the leak checker looks at exit */
}

/* All processes that came to us are gone too; the alarm bounds the wait. */
static void nobody_is_left(void) {
    while (waitpid(-1, NULL, 0) > 0 || errno == EINTR)
        ;
    assert_int_equal(errno, ECHILD);
}

static pid_t start_gateway(body_fn *body) {
    alarm(120);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    snprintf(gateway.dir, sizeof(gateway.dir), "/tmp/warden-test-XXXXXX");
    assert_non_null(mkdtemp(gateway.dir));
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that hangs leaves nobody either */
        signal(SIGSEGV, SIG_DFL); /* cmocka's handlers would go on with the next test */
        signal(SIGABRT, SIG_DFL);
        run_gateway(body);
    }
    return pid;
}

static void in_gateway(body_fn *body) {
    int status;
    pid_t pid = start_gateway(body);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    nobody_is_left();
    assert_int_equal(status, 0);
}

/* --- children ---
 * Those that still run when the body ends are static: their end comes after its stack. */

struct run {
    struct child child;
    struct child_end end;
    struct event ended;
    unsigned ends;
    bool returned; /* warden_spawn did, before the end came */
};

static void on_end(struct worker *w, const struct child_end *end, void *arg) {
    struct run *run = arg;
    CHECK(run->returned && end->id == run->child.id && worker_here() == w && !w->running);
    run->end = *end;
    run->ends++;
    event_set(&run->ended);
}

#define PATH_VARIABLE S("PATH=/usr/local/bin:/usr/bin:/bin")

static err_t start(struct task *t, struct warden *w, struct spawn_request request,
                   struct run *run) {
    const struct str env[] = { PATH_VARIABLE };
    if (!request.env) {
        request.env = env;
        request.env_count = 1;
    }
    if (str_empty(request.name))
        request.name = S("test");
    err_t e = warden_spawn(t, w, &request, on_end, run, &run->child);
    run->returned = !e;
    return e;
}

#define ARGV(...)                                                                                  \
    .argv = (const struct str[]){ __VA_ARGS__ },                                                   \
    .argc = ARRAY_SIZE(((const struct str[]){ __VA_ARGS__ }))
#define COMMAND(...) ((struct spawn_request){ ARGV(__VA_ARGS__) })
#define SHELL(script) ((struct spawn_request){ ARGV(S("sh"), S("-c"), S(script)) })

/* What can be read until the text asked for, or the end of file. Blocks this worker; the
 * warden's answers are read by the control worker. */
static const char *read_until(int fd, const char *wanted) {
    static _Thread_local char text[16 * 1024];
    size_t n = 0;
    text[0] = 0;
    while (!wanted || !strstr(text, wanted)) {
        struct pollfd p = { .fd = fd, .events = POLLIN };
        poll(&p, 1, -1);
        ssize_t got = read(fd, text + n, sizeof(text) - 1 - n);
        if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR))
            break;
        text[n += got > 0 ? (size_t)got : 0] = 0;
    }
    return text;
}

static void close_all(struct run *run) {
    close(run->child.in);
    close(run->child.out);
    close(run->child.err);
}

static void await_end(struct task *t, struct run *run) {
    while (!run->ends)
        CHECK(!event_wait(t, &run->ended));
    CHECK(run->ends == 1);
    close_all(run);
}

/* All its output, then its end. */
static const char *run_to_end(struct task *t, struct warden *w, struct spawn_request request,
                              struct run *run) {
    CHECK(!start(t, w, request, run));
    const char *text = read_until(run->child.out, NULL);
    await_end(t, run);
    return text;
}

/* The end of any process that we may look at. */
static int watch_process(long pid) {
    int fd = pidfd_open((pid_t)pid, 0);
    CHECK(fd >= 0);
    return fd;
}

static void await_process(int pidfd) {
    struct pollfd p = { .fd = pidfd, .events = POLLIN };
    while (poll(&p, 1, -1) != 1)
        ;
    close(pidfd);
}

/* --- pipes, exits, signals --- */

static void talk_to_cat(struct task *t, struct warden *w) {
    struct run run = { 0 };
    CHECK(!start(t, w, COMMAND(S("cat")), &run));
    CHECK(write(run.child.in, "hello\n", 6) == 6);
    CHECK_TEXT(read_until(run.child.out, "\n"), "hello\n");
    CHECK(warden_stats(w).children == 1);
    CHECK(fcntl(run.child.in, F_GETFD) == FD_CLOEXEC);
    CHECK(fcntl(run.child.out, F_GETFL) & O_NONBLOCK);
    close(run.child.in); /* P-124: a server ends at the end of its stdin */
    run.child.in = -1;
    await_end(t, &run);
    CHECK(!run.end.signalled && run.end.code == 0 && !run.end.warden_lost);
    CHECK(warden_stats(w).children == 0 && warden_stats(w).spawned == 1);
}

static void a_child_is_talked_to_through_its_pipes(void **state) {
    in_gateway(talk_to_cat);
}

static void three_ends(struct task *t, struct warden *w) {
    struct run a = { 0 }, b = { 0 }, c = { 0 };
    CHECK(!start(t, w, SHELL("echo words >&2; exit 7"), &a));
    CHECK_TEXT(read_until(a.child.err, NULL), "words\n");
    await_end(t, &a);
    CHECK(!a.end.signalled && a.end.code == 7);
    run_to_end(t, w, SHELL("kill -9 $$"), &b);
    CHECK(b.end.signalled && b.end.code == SIGKILL);
    CHECK(!start(t, w, COMMAND(S("sleep"), S(LONG)), &c));
    warden_signal(w, c.child.id, SIGINT);
    await_end(t, &c);
    CHECK(c.end.signalled && c.end.code == SIGINT);
    CHECK(a.child.id != b.child.id && b.child.id != c.child.id);
}

static void ends_are_reported_as_they_were(void **state) {
    in_gateway(three_ends);
}

static void many_short_lives(struct task *t, struct warden *w) {
    for (int i = 0; i < 100; i++) {
        struct run run = { 0 };
        CHECK(!start(t, w, COMMAND(S("true")), &run));
        close_all(&run);
        CHECK(run.ends == 0); /* the caller had its turn first */
        while (!run.ends)
            CHECK(!event_wait(t, &run.ended));
    }
    CHECK(warden_stats(w).spawned == 100);
}

static void the_end_comes_once_and_after_the_answer(void **state) {
    in_gateway(many_short_lives);
}

static void be_stubborn(struct task *t, struct warden *w) {
    struct run deaf = { 0 }, kind = { 0 };
    CHECK(!start(t, w, SHELL("trap '' TERM; echo up; while :; do sleep " LONG "; done"), &deaf));
    read_until(deaf.child.out, "up");
    warden_end(w, deaf.child.id, 30 * NANOS_MS);
    await_end(t, &deaf);
    CHECK(deaf.end.signalled && deaf.end.code == SIGKILL);
    CHECK(!start(t, w, SHELL("trap 'exit 3' TERM; echo up; read x; read x"), &kind));
    read_until(kind.child.out, "up");
    warden_end(w, kind.child.id, 1000 * NANOS_SEC);
    await_end(t, &kind);
    CHECK(!kind.end.signalled && kind.end.code == 3);
    warden_end(w, kind.child.id, 0); /* ended ids are ignored */
    warden_signal(w, 4711, SIGKILL);
}

static void an_end_asks_first_and_kills_after_the_grace(void **state) {
    in_gateway(be_stubborn);
}

/* --- refusals --- */

static void expect(struct task *t, struct warden *w, struct spawn_request request,
                   enum err_kind kind, const char *words) {
    struct run run = { 0 };
    err_t e = start(t, w, request, &run);
    CHECK(e);
    if (e->kind != kind || !strstr(e->text, words)) {
        dprintf(2, "got %s: %s\n", err_word(e->kind), e->text);
        CHECK(!"the error wanted");
    }
    CHECK(warden_stats(w).children == 0);
}

static const char *make_file(const char *name, const char *text, mode_t mode) {
    static char path[128];
    snprintf(path, sizeof(path), "%s/%s", gateway.dir, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, mode);
    CHECK(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
    return path;
}

static void ask_for_what_is_not_there(struct task *t, struct warden *w) {
    expect(t, w, COMMAND(S("no-such-command")), ERR_NOT_FOUND,
           "starting test: command \"no-such-command\" not found, PATH is "
           "/usr/local/bin:/usr/bin:/bin");
    expect(t, w, COMMAND(S("/no/such")), ERR_NOT_FOUND, "command \"/no/such\" not found");
    expect(t, w, COMMAND(S("./nothing")), ERR_NOT_FOUND,
           "command \"./nothing\" not found in cwd /");
    struct spawn_request lost = COMMAND(S("true"));
    lost.cwd = S("/no/such/directory");
    expect(t, w, lost, ERR_NOT_FOUND, "working directory /no/such/directory");
    const char *script = make_file("script", "#!/no/such/interpreter\n", 0755);
    expect(t, w, COMMAND(str_of(script)), ERR_NOT_FOUND, "interpreter");
    unlink(script);
}

static void what_is_missing_is_named(void **state) {
    in_gateway(ask_for_what_is_not_there);
}

static void ask_for_what_does_not_run(struct task *t, struct warden *w) {
    const char *plain = make_file("plain", "echo\n", 0644);
    expect(t, w, COMMAND(str_of(plain)), ERR_DENIED, "is not executable");
    unlink(plain);
    const char *odd = make_file("odd", "\1\2\3\4", 0755);
    expect(t, w, COMMAND(str_of(odd)), ERR_INVALID, "is no program");
    unlink(odd);
    expect(t, w, COMMAND(S("/")), ERR_DENIED, "is not executable");
}

static void what_is_not_executable_is_denied(void **state) {
    in_gateway(ask_for_what_does_not_run);
}

static void ask_for_too_much(struct task *t, struct warden *w) {
    struct str big = { mem_alloc(WIRE_MAX), WIRE_MAX };
    memset((char *)big.p, 'x', big.n);
    expect(t, w, COMMAND(S("true"), big), ERR_TOO_LARGE, "at most 65536");
    free((char *)big.p);
    struct str *many = NEW_ARRAY(struct str, WIRE_STRINGS + 1);
    many[0] = S("true");
    expect(t, w, (struct spawn_request){ .argv = many, .argc = WIRE_STRINGS + 1 }, ERR_TOO_LARGE,
           "at most 4096");
    free(many);
    expect(t, w, COMMAND(S("true"), S("a\0b")), ERR_INVALID, "argument holds a NUL byte");
    expect(t, w, (struct spawn_request){ 0 }, ERR_INVALID, "no command");
}

static void what_cannot_be_carried_is_refused_before(void **state) {
    in_gateway(ask_for_too_much);
}

static void fill_the_limit(struct task *t, struct warden *w) {
    static struct run a, b, c;
    warden_limit(w, 2);
    CHECK(!start(t, w, COMMAND(S("cat")), &a));
    CHECK(!start(t, w, COMMAND(S("cat")), &b));
    err_t e = start(t, w, COMMAND(S("cat")), &c);
    CHECK(e && e->kind == ERR_LIMITED && strstr(e->text, "2 children are running"));
    warden_end(w, a.child.id, NANOS_SEC);
    await_end(t, &a);
    CHECK(!start(t, w, COMMAND(S("cat")), &c));
    close_all(&b);
    close_all(&c);
}

static void children_beyond_the_limit_are_refused(void **state) {
    in_gateway(fill_the_limit);
}

/* --- what a child starts with --- */

static void look_at_environment(struct task *t, struct warden *w) {
    const struct str env[] = { S("A=1"), S("B=two words"), S("EMPTY=") };
    struct spawn_request request = COMMAND(S("/usr/bin/env"));
    struct run run = { 0 }, found = { 0 };
    request.env = env;
    request.env_count = ARRAY_SIZE(env);
    setenv("OURS", "1", 1);
    CHECK_TEXT(run_to_end(t, w, request, &run), "A=1\nB=two words\nEMPTY=\n");
    request.argv = (const struct str[]){ S("true") };
    CHECK(!start(t, w, request, &found)); /* without PATH the usual directories count */
    await_end(t, &found);
}

static void the_environment_is_the_one_given(void **state) {
    in_gateway(look_at_environment);
}

static void look_at_descriptors(struct task *t, struct warden *w) {
    struct run run = { 0 };
    int leak = dup(0); /* without FD_CLOEXEC */
    CHECK(leak >= 0);
    /* 3 is the directory that ls reads */
    CHECK_TEXT(run_to_end(t, w, COMMAND(S("ls"), S("/proc/self/fd")), &run), "0\n1\n2\n3\n");
    close(leak);
}

static void nothing_but_the_pipes_is_inherited(void **state) {
    int leak = dup(0); /* open when the warden is forked */
    in_gateway(look_at_descriptors);
    close(leak);
}

static void look_at_signals(struct task *t, struct warden *w) {
    struct run run = { 0 }, stat = { 0 };
    CHECK_TEXT(run_to_end(t, w,
                          COMMAND(S("grep"), S("-E"), S("SigBlk|SigIgn"), S("/proc/self/status")),
                          &run),
               "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
    int pid, group, session;
    const char *text = run_to_end(t, w, COMMAND(S("cat"), S("/proc/self/stat")), &stat);
    CHECK(sscanf(text, "%d (cat) %*c %*d %d %d", &pid, &group, &session) == 3);
    CHECK(pid == stat.child.pid && group == pid && session == pid);
}

static void a_child_has_its_own_session_and_default_signals(void **state) {
    in_gateway(look_at_signals);
}

static void look_at_directory(struct task *t, struct warden *w) {
    struct run at_home = { 0 }, below = { 0 }, away = { 0 };
    char wanted[128];
    snprintf(wanted, sizeof(wanted), "%s\n", gateway.dir);
    CHECK_TEXT(run_to_end(t, w, COMMAND(S("pwd")), &at_home), wanted);
    struct spawn_request request = COMMAND(S("pwd"));
    snprintf(wanted, sizeof(wanted), "%s/sub", gateway.dir);
    CHECK(mkdir(wanted, 0700) == 0);
    request.cwd = S("sub");
    CHECK(str_starts(str_of(run_to_end(t, w, request, &below)), str_of(wanted)));
    rmdir(wanted);
    request.cwd = S("/usr");
    CHECK_TEXT(run_to_end(t, w, request, &away), "/usr\n");
}

static void a_child_runs_where_it_was_told(void **state) {
    in_gateway(look_at_directory);
}

/* --- limits --- */

static void hit_limits(struct task *t, struct warden *w) {
    struct run hog = { 0 }, open = { 0 }, busy = { 0 };
    struct spawn_request request = COMMAND(S("dd"), S("if=/dev/zero"), S("of=/dev/null"),
                                           S("bs=300M"), S("count=1"));
    request.limits.memory = 64 << 20;
    run_to_end(t, w, request, &hog);
    CHECK(hog.end.signalled || hog.end.code != 0);
    request = SHELL("ulimit -n; ulimit -c; cat /proc/self/oom_score_adj");
    request.limits.files = 77;
    const char *text = run_to_end(t, w, request, &open);
    CHECK(strncmp(text, "77\n0\n", 5) == 0);
    CHECK(strtol(text + 5, NULL, 10) >= 500);
    request = SHELL("while :; do :; done");
    request.limits.cpu = 1;
    run_to_end(t, w, request, &busy);
    CHECK(busy.end.signalled && busy.end.code == SIGXCPU);
}

static void limits_of_one_process_hold(void **state) {
    in_gateway(hit_limits);
}

static void multiply(struct task *t, struct warden *w) {
    static struct run few, many;
    struct spawn_request request = SHELL("sleep " LONG " & sleep " LONG " & read x");
    request.limits.processes = 4;
    CHECK(!start(t, w, request, &few));
    request = SHELL("i=0; while [ $i -lt 20 ]; do setsid sleep " LONG
                    " & i=$((i+1)); done; read x");
    request.limits.processes = 6;
    CHECK(!start(t, w, request, &many));
    await_end(t, &many);
    CHECK(many.end.signalled && many.end.code == SIGKILL);
    CHECK(few.ends == 0);
    close_all(&few);
}

static void a_child_that_multiplies_is_killed(void **state) {
    in_gateway(multiply);
}

static void run_node(struct task *t, struct warden *w) {
    struct run run = { 0 };
    struct spawn_request request = COMMAND(S("node"), S("-e"), S("console.log(6 * 7)"));
    request.limits.memory = 512 << 20;
    CHECK_TEXT(run_to_end(t, w, request, &run), "42\n");
}

/* Node reserves far more address space than it uses. */
static void node_runs_under_a_memory_limit(void **state) {
    if (access("/usr/bin/node", X_OK) != 0 && access("/usr/local/bin/node", X_OK) != 0)
        skip();
    in_gateway(run_node);
}

/* --- nobody is left --- */

/* Prints the numbers of a process in the group, one in a session of its own, and one that
 * forked twice to get away; then waits. */
#define FAMILY                                                                                     \
    "sleep " LONG " & echo $!;"                                                                    \
    "setsid sh -c 'echo $$; exec sleep " LONG "' &"                                                \
    "(setsid sh -c 'echo $$; exec sleep " LONG "' & );"                                            \
    "while :; do read x || sleep " LONG "; done"

struct family {
    int members[3]; /* pidfds */
};

static struct family read_family(const struct child *c) {
    static char text[256];
    size_t n = 0;
    int lines = 0;
    struct family f;
    while (lines < 3) {
        poll(&(struct pollfd){ .fd = c->out, .events = POLLIN }, 1, -1);
        if (read(c->out, text + n, 1) == 1)
            lines += text[n++] == '\n';
    }
    char *at = text;
    for (int i = 0; i < 3; i++)
        f.members[i] = watch_process(strtol(at, &at, 10));
    return f;
}

static void await_family(struct family f) {
    for (int i = 0; i < 3; i++)
        await_process(f.members[i]);
}

static void end_a_family(struct task *t, struct warden *w) {
    static struct run a, b, other;
    CHECK(!start(t, w, COMMAND(S("cat")), &other));
    CHECK(!start(t, w, SHELL(FAMILY), &a));
    struct family f = read_family(&a.child);
    warden_end(w, a.child.id, NANOS_SEC);
    await_end(t, &a);
    await_family(f);
    CHECK(!start(t, w, SHELL(FAMILY), &b));
    f = read_family(&b.child);
    warden_signal(w, b.child.id, SIGKILL); /* as if it had crashed */
    await_family(f);
    await_end(t, &b);
    CHECK(other.ends == 0);
    close_all(&other);
}

static void a_child_takes_its_descendants_along(void **state) {
    in_gateway(end_a_family);
}

static void stop_with_families(struct task *t, struct warden *w) {
    static struct run a, b;
    CHECK(!start(t, w, SHELL("trap '' TERM;" FAMILY), &a));
    CHECK(!start(t, w, SHELL(FAMILY), &b));
    read_family(&a.child);
    read_family(&b.child);
    close_all(&a);
    close_all(&b);
}

static void stopping_ends_all(void **state) {
    in_gateway(stop_with_families);
}

static int ready[2]; /* the gateway says here what it started */

static void start_and_wait(struct task *t, struct warden *w) {
    struct run a = { 0 }, b = { 0 }, never = { 0 };
    CHECK(!start(t, w, SHELL("trap '' TERM;" FAMILY), &a));
    CHECK(!start(t, w, SHELL(FAMILY), &b));
    read_family(&a.child);
    read_family(&b.child);
    pid_t warden = warden_stats(w).pid;
    CHECK(write(ready[1], &warden, sizeof(warden)) == sizeof(warden));
    CHECK(!event_wait(t, &never.ended));
}

/* The gateway with two families running; returns its warden. */
static pid_t start_families(pid_t *gateway_pid) {
    pid_t warden = 0;
    assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
    *gateway_pid = start_gateway(start_and_wait);
    close(ready[1]);
    assert_int_equal(read(ready[0], &warden, sizeof(warden)), sizeof(warden));
    close(ready[0]);
    return warden;
}

static void a_killed_gateway_leaves_nobody(void **state) {
    pid_t main_pid;
    start_families(&main_pid);
    kill(main_pid, SIGKILL);
    nobody_is_left();
    rmdir(gateway.dir);
}

static void gateway_and_warden_killed_together_leave_nobody(void **state) {
    pid_t main_pid, warden = start_families(&main_pid);
    kill(warden, SIGSTOP); /* so that it cannot do its work in between */
    kill(main_pid, SIGKILL);
    kill(warden, SIGKILL);
    nobody_is_left();
    rmdir(gateway.dir);
}

static pid_t parent_of(pid_t pid) {
    char path[64], text[512] = "";
    int parent = 0;
    snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0 && read(fd, text, sizeof(text) - 1) > 0);
    close(fd);
    CHECK(sscanf(strrchr(text, ')'), ") %*c %d", &parent) == 1);
    return parent;
}

static void gateway_and_keeper_killed_together_leave_nobody(void **state) {
    pid_t main_pid, warden = start_families(&main_pid);
    kill(parent_of(warden), SIGKILL);
    kill(main_pid, SIGKILL);
    nobody_is_left();
    rmdir(gateway.dir);
}

static void signals_from_a_terminal_do_not_end_the_warden(void **state) {
    pid_t main_pid, warden = start_families(&main_pid);
    assert_int_not_equal(getpgid(warden), getpgid(main_pid));
    kill(warden, SIGINT);
    kill(warden, SIGTERM);
    kill(warden, SIGHUP);
    assert_int_equal(kill(warden, 0), 0);
    int status, pidfd = pidfd_open(warden, 0);
    struct pollfd p = { .fd = pidfd, .events = POLLIN };
    assert_int_equal(poll(&p, 1, 0), 0);
    close(pidfd);
    kill(main_pid, SIGKILL);
    assert_int_equal(waitpid(main_pid, &status, 0), main_pid);
    nobody_is_left();
    rmdir(gateway.dir);
}

/* --- the warden's own death --- */

static void kill_the_warden(struct task *t, struct warden *w) {
    struct run family = { 0 }, cat = { 0 }, next = { 0 };
    CHECK(!start(t, w, SHELL(FAMILY), &family));
    CHECK(!start(t, w, COMMAND(S("cat")), &cat));
    struct family f = read_family(&family.child);
    kill(warden_stats(w).pid, SIGKILL);
    await_end(t, &family);
    await_end(t, &cat);
    CHECK(family.end.warden_lost && family.end.signalled && family.end.code == SIGKILL);
    CHECK(cat.end.warden_lost);
    CHECK(warden_stats(w).children == 0);
    await_family(f);
    CHECK_TEXT(run_to_end(t, w, COMMAND(S("echo"), S("again")), &next), "again\n");
    CHECK(!next.end.warden_lost && next.end.code == 0);
    CHECK(warden_stats(w).restarts == 1);
}

static void a_dead_warden_is_replaced(void **state) {
    in_gateway(kill_the_warden);
}

static void kill_keeper_and_warden(struct task *t, struct warden *w) {
    struct run cat = { 0 }, echo = { 0 }, never = { 0 };
    pid_t warden = warden_stats(w).pid;
    int keeper = pidfd_open(parent_of(warden), 0);
    CHECK(!start(t, w, COMMAND(S("cat")), &cat));
    CHECK(pidfd_send_signal(keeper, SIGKILL, NULL, 0) == 0);
    await_process(keeper);
    CHECK_TEXT(run_to_end(t, w, COMMAND(S("echo"), S("still")), &echo), "still\n");
    CHECK(cat.ends == 0);
    kill(warden, SIGKILL);
    await_end(t, &cat);
    CHECK(cat.end.warden_lost);
    err_t e = start(t, w, COMMAND(S("true")), &never);
    CHECK(e && e->kind == ERR_UNAVAILABLE && strstr(e->text, "restart gatespan"));
}

static void without_its_keeper_a_dead_warden_is_an_error(void **state) {
    in_gateway(kill_keeper_and_warden);
}

/* --- many, and those that nobody waits for --- */

#define CROWD 100 /* on each of two workers */

static err_t one_of_a_crowd(struct task *t, void *arg) {
    struct run run = { 0 };
    TRY(start(t, gateway.warden, COMMAND(S("cat")), &run));
    CHECK(write(run.child.in, "x", 1) == 1);
    CHECK_TEXT(read_until(run.child.out, "x"), "x");
    *(int *)arg += 1;
    close(run.child.in);
    run.child.in = -1;
    await_end(t, &run);
    return OK;
}

static err_t a_crowd(struct task *t, void *arg) {
    SCOPED(task_group_scope) struct task_group g;
    task_group_init(&g, t);
    for (int i = 0; i < CROWD; i++)
        TRY(task_group_start(&g, one_of_a_crowd, arg));
    return task_group_wait(&g);
}

static void two_crowds(struct task *t, struct warden *w) {
    int here = 0, there = 0;
    CHECK(!a_crowd(t, &here));
    CHECK(!task_on(t, workers_at(gateway.all, 1), a_crowd, &there));
    CHECK(here == CROWD && there == CROWD);
}

static err_t keep_one(struct task *t, void *arg) {
    struct run *run = arg;
    return start(t, gateway.warden, COMMAND(S("cat")), run);
}

static void two_hundred_at_once(struct task *t, struct warden *w) {
    struct run *runs = NEW_ARRAY(struct run, 200);
    SCOPED(task_group_scope) struct task_group g;
    task_group_init(&g, t);
    for (int i = 0; i < 200; i++)
        CHECK(!task_group_start(&g, keep_one, &runs[i]));
    CHECK(!task_group_wait(&g));
    CHECK(warden_stats(w).children == 200);
    for (int i = 0; i < 200; i++)
        warden_end(w, runs[i].child.id, 10 * NANOS_SEC);
    for (int i = 0; i < 200; i++)
        await_end(t, &runs[i]);
    CHECK(warden_stats(w).children == 0);
    free(runs);
}

static void two_hundred_children_live_at_once(void **state) {
    in_gateway(two_hundred_at_once);
}

static void any_worker_may_ask(void **state) {
    in_gateway(two_crowds);
}

static bool has_only_child(pid_t parent, pid_t child) {
    char path[64], text[256] = "", wanted[16];
    snprintf(path, sizeof(path), "/proc/%d/task/%d/children", parent, parent);
    snprintf(wanted, sizeof(wanted), "%d ", child);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0 && read(fd, text, sizeof(text) - 1) >= 0);
    close(fd);
    return strcmp(text, wanted) == 0;
}

static err_t ask_in_vain(struct task *t, struct run *run) {
    SCOPED(deadline_scope) struct deadline d = deadline_push(t, 1 * NANOS_MS);
    return start(t, gateway.warden, COMMAND(S("sleep"), S(LONG)), run);
}

static void ask_and_go(struct task *t, struct warden *w) {
    static struct run late, next;
    pid_t warden = warden_stats(w).pid;
    kill(warden, SIGSTOP);
    err_t e = ask_in_vain(t, &late);
    CHECK(e && e->kind == ERR_TIMEOUT);
    CHECK(warden_stats(w).children == 0);
    kill(warden, SIGCONT);
    /* requests are served in order: when the next child is there, the late one was */
    CHECK(!start(t, w, COMMAND(S("cat")), &next));
    while (!has_only_child(warden, next.child.pid))
        CHECK(!task_yield(t));
    close_all(&next);
    CHECK(late.ends == 0);
}

static void a_late_child_is_ended(void **state) {
    in_gateway(ask_and_go);
}

/* --- when something runs out --- */

static struct str big_env[2] = { S_INIT("PATH=/usr/bin:/bin") };

static err_t keep_a_big_one(struct task *t, void *arg) {
    struct spawn_request request = COMMAND(S("cat"));
    request.env = big_env;
    request.env_count = 2;
    return start(t, gateway.warden, request, arg);
}

/* The socket of a warden that does not read holds some two of these requests. */
static void wait_in_line(struct task *t, struct warden *w) {
    struct run runs[12] = { 0 };
    char *big = mem_alloc(60000);
    memset(big, 'x', 60000);
    big_env[1] = (struct str){ big, 60000 };
    pid_t warden = warden_stats(w).pid;
    SCOPED(task_group_scope) struct task_group g;
    task_group_init(&g, t);
    kill(warden, SIGSTOP);
    for (size_t i = 0; i < ARRAY_SIZE(runs); i++)
        CHECK(!task_group_start(&g, keep_a_big_one, &runs[i]));
    while (warden_stats(w).children < ARRAY_SIZE(runs))
        CHECK(!task_yield(t));
    kill(warden, SIGCONT);
    CHECK(!task_group_wait(&g));
    for (size_t i = 0; i < ARRAY_SIZE(runs); i++) {
        warden_end(w, runs[i].child.id, 10 * NANOS_SEC);
        await_end(t, &runs[i]);
    }
    free(big);
}

static void requests_wait_for_a_slow_warden(void **state) {
    in_gateway(wait_in_line);
}

static void run_out_of_descriptors(struct task *t, struct warden *w) {
    struct run run = { 0 };
    struct rlimit was, little;
    CHECK(getrlimit(RLIMIT_NOFILE, &was) == 0);
    int next = dup(0);
    close(next);
    little = (struct rlimit){ (rlim_t)next + 2, was.rlim_max };
    CHECK(setrlimit(RLIMIT_NOFILE, &little) == 0); /* ours: three pipes do not fit */
    expect(t, w, COMMAND(S("cat")), ERR_LIMITED, "no descriptors left for its pipes");
    CHECK(setrlimit(RLIMIT_NOFILE, &was) == 0);
    little.rlim_cur = 8;
    CHECK(prlimit(warden_stats(w).pid, RLIMIT_NOFILE, &little, &was) == 0);
    expect(t, w, COMMAND(S("cat")), ERR_LIMITED, "no descriptors left for another child");
    CHECK(prlimit(warden_stats(w).pid, RLIMIT_NOFILE, &was, NULL) == 0);
    CHECK_TEXT(run_to_end(t, w, COMMAND(S("echo"), S("on")), &run), "on\n");
}

static void a_lack_of_descriptors_is_a_refusal(void **state) {
    in_gateway(run_out_of_descriptors);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_child_is_talked_to_through_its_pipes),
        cmocka_unit_test(ends_are_reported_as_they_were),
        cmocka_unit_test(the_end_comes_once_and_after_the_answer),
        cmocka_unit_test(an_end_asks_first_and_kills_after_the_grace),
        cmocka_unit_test(what_is_missing_is_named),
        cmocka_unit_test(what_is_not_executable_is_denied),
        cmocka_unit_test(what_cannot_be_carried_is_refused_before),
        cmocka_unit_test(children_beyond_the_limit_are_refused),
        cmocka_unit_test(the_environment_is_the_one_given),
        cmocka_unit_test(nothing_but_the_pipes_is_inherited),
        cmocka_unit_test(a_child_has_its_own_session_and_default_signals),
        cmocka_unit_test(a_child_runs_where_it_was_told),
        cmocka_unit_test(limits_of_one_process_hold),
        cmocka_unit_test(a_child_that_multiplies_is_killed),
        cmocka_unit_test(node_runs_under_a_memory_limit),
        cmocka_unit_test(a_child_takes_its_descendants_along),
        cmocka_unit_test(stopping_ends_all),
        cmocka_unit_test(a_killed_gateway_leaves_nobody),
        cmocka_unit_test(gateway_and_warden_killed_together_leave_nobody),
        cmocka_unit_test(gateway_and_keeper_killed_together_leave_nobody),
        cmocka_unit_test(signals_from_a_terminal_do_not_end_the_warden),
        cmocka_unit_test(a_dead_warden_is_replaced),
        cmocka_unit_test(without_its_keeper_a_dead_warden_is_an_error),
        cmocka_unit_test(any_worker_may_ask),
        cmocka_unit_test(two_hundred_children_live_at_once),
        cmocka_unit_test(a_late_child_is_ended),
        cmocka_unit_test(requests_wait_for_a_slow_warden),
        cmocka_unit_test(a_lack_of_descriptors_is_a_refusal),
    };
    return cmocka_run_group_tests_name("warden", tests, NULL, NULL);
}
