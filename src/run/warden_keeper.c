/* warden_keeper.c - the process between main and warden; see warden_process.h.
 *
 * It exists so that a warden can be replaced without forking a process that has threads,
 * and so that nothing survives the death of main and warden together: what a dead
 * warden leaves becomes the keeper's children. */
#include "run/warden_process.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATIENCE_MS 10000 /* for a warden whose main is gone, before it is killed */
#define RETRY_MS 1000     /* between wardens when one died young */

static void ignore_terminal(void) {
    static const int from_outside[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE,
                                        SIGUSR1, SIGUSR2, SIGTSTP, SIGTTIN, SIGTTOU };
    for (size_t i = 0; i < ARRAY_SIZE(from_outside); i++)
        signal(from_outside[i], SIG_IGN);
    signal(SIGCHLD, SIG_DFL);
    setsid();
}

/* Keeps 0, 1 and 2 open so that no pipe of a child ever gets one of these numbers. */
static void only_stderr(int *fd) {
    int null = open("/dev/null", O_RDWR);
    for (int i = 0; i <= 2; i++)
        if (null >= 0 && null != i && (i < 2 || fcntl(i, F_GETFD) < 0))
            dup2(null, i);
    if (*fd != 3)
        dup3(*fd, 3, O_CLOEXEC);
    *fd = 3;
    close_range(4, ~0u, 0);
}

void process_settle(const char *name, int *fd) {
    ignore_terminal();
    only_stderr(fd);
    prctl(PR_SET_NAME, name);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
}

int process_watch_children(void) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigprocmask(SIG_SETMASK, &set, NULL);
    int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return fd < 0 ? -errno : fd;
}

void process_drain(int signal_fd) {
    struct signalfd_siginfo info[8];
    while (read(signal_fd, info, sizeof(info)) > 0)
        ;
}

/* < 0: none could be started. */
static pid_t start_warden(int fd, const struct warden_setup *setup) {
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
        return -1;
    pid_t pid = fork();
    if (pid == 0)
        warden_run(pair[1], setup); /* closes everything else */
    struct wire_head hello = { .size = sizeof(hello), .type = WIRE_HELLO, .a = pid,
                               .b = cgroups_used(&setup->cgroups) };
    if (pid > 0)
        wire_send(fd, &hello, sizeof(hello), pair, 1);
    close(pair[0]);
    close(pair[1]);
    return pid;
}

static bool main_is_gone(int fd) {
    struct pollfd p = { .fd = fd };
    return poll(&p, 1, 0) == 1 && (p.revents & (POLLHUP | POLLERR));
}

/* The warden's exit status once it ended. It ends by itself when main goes; one that
 * does not is ended. */
static int wait_for_warden(int fd, int signal_fd, pid_t warden) {
    bool gone = false;
    for (;;) {
        int status;
        pid_t pid;
        while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
            if (pid == warden)
                return status;
        struct pollfd p[] = { { .fd = signal_fd, .events = POLLIN }, { .fd = gone ? -1 : fd } };
        int ready = poll(p, 2, gone ? PATIENCE_MS : -1);
        if (ready == 0)
            kill(warden, SIGKILL);
        gone |= p[1].revents != 0;
        process_drain(signal_fd);
    }
}

/* Waits a second, or until main is gone. */
static void pause_before_retry(int fd) {
    poll(&(struct pollfd){ .fd = fd }, 1, RETRY_MS);
}

void keeper_run(int fd, struct warden_setup *setup) {
    process_settle("gatespan-keeper", &fd);
    proc_open();
    cgroups_open(&setup->cgroups, getppid(), getpid());
    int signal_fd = process_watch_children();
    while (!main_is_gone(fd)) {
        nanos started = clock_mono();
        pid_t warden = start_warden(fd, setup);
        int status = warden > 0 ? wait_for_warden(fd, signal_fd, warden) : -1;
        proc_end_all();
        if (status == 0)
            break; /* it was told to stop */
        if (clock_mono() - started < RETRY_MS * NANOS_MS)
            pause_before_retry(fd);
    }
    cgroups_close(&setup->cgroups);
    _exit(0);
}
