/* rest_routes.h - the tables of the resources, one in each rest_*.c. */
#pragma once
#include "control/route.h"

extern const struct route_table tool_routes, server_routes, profile_routes, key_routes,
    history_routes, health_routes, reference_routes, backup_routes, explain_routes, log_routes;
