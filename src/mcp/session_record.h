/* session_record.h - how a session lies in shared state: a small JSON object that other nodes,
 * and other versions of this program, read.
 *
 *   {"revision":"2025-06-18","principal":"00…","profile":"00…","asks":3,"level":-1,
 *    "initialized":true,"client":"an editor"}
 *
 * Threads  pure functions
 */
#pragma once
#include "base/arena.h"
#include "base/buf.h"
#include "mcp/session.h"

enum { SESSION_CLIENT = 64 }; /* characters of a client's name that are kept */

void session_record_write(const struct session_view *v, struct str client, struct buf *out);
/* False when it is none of ours or names a revision that this program does not know. Sets all
 * of *out but its id and stream; the client's name is in the arena. */
bool session_record_read(struct arena *a, struct str record, struct session_view *out,
                         struct str *out_client);
