/* filesystem_server.h - files and directories below configured roots. */
#pragma once
#include "servers/server.h"

extern const struct server_ops filesystem_server;
