/* The warden's parts by themselves: its wire, and control groups where this system lets
 * us make one (elsewhere those tests are skipped). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"
#include "run/warden_process.h"
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define ARGV(...)                                                                                  \
    .argv = (const struct str[]){ __VA_ARGS__ },                                                   \
    .argc = ARRAY_SIZE(((const struct str[]){ __VA_ARGS__ }))

/* --- the wire --- */

static struct wire_message message;

static void fill(const struct spawn_request *request) {
    SCOPED(buf_done) struct buf b = { 0 };
    assert_null(wire_put_spawn(&b, 7, request));
    memcpy(&message, b.p, b.n);
}

static void a_spawn_message_is_read_back(void **state) {
    static struct wire_spawn s;
    struct spawn_request request = { ARGV(S("a"), S(""), S("c d")) };
    request.name = S("n");
    request.cwd = S("/x");
    request.limits = (struct spawn_limits){ 1, 2, 3, 4 };
    request.env = (const struct str[]){ S("K=V") };
    request.env_count = 1;
    fill(&request);
    assert_true(wire_get_spawn(&message, &s));
    assert_int_equal(message.head.id, 7);
    assert_string_equal(s.name, "n");
    assert_string_equal(s.cwd, "/x");
    assert_string_equal(s.argv[0], "a");
    assert_string_equal(s.argv[1], "");
    assert_string_equal(s.argv[2], "c d");
    assert_null(s.argv[3]);
    assert_string_equal(s.env[0], "K=V");
    assert_null(s.env[1]);
    assert_memory_equal(&s.limits, &request.limits, sizeof(s.limits));
}

static void a_cut_spawn_message_is_refused(void **state) {
    static struct wire_spawn s;
    struct spawn_request request = { ARGV(S("a"), S("b")) };
    fill(&request);
    uint32_t whole = message.head.size;
    for (uint32_t n = sizeof(message.head); n < whole; n++) {
        message.head.size = n;
        assert_false(wire_get_spawn(&message, &s));
    }
    message.head.size = whole + 1; /* a byte too many */
    message.body[whole - sizeof(message.head)] = 0;
    assert_false(wire_get_spawn(&message, &s));
}

static void odd_datagrams_are_refused(void **state) {
    int pair[2], fds[WIRE_FDS], some[2] = { 0, 0 };
    size_t fd_count;
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
    struct wire_head head = { .size = sizeof(head), .type = WIRE_STOP };
    assert_int_equal(wire_receive(pair[1], MSG_DONTWAIT, &message, fds, &fd_count), -EAGAIN);
    wire_send(pair[0], &head, sizeof(head) - 1, NULL, 0);
    assert_int_equal(wire_receive(pair[1], 0, &message, fds, &fd_count), -EBADMSG);
    head.size++;
    wire_send(pair[0], &head, sizeof(head), some, 2);
    assert_int_equal(wire_receive(pair[1], 0, &message, fds, &fd_count), -EBADMSG);
    assert_int_equal(fd_count, 0);
    head.size--;
    wire_send(pair[0], &head, sizeof(head), some, 2);
    assert_int_equal(wire_receive(pair[1], 0, &message, fds, &fd_count), 1);
    assert_int_equal(fd_count, 2);
    assert_int_equal(fds[2], -1);
    close(fds[0]);
    close(fds[1]);
    close(pair[0]);
    assert_int_equal(wire_receive(pair[1], 0, &message, fds, &fd_count), 0);
    close(pair[1]);
}

/* --- control groups --- */

struct sandbox {
    char base[CGROUP_PATH];
    pid_t main, keeper; /* processes that may be moved about */
};

static pid_t sleeper(const struct cgroup_child *group) {
    int up[2];
    char byte;
    assert_int_equal(pipe(up), 0);
    pid_t pid = fork();
    if (pid == 0) {
        if (group)
            cgroup_enter(group);
        if (write(up[1], "x", 1) == 1)
            pause();
        _exit(1);
    }
    close(up[1]);
    assert_int_equal(read(up[0], &byte, 1), 1);
    close(up[0]);
    return pid;
}

/* A group of our own below `mount`, or the test is skipped. */
static void sandbox_make(struct sandbox *s, const char *mount) {
    snprintf(s->base, sizeof(s->base), "%s/warden-test-%d", mount, getpid());
    char procs[CGROUP_PATH + 16];
    snprintf(procs, sizeof(procs), "%s/cgroup.procs", mount);
    if (access(procs, F_OK) != 0 || mkdir(s->base, 0755) != 0)
        skip();
    s->main = sleeper(NULL);
    s->keeper = sleeper(NULL);
}

static void end(pid_t pid) {
    int status;
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, &status, 0), pid);
}

static void sandbox_end(struct sandbox *s) {
    char aside[CGROUP_PATH + 16];
    end(s->main);
    end(s->keeper);
    snprintf(aside, sizeof(aside), "%s/gatespan.main", s->base);
    rmdir(aside);
    assert_int_equal(rmdir(s->base), 0); /* nothing else was left in it */
}

static const char *version_2(void) {
    bool hybrid = access("/sys/fs/cgroup/unified", F_OK) == 0;
    return hybrid ? "/sys/fs/cgroup/unified" : "/sys/fs/cgroup";
}

static bool is_inside(pid_t pid, const char *group) {
    char path[32], text[2048] = "";
    snprintf(path, sizeof(path), "/proc/%d/cgroup", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = read(fd, text, sizeof(text) - 1);
    close(fd);
    return n > 0 && strstr(text, group);
}

static void killed_by_its_group(enum cgroup_kind kind, const char *mount) {
    struct sandbox s;
    static struct cgroups all;
    struct cgroup_child group;
    int status;
    all = (struct cgroups){ 0 };
    sandbox_make(&s, mount);
    cgroups_open_at(&all, kind, s.base, s.main, s.keeper);
    assert_true(cgroups_used(&all));
    cgroup_make(&all, 7, "a name/with slashes", &(struct spawn_limits){ .processes = 5 }, &group);
    pid_t pid = sleeper(&group);
    assert_true(is_inside(pid, "/7-a_name_with_slashes\n"));
    assert_false(cgroup_remove(&group));
    cgroup_kill(&group);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    assert_true(cgroup_remove(&group));
    cgroups_close(&all);
    sandbox_end(&s);
}

static void a_group_of_version_2_ends_its_processes(void **state) {
    killed_by_its_group(CGROUP_V2, version_2());
}

static void a_group_of_version_1_ends_its_processes(void **state) {
    killed_by_its_group(CGROUP_PIDS, "/sys/fs/cgroup/pids");
}

static void version_1_bounds_tasks(void **state) {
    struct sandbox s;
    static struct cgroups all;
    struct cgroup_child group;
    char path[CGROUP_PATH + 64], text[16] = "";
    all = (struct cgroups){ 0 };
    sandbox_make(&s, "/sys/fs/cgroup/pids");
    cgroups_open_at(&all, CGROUP_PIDS, s.base, s.main, s.keeper);
    cgroup_make(&all, 1, "n", &(struct spawn_limits){ .processes = 5 }, &group);
    snprintf(path, sizeof(path), "%s/%s/pids.max", all.path[CGROUP_PIDS], group.name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(read(fd, text, sizeof(text) - 1) > 0);
    close(fd);
    assert_string_equal(text, "144\n"); /* 64 + 16 threads for each process */
    assert_true(cgroup_remove(&group));
    cgroups_close(&all);
    sandbox_end(&s);
}

static void what_a_killed_run_left_is_ended_by_the_next(void **state) {
    struct sandbox s;
    static struct cgroups dead, all;
    struct cgroup_child group;
    int status;
    dead = all = (struct cgroups){ 0 };
    sandbox_make(&s, version_2());
    cgroups_open_at(&dead, CGROUP_V2, s.base, s.main, s.keeper); /* no keeper runs there */
    cgroup_make(&dead, 1, "left", &(struct spawn_limits){ 0 }, &group);
    pid_t pid = sleeper(&group);
    cgroups_open_at(&all, CGROUP_V2, s.base, s.main, s.main);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    cgroup_remove(&group);
    cgroups_close(&dead);
    cgroups_close(&all);
    sandbox_end(&s);
}

static void without_a_group_nothing_is_done(void **state) {
    static struct cgroups none;
    struct cgroup_child group;
    assert_false(cgroups_used(&none));
    cgroup_make(&none, 1, "n", &(struct spawn_limits){ 0 }, &group);
    cgroup_kill(&group);
    assert_true(cgroup_remove(&group));
    cgroups_open_at(&none, CGROUP_V2, "/no/such/place", 0, 1);
    assert_false(cgroups_used(&none));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_spawn_message_is_read_back),
        cmocka_unit_test(a_cut_spawn_message_is_refused),
        cmocka_unit_test(odd_datagrams_are_refused),
        cmocka_unit_test(a_group_of_version_2_ends_its_processes),
        cmocka_unit_test(a_group_of_version_1_ends_its_processes),
        cmocka_unit_test(version_1_bounds_tasks),
        cmocka_unit_test(what_a_killed_run_left_is_ended_by_the_next),
        cmocka_unit_test(without_a_group_nothing_is_done),
    };
    return cmocka_run_group_tests_name("warden parts", tests, NULL, NULL);
}
