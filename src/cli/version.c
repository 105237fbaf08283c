/* version.c - `gatespan version`. */
#include "cli/cli.h"
#include "mcp/envelope.h"
#include "mcp/revision.h"
#include <openssl/crypto.h>
#include <stdio.h>
#include <uv.h>

static int run(struct cli *c) {
    printf("gatespan " GATESPAN_VERSION "\nMCP revisions:");
    for (int r = 0; r < REVISIONS; r++)
        printf(" %.*s", STR(revision_text((enum revision)r)));
    printf("\nscanner %s, libuv %s, %s\n", envelope_engine(), uv_version_string(),
           OpenSSL_version(OPENSSL_VERSION));
    return 0;
}

const struct command command_version = {
    .name = "version", .words = "", .summary = "print the version, revisions and libraries", .run = run,
};
