/* doctor.h - what the files of `gatespan doctor` share: findings, one line each, with a remedy. */
#pragma once
#include "cli/cli.h"
#include "gateway/conf.h"

enum finding_state { FINDING_OK, FINDING_WARNING, FINDING_BROKEN, FINDING_SKIPPED };

struct doctor {
    struct cli *cli;
    struct arena *arena;
    struct gateway_conf *conf;
    struct str config, data;
    bool running;             /* a gateway holds the data directory */
    struct finding {
        const char *check;
        enum finding_state state;
        struct str says, remedy; /* remedy: empty where there is nothing to do */
    } * items;
    size_t n;
};

/* `remedy` may be NULL. */
void doctor_say(struct doctor *d, const char *check, enum finding_state state, const char *remedy,
                const char *format, ...) __attribute__((format(printf, 5, 6)));

void doctor_data(struct doctor *d);      /* doctor_machine.c: directory, permissions, free space */
void doctor_ports(struct doctor *d);
void doctor_limits(struct doctor *d);
void doctor_sandbox(struct doctor *d);
void doctor_clock(struct doctor *d);
void doctor_libraries(struct doctor *d); /* those that are loaded at their first use */
void doctor_tls(struct doctor *d);       /* doctor_network.c: files of the server side */
void doctor_dns(struct doctor *d);
/* Starts a gateway on a copy of nothing but the configuration, and asks how its upstreams are. */
void doctor_upstreams(struct doctor *d);
