/* warden_wire_fuzz.c - a spawn message of any bytes is refused or taken apart within its
 * bounds: every string ends inside it, and putting them together gives its length. */
#include "run/warden_wire.h"

#include <stdlib.h>

static struct wire_message message;
static struct wire_spawn spawn;

static size_t length(char *const *texts) {
    size_t n = 0;
    for (; *texts; texts++)
        n += strlen(*texts) + 1;
    return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    if (n > sizeof(message.body))
        return 0;
    message.head = (struct wire_head){ .size = (uint32_t)(sizeof(message.head) + n),
                                       .type = WIRE_SPAWN };
    memcpy(message.body, data, n);
    memset(message.body + n, 'x', sizeof(message.body) - n); /* no NUL beyond the end */
    if (!wire_get_spawn(&message, &spawn))
        return 0;
    size_t strings = strlen(spawn.name) + strlen(spawn.cwd) + 2;
    strings += length(spawn.argv) + length(spawn.env);
    if (!spawn.argv[0] || strings + sizeof(spawn.limits) + 2 * sizeof(uint32_t) != n)
        abort();
    return 0;
}
