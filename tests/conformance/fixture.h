/* fixture.h - the server that the official conformance suite expects: tools, resources and prompts
 * of the names and texts it looks for. See README.md. */
#pragma once
#include "servers/server.h"

extern const struct server_ops fixture_server;
