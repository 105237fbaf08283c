/* rest_routes.h - the tables of the resources, one in each rest_*.c. */
#pragma once
#include "control/route.h"

extern const struct route_table health_routes, tool_routes, reference_routes;
