/* path.h - what a model may write for a path, before anything touches the disk.
 *
 * A path names a root first: "files/notes/a.txt". Absolute paths below a root and the
 * server's own URIs (file:///files/notes/a.txt) mean the same. What comes out is clean:
 * components without "", ".", ".." and NUL, none longer than a name may be. The kernel
 * confines what is left (beneath.h); this file only says early and clearly what is wrong.
 *
 * Threads  any; pure functions
 */
#pragma once
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"

enum { PATH_LENGTH = 4000, PATH_NAME = 255, PATH_COMPONENTS = 256 };

/* Components joined by "/", without any at the ends; "" for the root itself. In the arena,
 * followed by a NUL. INVALID says which part is wrong. `hidden` false: no component may
 * begin with a dot. */
err_t path_clean(struct arena *a, struct str text, bool hidden, struct str *out);

/* Below `top` by text: *rest is what follows, without leading slashes. */
bool path_below(struct str path, struct str top, struct str *rest);

/* The last component, and what stands before it ("" when there is nothing). */
struct str path_leaf(struct str clean);
struct str path_parent(struct str clean);

/* file:///ROOT/REST with everything but unreserved bytes and "/" as %XX (RFC 3986 §2). */
void path_put_uri(struct buf *out, struct str root, struct str rest);
/* "ROOT/REST" of such a URI; false when it is none. */
bool path_from_uri(struct arena *a, struct str uri, struct str *out);

/* Names of our temporary files: ".gatespan-" 16 hexadecimal digits ".tmp". They are neither
 * listed nor reachable. */
enum { PATH_TEMP = 31 }; /* with its NUL */
void path_temp_name(uint64_t number, char out[PATH_TEMP]);
bool path_is_temp(struct str name);

/* By the ending of the name; "application/octet-stream" when it is unknown. Sniffing looks
 * at the first bytes and only corrects pictures, sounds and PDF. */
struct str path_mime(struct str name);
struct str path_sniff(struct str head, struct str by_name);
