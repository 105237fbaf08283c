/* planned.h - the names and ports of the built-in servers, of those too that are not built yet
 * (DESIGN §2), so that a configuration that names one is no mistake. */
#pragma once
#include "base/arena.h"

/* The port of `serve --role server:NAME`; 0: there is no such server. */
unsigned planned_port(struct str name);
struct str planned_names(struct arena *a); /* "filesystem, database, …" */
