/* time_server.h - the `time` server: clocks, time zones and calendar arithmetic. */
#pragma once
#include "servers/server.h"

extern const struct server_ops time_server;
