/* history_private.h - what reading (history.c) and filling (history_drain.c) share. */
#pragma once
#include "control/history.h"

struct history_drain;

struct history {
    struct store *store;
    const struct seal_ring *ring;
    uint64_t dropped, rows;      /* atomic */
    struct history_drain *drain; /* NULL: nothing comes in */
};

/* Where a row's payload is sealed to. */
struct str history_payload_row(struct arena *a, struct str request_id, nanos at);
