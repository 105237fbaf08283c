/* driver.c - closed-loop load on several peers in turn, with verified answers.
 *
 *   bench-driver --peer NAME,PORT,PATH,TOOL,PID [--peer …] [options]
 *
 * All peers stay connected; in each round every peer gets one window of a fixed number of
 * requests, in an order that rotates from round to round, so that what the machine does
 * meanwhile hits all of them alike. Of each window: CPU time of the peer's process tree, wall
 * time, median and 99th percentile of the latency. One JSON object on stdout.
 *
 * With --rate requests start at fixed times instead and latency counts from when a request was
 * due, not from when a connection was free for it (no coordinated omission).
 * With --hold nothing is timed: connections or sessions are opened, each used once, and kept
 * until stdin ends, for others to measure memory. `connections` are used a few at a time, so
 * that what stays is theirs; in a `burst` all are used at the same moment. */
#include "cpu.h"
#include "kit.h"
#include "peer.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

enum { MOST_PEERS = 8, FEW = 16 };
enum hold { HOLD_NOTHING, HOLD_CONNECTIONS, HOLD_BURST, HOLD_SESSIONS };

/* One number for each round. */
struct series {
    int64_t *cpu_ns, *wall_ns, *p50_ns, *p99_ns;
};

static struct {
    int64_t connections, requests, rounds, rate, settle_us, timeout_s;
    enum hold hold;
    struct load load;
} options = { .connections = 1,
              .requests = 1000,
              .rounds = 1,
              .settle_us = 2000,
              .timeout_s = 300,
              .load = { .text_bytes = 32, .key = "none" } };

static struct peer peers[MOST_PEERS];
static struct series results[MOST_PEERS];
static size_t peer_count;

/* ---- one window -------------------------------------------------------------------- */

struct window {
    struct peer *peer;
    struct conn **idle; /* a stack */
    size_t idle_count;
    int64_t sent, answered;
    bool once;             /* each connection carries one request, at most FEW at a time */
    /* when the next request starts; interval 0: as soon as a connection is free */
    int64_t due, interval;
    int64_t *latency;      /* of each answer, ns */
};

static bool may_send(const struct window *w) {
    return w->idle_count && w->sent < options.requests && (!w->once || w->sent - w->answered < FEW);
}

static void send_due(struct window *w, int64_t now) {
    while (may_send(w) && w->due <= now) {
        struct conn *c = w->idle[--w->idle_count];
        c->started = w->interval ? w->due : now;
        w->due += w->interval;
        w->sent++;
        conn_call(c);
    }
}

/* Waits for answers, or until the next request is due if a connection is free for it. */
static int wait_events(const struct window *w, struct epoll_event *events, int most) {
    if (!w->interval || !w->idle_count || w->sent == options.requests)
        return epoll_wait(w->peer->epoll, events, most, -1);
    int64_t left = w->due - now_ns();
    struct timespec timeout = { .tv_sec = left / 1000000000, .tv_nsec = left % 1000000000 };
    if (left <= 0)
        timeout = (struct timespec){ 0 };
    return epoll_pwait2(w->peer->epoll, events, most, &timeout, NULL);
}

static void answered(struct window *w, struct conn *c) {
    int64_t now = now_ns();
    w->latency[w->answered++] = now - c->started;
    if (!w->once)
        w->idle[w->idle_count++] = c;
    send_due(w, now);
}

static void run_window(struct window *w) {
    struct epoll_event events[128];
    w->due = now_ns();
    send_due(w, w->due);
    while (w->answered < options.requests) {
        int n = wait_events(w, events, ARRAY_SIZE(events));
        if (n < 0 && errno != EINTR)
            die("epoll_wait");
        for (int i = 0; i < n; i++)
            if (conn_event(events[i].data.ptr, events[i].events))
                answered(w, events[i].data.ptr);
        if (w->interval)
            send_due(w, now_ns());
    }
}

static int ascending(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* Lets the peer finish its turn and go to sleep, so that the scheduler has counted all of it. */
static void settle(void) {
    struct timespec pause = { .tv_nsec = options.settle_us * 1000 };
    nanosleep(&pause, NULL);
}

static void measure(struct peer *p, struct series *out, int64_t round) {
    static int64_t *latency;
    static struct conn **idle;
    latency = latency ? latency : calloc((size_t)options.requests, sizeof *latency);
    idle = idle ? idle : calloc((size_t)options.connections, sizeof *idle);
    if (!latency || !idle)
        die("no memory for the window");
    struct window w = { .peer = p, .idle = idle, .latency = latency, .idle_count = p->count };
    w.once = options.hold == HOLD_CONNECTIONS;
    w.interval = options.rate ? 1000000000 / options.rate : 0;
    for (size_t i = 0; i < p->count; i++)
        idle[i] = &p->conns[i];
    settle();
    int64_t cpu = p->pid ? cpu_tree_ns(p->pid) : 0, start = now_ns();
    run_window(&w);
    out->wall_ns[round] = now_ns() - start;
    settle();
    out->cpu_ns[round] = p->pid ? cpu_tree_ns(p->pid) - cpu : 0;
    qsort(latency, (size_t)options.requests, sizeof *latency, ascending);
    out->p50_ns[round] = latency[options.requests / 2];
    out->p99_ns[round] = latency[options.requests * 99 / 100];
}

/* ---- all windows ------------------------------------------------------------------- */

static void run_rounds(void) {
    for (size_t i = 0; i < peer_count; i++)
        peer_open(&peers[i], &options.load, (size_t)options.connections);
    for (size_t i = 0; i < peer_count; i++)
        measure(&peers[i], &results[i], 0); /* to warm up: round 0 writes over it */
    for (int64_t round = 0; round < options.rounds; round++)
        for (size_t i = 0; i < peer_count; i++) {
            size_t turn = (i + (size_t)round) % peer_count;
            measure(&peers[turn], &results[turn], round);
        }
}

static void print_series(const char *name, const int64_t *values, double scale) {
    printf(", \"%s\": [", name);
    for (int64_t i = 0; i < options.rounds; i++)
        printf("%s%.3f", i ? ", " : "", (double)values[i] / scale);
    printf("]");
}

/* CPU and wall time per request, all in µs. */
static void print_results(void) {
    double each = 1000.0 * (double)options.requests;
    printf("{\"connections\": %lld, \"requests\": %lld, \"rounds\": %lld, \"peers\": {",
           (long long)options.connections, (long long)options.requests, (long long)options.rounds);
    for (size_t i = 0; i < peer_count; i++) {
        printf("%s\"%s\": {\"request_bytes\": %zu", i ? ", " : "", peers[i].name,
               peers[i].conns[0].request.n);
        print_series("cpu_us", results[i].cpu_ns, each);
        print_series("wall_us", results[i].wall_ns, each);
        print_series("p50_us", results[i].p50_ns, 1000);
        print_series("p99_us", results[i].p99_ns, 1000);
        printf("}");
    }
    printf("}}\n");
}

static void hold(void) {
    char end;
    if (options.hold == HOLD_SESSIONS) {
        peers[0].load = &options.load;
        peer_sessions(&peers[0], (size_t)options.connections);
    } else {
        options.requests = options.connections;
        peer_open(&peers[0], &options.load, (size_t)options.connections);
        measure(&peers[0], &results[0], 0);
    }
    alarm(0);
    printf("{\"held\": %lld}\n", (long long)options.connections);
    fflush(stdout);
    while (read(STDIN_FILENO, &end, 1) > 0)
        ;
}

/* ---- command line ------------------------------------------------------------------ */

static void add_peer(char *text) {
    if (peer_count == MOST_PEERS)
        die("at most %d peers", MOST_PEERS);
    peer_parse(&peers[peer_count++], text);
}

static int choose(const char *option, const char *word, const char *const *words) {
    for (int i = 0; words[i]; i++)
        if (!strcmp(words[i], word))
            return i;
    die("--%s %s: not one of its words, see README", option, word);
}

static void set_option(int o, char *value) {
    static const char *const styles[] = { "legacy", "modern", NULL };
    static const char *const fills[] = { "escaped", "plain", "utf8", NULL };
    static const char *const holds[] = { "nothing", "connections", "burst", "sessions", NULL };
    struct load *load = &options.load;
    switch (o) {
    case 'p': add_peer(value); break;
    case 's': load->modern = choose("style", value, styles) == 1; break;
    case 'f': load->filler = (enum filler)choose("fill", value, fills); break;
    case 'h': options.hold = (enum hold)choose("hold", value, holds); break;
    case 'k': load->key = value; break;
    case 'c': options.connections = option_number("connections", value, 1, 100000); break;
    case 'n': options.requests = option_number("requests", value, 1, 100000000); break;
    case 'r': options.rounds = option_number("rounds", value, 1, 10000); break;
    case 'b': load->text_bytes = (size_t)option_number("text-bytes", value, 16, 64 << 20); break;
    case 'P': load->ping = true; break;
    case 'C': load->capable = true; break;
    case 'l': load->list_tools = option_number("list", value, 1, 100000); break;
    case 'R': options.rate = option_number("rate", value, 1, 10000000); break;
    case 'S': options.settle_us = option_number("settle-us", value, 0, 900000); break;
    case 'T': options.timeout_s = option_number("timeout", value, 1, 86400); break;
    default: exit(2);
    }
}

static const struct option names[] = {
    { "peer", required_argument, NULL, 'p' },       { "style", required_argument, NULL, 's' },
    { "fill", required_argument, NULL, 'f' },       { "hold", required_argument, NULL, 'h' },
    { "key", required_argument, NULL, 'k' },        { "connections", required_argument, NULL, 'c' },
    { "requests", required_argument, NULL, 'n' },   { "rounds", required_argument, NULL, 'r' },
    { "text-bytes", required_argument, NULL, 'b' }, { "list", required_argument, NULL, 'l' },
    { "rate", required_argument, NULL, 'R' },       { "settle-us", required_argument, NULL, 'S' },
    { "timeout", required_argument, NULL, 'T' },    { "ping", no_argument, NULL, 'P' },
    { "capable", no_argument, NULL, 'C' },
    { 0 },
};

static void too_late(int signal) {
    static const char text[] = "bench-driver: not done within --timeout\n";
    _exit(write(STDERR_FILENO, text, sizeof text - 1) < 0 ? 2 : 1);
}

static void make_room(void) {
    for (size_t i = 0; i < peer_count; i++) {
        int64_t **series[] = { &results[i].cpu_ns, &results[i].wall_ns, &results[i].p50_ns,
                               &results[i].p99_ns };
        for (size_t k = 0; k < ARRAY_SIZE(series); k++)
            if (!(*series[k] = calloc((size_t)options.rounds, sizeof(int64_t))))
                die("no memory for the results");
    }
}

int main(int argc, char **argv) {
    for (int o; (o = getopt_long(argc, argv, "", names, NULL)) != -1;)
        set_option(o, optarg);
    if (!peer_count)
        die("--peer is needed");
    die_with_parent();
    prctl(PR_SET_TIMERSLACK, 1UL); /* for --rate: the default is 50 µs */
    signal(SIGALRM, too_late);
    alarm((unsigned)options.timeout_s);
    make_room();
    if (options.hold != HOLD_NOTHING) {
        hold();
    } else {
        run_rounds();
        print_results();
    }
    return 0;
}
