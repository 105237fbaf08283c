/* warden_wire.h - what the gateway and its warden say to each other.
 *
 * One message per SEQPACKET datagram: a fixed head that repeats the datagram's length,
 * then a body. Both ends are one program on one machine, so numbers are in host order;
 * lengths and counts are checked all the same, since what is carried comes from users.
 * Ids are made by the gateway, start at 1 and are never used twice.
 *
 *   spawn    →  id; body: limits, counts, name, cwd, argv…, env… each NUL-terminated
 *   signal   →  id; a: signal
 *   end      →  id; a: grace in nanoseconds
 *   stop     →  a: grace in nanoseconds
 *   hello    ←  from the keeper: a: the warden's pid, b: whether cgroups are used; 1 descriptor
 *   spawned  ←  id; a: pid; 3 descriptors: stdin, stdout, stderr
 *   refused  ←  id; a: enum err_kind; body: the reason
 *   exited   ←  id; a: whether a signal ended it; b: exit status or signal
 *
 * Threads  any; nothing is kept here
 * Waits    never: descriptors are used with MSG_DONTWAIT unless said
 */
#pragma once
#include "base/buf.h"
#include "base/err.h"
#include "run/warden.h"

#define WIRE_MAX (64 * 1024) /* one message */
#define WIRE_STRINGS 4096    /* arguments, and as many variables */
#define WIRE_FDS 3

enum wire_type {
    WIRE_SPAWN = 1,
    WIRE_SIGNAL,
    WIRE_END,
    WIRE_STOP,
    WIRE_HELLO,
    WIRE_SPAWNED,
    WIRE_REFUSED,
    WIRE_EXITED,
};

struct wire_head {
    uint32_t size; /* of the whole message */
    uint32_t type;
    uint64_t id;
    int64_t a, b;
};

struct wire_message {
    struct wire_head head;
    char body[WIRE_MAX - sizeof(struct wire_head)];
};

/* Appends a spawn message. INVALID for a NUL byte or an empty command, TOO_LARGE beyond
 * WIRE_MAX or WIRE_STRINGS; then `out` is as it was. */
err_t wire_put_spawn(struct buf *out, uint64_t id, const struct spawn_request *request);

/* A spawn message taken apart; everything points into the message. */
struct wire_spawn {
    struct spawn_limits limits;
    const char *name, *cwd;
    char *argv[WIRE_STRINGS + 1], *env[WIRE_STRINGS + 1];
};
bool wire_get_spawn(struct wire_message *m, struct wire_spawn *out);

/* 0, or -errno: -EAGAIN when the peer has to read first. */
int wire_send(int fd, const void *message, size_t n, const int *fds, size_t fd_count);
int wire_say(int fd, struct wire_head head, struct str body); /* at most 1 KiB of body */

/* 1: a message and *fd_count descriptors (close-on-exec, the caller's; the rest are -1);
 * 0: the peer is gone; -EAGAIN: nothing there; -EBADMSG: not ours; other -errno.
 * `flags`: MSG_DONTWAIT or 0. */
int wire_receive(int fd, int flags, struct wire_message *m, int fds[WIRE_FDS], size_t *fd_count);
