/* version.c - `gatespan version`. */
#include "base/mem.h"
#include "cli/output.h"
#include "mcp/envelope.h"
#include "mcp/revision.h"
#include <openssl/crypto.h>
#include <uv.h>

static const struct cli_option options[] = { OUTPUT_OPTION };

static json document(struct cli *c) {
    SCOPED(buf_done) struct buf b = { 0 };
    struct jw w = jw_init(&b);
    jw_object(&w);
    jw_put_string(&w, "version", S(GATESPAN_VERSION));
    jw_key(&w, S("revisions"));
    jw_array(&w);
    for (int r = 0; r < REVISIONS; r++)
        jw_string(&w, revision_text((enum revision)r));
    jw_array_end(&w);
    jw_put_string(&w, "scanner", str_of(envelope_engine()));
    jw_put_string(&w, "libuv", str_of(uv_version_string()));
    jw_put_string(&w, "openssl", str_of(OpenSSL_version(OPENSSL_VERSION)));
    jw_object_end(&w);
    return output_document(&c->arena, &b);
}

static int run(struct cli *c) {
    if (output_format(c) != FORMAT_TABLE) {
        output_value(c, document(c), output_format(c));
        return 0;
    }
    printf("gatespan " GATESPAN_VERSION "\nMCP revisions:");
    for (int r = 0; r < REVISIONS; r++)
        printf(" %.*s", STR(revision_text((enum revision)r)));
    printf("\nscanner %s, libuv %s, %s\n", envelope_engine(), uv_version_string(),
           OpenSSL_version(OPENSSL_VERSION));
    return 0;
}

const struct command command_version = {
    .name = "version", .words = "", .summary = "print the version, revisions and libraries", .options = options,
    .option_count = ARRAY_SIZE(options), .run = run,
};
