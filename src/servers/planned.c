/* planned.c - see planned.h. */
#include "servers/planned.h"

static const struct {
    const char *name;
    unsigned port;
} planned[] = {
    { "filesystem", 8501 }, { "database", 8502 }, { "vectorstore", 8503 },    { "memory", 8504 },
    { "search", 8505 },     { "aiml", 8506 },     { "sandbox", 8507 },        { "time", 8508 },
    { "classification", 8509 }, { "quality", 8510 },
};

unsigned planned_port(struct str name) {
    for (size_t i = 0; i < ARRAY_SIZE(planned); i++)
        if (str_eq(str_of(planned[i].name), name))
            return planned[i].port;
    return 0;
}

struct str planned_names(struct arena *a) {
    struct str list = S("");
    for (size_t i = 0; i < ARRAY_SIZE(planned); i++)
        list = arena_fmt(a, "%.*s%s%s", STR(list), i ? ", " : "", planned[i].name);
    return list;
}
