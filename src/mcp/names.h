/* names.h - tool and prompt names of several upstreams in one name space (P-600..P-603).
 *
 *   upstream "time", tool "get_current_time"  ->  "time__get_current_time"
 * At most 64 bytes of [A-Za-z0-9_.-]; foreign bytes become '_' and what is too long is cut;
 * in both cases a stable 8-digit hash of the whole original is put at the end, so names
 * stay distinct and the same across restarts and whatever other upstreams exist.
 */
#pragma once
#include "base/arena.h"

#define NAME_MAX_SHOWN 64
/* `prefix` empty: the tool's own name, made safe. */
struct str name_show(struct arena *a, struct str prefix, struct str name);
/* An upstream's or profile's name as configuration may spell it: 1-32 of [A-Za-z0-9_-],
 * no "__", not starting or ending with '_'. */
bool name_valid_upstream(struct str name);
