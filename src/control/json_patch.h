/* json_patch.h - JSON Merge Patch (RFC 7396), and secrets that come back as "***".
 *
 * Threads  any
 */
#pragma once
#include "base/json.h"

/* Writes `target` (NULL: nothing) changed by `patch`. */
void json_merge_write(struct jw *w, json target, json patch);

/* Answers show secrets as "***"; who sends an item back so means what is stored. Writes `fresh`
 * with each text "***" replaced by what `stored` (NULL: nothing) has at the same place. INVALID
 * names the place where there is nothing to keep. */
err_t json_restore_secrets(struct jw *w, json fresh, json stored);
