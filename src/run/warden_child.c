/* warden_child.c - the warden's own process: one poll loop over the socket, SIGCHLD and
 * the status pipes of children on their way to exec.
 *
 * A child's life: starting (status pipe open) → running → exited → swept (no process of
 * its session, group, mark or cgroup is left) → its slot is free. Answers are kept in
 * the slot until the socket takes them, so a gateway that does not read costs no memory
 * and loses nothing. */
#include "run/warden_process.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#define LEFTOVER_GRACE (2 * NANOS_SEC) /* for what outlives its leader; also when main died */
#define SWEEP_EVERY (100 * NANOS_MS)   /* looks for leftovers, counts processes */
#define SWEEP_KILL (10 * NANOS_MS)     /* the same while they are being killed */
#define SWEEP_RARELY NANOS_SEC         /* when they do not die: they hang in the kernel */
#define SEND_AGAIN (10 * NANOS_MS)
#define REQUESTS_AT_ONCE 32

struct slot {
    uint64_t id; /* 0: free */
    uint64_t mark;
    pid_t pid;          /* also its session and process group */
    int status_fd;      /* open: not known yet whether exec worked */
    int ends[WIRE_FDS]; /* the gateway's, until handed over */
    bool answered;      /* spawned or refused was sent */
    bool exited, told;  /* the process; the gateway about it */
    bool asked;         /* leftovers got their SIGTERM */
    bool swept;         /* nothing is left of it */
    int status;         /* of waitpid */
    nanos kill_at;      /* SIGKILL to all of it then */
    int64_t processes;  /* allowed; 0: any number */
    int64_t members;    /* found by the last sweep */
    nanos pause;        /* until the next one, while they are being killed */
    struct cgroup_child cgroup;
};

static struct {
    int fd, signal_fd;
    const struct warden_setup *setup;
    struct slot slots[WARDEN_MOST];
    unsigned top;  /* slots used so far: loops end here */
    nanos now;
    nanos sweep_at, send_at; /* NANOS_NEVER: not due */
    bool blocked;  /* the socket takes nothing at the moment */
    bool stopping;
    bool main_gone; /* nobody hears answers any more; everything ends */
    struct {
        struct wire_head head; /* type 0: none */
        char text[ERR_TEXT];
    } held; /* a refusal that the socket did not take */
    struct wire_message message;
    struct wire_spawn spawn;
} self;

static void earlier(nanos *due, nanos at) {
    if (at < *due)
        *due = at;
}

/* --- slots --- */

/* for (struct slot *s = NULL; (s = next_slot(s));)  visits those in use; s may be released. */
static struct slot *next_slot(const struct slot *before) {
    for (size_t i = before ? (size_t)(before - self.slots) + 1 : 0; i < self.top; i++)
        if (self.slots[i].id)
            return &self.slots[i];
    return NULL;
}

static struct slot *slot_by_id(uint64_t id) {
    for (struct slot *s = NULL; (s = next_slot(s));)
        if (s->id == id)
            return s;
    return NULL;
}

static struct slot *slot_by_pid(pid_t pid) {
    for (struct slot *s = NULL; (s = next_slot(s));)
        if (s->pid == pid && !s->exited)
            return s;
    return NULL;
}

static struct slot *slot_take(uint64_t id) {
    unsigned i = 0;
    while (i < self.top && self.slots[i].id)
        i++;
    if (i == WARDEN_MOST)
        return NULL;
    if (i == self.top)
        self.top++;
    self.slots[i] = (struct slot){ .id = id, .status_fd = -1, .ends = { -1, -1, -1 },
                                   .kill_at = NANOS_NEVER,
                                   .pause = SWEEP_KILL };
    return &self.slots[i];
}

static void close_fd(int *fd) {
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static void close_ends(struct slot *s) {
    for (int i = 0; i < WIRE_FDS; i++)
        close_fd(&s->ends[i]);
}

static void slot_release(struct slot *s) {
    close_fd(&s->status_fd);
    close_ends(s);
    s->id = 0;
    while (self.top && !self.slots[self.top - 1].id)
        self.top--;
}

/* --- answers --- */

static bool main_went(void) {
    self.blocked = false;
    self.held.head.type = 0;
    return self.main_gone = true;
}

/* True when it left, or never will: the gateway that would read it is gone. */
static bool sent(int result) {
    if (result == 0)
        return true;
    if (result == -EPIPE || result == -ECONNRESET || result == -ENOTCONN)
        return main_went();
    self.blocked = true; /* full, or too many descriptors on their way */
    self.send_at = self.now + SEND_AGAIN;
    return false;
}

static void refuse(uint64_t id, enum err_kind kind, const char *text) {
    self.held.head = (struct wire_head){ .type = WIRE_REFUSED, .id = id, .a = kind };
    snprintf(self.held.text, sizeof(self.held.text), "%s", text);
    if (sent(wire_say(self.fd, self.held.head, str_of(self.held.text))))
        self.held.head.type = 0;
}

static bool tell_spawned(struct slot *s) {
    struct wire_head head = { .size = sizeof(head), .type = WIRE_SPAWNED, .id = s->id,
                              .a = s->pid };
    if (!self.main_gone && !sent(wire_send(self.fd, &head, sizeof(head), s->ends, WIRE_FDS)))
        return false;
    close_ends(s);
    return s->answered = true;
}

static void tell_exited(struct slot *s) {
    bool signalled = WIFSIGNALED(s->status);
    struct wire_head head = { .type = WIRE_EXITED, .id = s->id, .a = signalled,
                              .b = signalled ? WTERMSIG(s->status) : WEXITSTATUS(s->status) };
    s->told = self.main_gone || sent(wire_say(self.fd, head, S("")));
}

/* In this order: the gateway hears of a child before it hears of its end. */
static void tell(void) {
    if (self.held.head.type && !self.blocked &&
        sent(wire_say(self.fd, self.held.head, str_of(self.held.text))))
        self.held.head.type = 0;
    for (struct slot *s = NULL; (s = next_slot(s));) {
        if (self.blocked)
            return;
        if (s->status_fd < 0 && !s->answered && !tell_spawned(s))
            return;
        if (s->answered && s->exited && !s->told)
            tell_exited(s);
    }
}

/* --- signals --- */

/* To the session's group; before setsid the process has none of its own. */
static void signal_slot(struct slot *s, int signal) {
    if (s->exited)
        return;
    if (kill(-s->pid, signal) != 0)
        kill(s->pid, signal);
}

static void kill_slot(struct slot *s) {
    signal_slot(s, SIGKILL);
    cgroup_kill(&s->cgroup);
    earlier(&self.sweep_at, self.now + SWEEP_KILL);
}

static nanos after(nanos grace) {
    return grace <= 0 ? self.now : grace > NANOS_NEVER - self.now ? NANOS_NEVER : self.now + grace;
}

/* SIGCONT so that a stopped one hears of it. */
static void end_slot(struct slot *s, nanos grace) {
    signal_slot(s, SIGTERM);
    signal_slot(s, SIGCONT);
    earlier(&s->kill_at, after(grace));
}

static void stop(nanos grace) {
    self.stopping = true;
    for (struct slot *s = NULL; (s = next_slot(s));)
        end_slot(s, grace);
}

/* --- sweeping: what is left of a child, wherever it went --- */

/* A swept child is skipped: its number may be another's session by now. */
static struct slot *owner_of(pid_t pid) {
    uint64_t mark = proc_mark_of(pid);
    pid_t session = getsid(pid), group = getpgid(pid);
    for (struct slot *s = NULL; (s = next_slot(s));)
        if (!s->swept && (mark == s->mark || session == s->pid || group == s->pid))
            return s;
    return NULL;
}

static int sweep_signal(const struct slot *s) {
    if (!s->exited)
        return 0;
    return self.now >= s->kill_at ? SIGKILL : s->asked ? 0 : SIGTERM;
}

/* The leader counts while it lives; after that its number is never signalled, for it may
 * be another's by now. */
static void sweep_process(pid_t pid, void *arg) {
    struct slot *s = owner_of(pid);
    if (!s || (pid == s->pid && s->exited))
        return;
    s->members++;
    int signal = sweep_signal(s);
    if (signal) {
        kill(pid, signal);
        kill(pid, SIGCONT);
    }
}

static void count_processes(struct slot *s) {
    if (s->processes == 0)
        return;
    if (s->members > s->processes)
        kill_slot(s);
    earlier(&self.sweep_at, self.now + SWEEP_EVERY);
}

static void after_sweep(struct slot *s) {
    s->asked = true;
    if (s->kill_at == NANOS_NEVER)
        s->kill_at = after(LEFTOVER_GRACE);
    s->swept = s->members == 0 && cgroup_remove(&s->cgroup);
    if (s->swept)
        return;
    if (self.now < s->kill_at) {
        earlier(&self.sweep_at, self.now + SWEEP_EVERY);
        earlier(&self.sweep_at, s->kill_at);
        return;
    }
    cgroup_kill(&s->cgroup);
    earlier(&self.sweep_at, self.now + s->pause);
    s->pause = s->pause < SWEEP_RARELY ? s->pause * 2 : SWEEP_RARELY;
}

static void release_swept(void) {
    for (struct slot *s = NULL; (s = next_slot(s));)
        if (s->swept && s->told)
            slot_release(s);
}

static void sweep(void) {
    self.sweep_at = NANOS_NEVER;
    for (struct slot *s = NULL; (s = next_slot(s));)
        s->members = 0;
    proc_each(sweep_process, NULL);
    for (struct slot *s = NULL; (s = next_slot(s));) {
        if (!s->exited)
            count_processes(s);
        else if (!s->swept)
            after_sweep(s);
    }
    release_swept();
    if (self.top == 0)
        proc_kill_children(); /* of nobody we know, and nobody is left to need it */
}

/* --- children coming and going --- */

static void reap(void) {
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        struct slot *s = slot_by_pid(pid);
        self.sweep_at = self.now;
        if (!s)
            continue; /* it lost its parent and came to us */
        s->exited = true;
        s->status = status;
    }
}

/* The status pipe has news: closed by exec, or the reason why there was none. */
static void started(struct slot *s) {
    struct exec_failure f;
    ssize_t n = read(s->status_fd, &f, sizeof(f) - 1);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    close_fd(&s->status_fd);
    if (n <= (ssize_t)offsetof(struct exec_failure, text))
        return; /* tell_spawned comes next */
    ((char *)&f)[n] = 0;
    s->answered = s->told = true; /* its exit is nobody's business */
    close_ends(s);
    refuse(s->id, (enum err_kind)f.kind, f.text);
}

static bool make_pipes(int pipes[4][2]) {
    int made = 0;
    while (made < 4 && pipe2(pipes[made], O_CLOEXEC) == 0)
        made++;
    for (int i = 0; made < 4 && i < made; i++) {
        close(pipes[i][0]);
        close(pipes[i][1]);
    }
    return made == 4;
}

enum { IN, OUT, ERROR, STATUS };

/* Our ends to the slot, the child's to the plan. */
static void deal_pipes(int pipes[4][2], struct slot *s, struct exec_plan *plan) {
    plan->in = pipes[IN][0];
    plan->out = pipes[OUT][1];
    plan->err = pipes[ERROR][1];
    plan->status = pipes[STATUS][1];
    s->ends[0] = pipes[IN][1];
    s->ends[1] = pipes[OUT][0];
    s->ends[2] = pipes[ERROR][0];
    s->status_fd = pipes[STATUS][0];
    for (int i = 0; i < WIRE_FDS; i++)
        fcntl(s->ends[i], F_SETFL, O_NONBLOCK);
    fcntl(s->status_fd, F_SETFL, O_NONBLOCK);
}

static void close_child_ends(const struct exec_plan *plan) {
    close(plan->in);
    close(plan->out);
    close(plan->err);
    close(plan->status);
}

static void fork_child(struct slot *s, struct exec_plan *plan) {
    plan->parent = getpid();
    plan->mark = s->mark;
    s->pid = fork();
    if (s->pid == 0)
        exec_child(plan);
    int number = errno;
    close_child_ends(plan);
    if (s->pid > 0)
        return;
    uint64_t id = s->id;
    cgroup_remove(&s->cgroup);
    slot_release(s);
    refuse(id, ERR_LIMITED,
           number == EAGAIN ? "no more processes are possible (EAGAIN)" : "no memory to fork");
}

static void spawn_slot(struct slot *s) {
    int pipes[4][2];
    struct exec_plan plan = { .setup = self.setup, .request = &self.spawn, .cgroup = &s->cgroup };
    if (!make_pipes(pipes)) {
        refuse(s->id, ERR_LIMITED, "no descriptors left for another child");
        slot_release(s);
        return;
    }
    deal_pipes(pipes, s, &plan);
    s->mark = proc_mark(s->id);
    s->processes = self.spawn.limits.processes;
    if (s->processes)
        earlier(&self.sweep_at, self.now + SWEEP_EVERY);
    cgroup_make(&self.setup->cgroups, s->id, self.spawn.name, &self.spawn.limits, &s->cgroup);
    fork_child(s, &plan);
}

static void spawn(struct wire_message *m) {
    uint64_t id = m->head.id;
    struct slot *s = NULL;
    if (!wire_get_spawn(m, &self.spawn) || id == 0 || slot_by_id(id))
        refuse(id, ERR_INTERNAL, "the warden does not understand the request");
    else if (self.stopping)
        refuse(id, ERR_UNAVAILABLE, "the gateway is stopping");
    else if (!(s = slot_take(id)))
        refuse(id, ERR_LIMITED, "too many children");
    else
        spawn_slot(s);
}

/* --- requests --- */

static void obey(struct wire_message *m) {
    struct slot *s = slot_by_id(m->head.id);
    switch (m->head.type) {
    case WIRE_SPAWN:
        spawn(m);
        return;
    case WIRE_SIGNAL:
        if (s && m->head.a > 0 && m->head.a <= SIGRTMAX)
            signal_slot(s, (int)m->head.a);
        return;
    case WIRE_END:
        if (s)
            end_slot(s, m->head.a);
        return;
    case WIRE_STOP:
        stop(m->head.a);
        return;
    }
}

/* Stops while an answer waits to be sent: refusals have room for one. */
static void obey_all(void) {
    int fds[WIRE_FDS];
    size_t fd_count;
    for (int i = 0; i < REQUESTS_AT_ONCE && !self.blocked && !self.main_gone; i++) {
        int n = wire_receive(self.fd, MSG_DONTWAIT, &self.message, fds, &fd_count);
        for (size_t k = 0; k < fd_count; k++)
            close(fds[k]);
        if (n == 1)
            obey(&self.message);
        else if (n == -EAGAIN)
            return;
        else if (n != -EBADMSG)
            main_went();
    }
}

/* --- the loop --- */

static nanos next_due(void) {
    nanos due = self.sweep_at;
    if (self.blocked)
        earlier(&due, self.send_at);
    for (struct slot *s = NULL; (s = next_slot(s));)
        if (!s->exited)
            earlier(&due, s->kill_at);
    return due;
}

static int timeout_ms(nanos due) {
    nanos left = due - clock_mono();
    if (due == NANOS_NEVER)
        return -1;
    return left <= 0 ? 0 : left > 60 * NANOS_SEC ? 60000 : (int)((left + NANOS_MS - 1) / NANOS_MS);
}

/* The socket, signals, then the status pipes. */
static struct {
    struct pollfd at[2 + WARDEN_MOST];
    nfds_t n;
} polls;

static void gather(void) {
    short events = self.blocked ? POLLOUT : POLLIN;
    polls.at[0] = (struct pollfd){ .fd = self.main_gone ? -1 : self.fd, .events = events };
    polls.at[1] = (struct pollfd){ .fd = self.signal_fd, .events = POLLIN };
    polls.n = 2;
    for (struct slot *s = NULL; (s = next_slot(s));)
        if (s->status_fd >= 0 && !self.blocked)
            polls.at[polls.n++] = (struct pollfd){ .fd = s->status_fd, .events = POLLIN };
}

static void wait_for_news(void) {
    gather();
    poll(polls.at, polls.n, timeout_ms(next_due()));
    self.now = clock_mono();
    if (polls.at[0].revents & (POLLOUT | POLLHUP | POLLERR) || self.now >= self.send_at) {
        self.blocked = false;
        self.send_at = NANOS_NEVER;
    }
    process_drain(self.signal_fd);
    reap();
}

static void start_all(void) {
    nfds_t at = 2;
    for (struct slot *s = NULL; at < polls.n && (s = next_slot(s));)
        if (s->status_fd == polls.at[at].fd && polls.at[at++].revents && !self.blocked)
            started(s);
}

static void kill_due(void) {
    for (struct slot *s = NULL; (s = next_slot(s));)
        if (!s->exited && self.now >= s->kill_at) {
            kill_slot(s);
            s->kill_at = after(SWEEP_KILL); /* until its exit is seen */
        }
}

static void one_turn(void) {
    bool knew = self.main_gone;
    wait_for_news();
    tell();
    start_all();
    obey_all();
    if (self.main_gone && !knew)
        stop(LEFTOVER_GRACE);
    kill_due();
    tell();
    if (self.now >= self.sweep_at)
        sweep();
    release_swept();
}

/* Children may use as many descriptors as main was given; the warden needs four for each
 * child that starts. */
static void raise_files(const struct rlimit *given) {
    struct rlimit r = *given;
    r.rlim_cur = r.rlim_max < 8192 ? r.rlim_max : 8192;
    setrlimit(RLIMIT_NOFILE, &r);
}

void warden_run(int fd, const struct warden_setup *setup) {
    self.fd = fd;
    self.setup = setup;
    self.sweep_at = self.send_at = NANOS_NEVER;
    process_settle("gatespan-warden", &self.fd);
    self.signal_fd = process_watch_children();
    proc_open();
    raise_files(&setup->files);
    while (!self.stopping || self.top)
        one_turn();
    proc_end_all();
    _exit(0);
}
