/* libcurl.c - see libcurl.h. */
#include "cli/libcurl.h"
#include "cli/cli.h"

#define SONAME "libcurl.so.4"

LIBCURL_FUNCTIONS(LAZY_DEFINE)
static const struct lazy_symbol symbols[] = { LIBCURL_FUNCTIONS(LAZY_ROW) };
struct lazy_library libcurl_library = LAZY_LIBRARY(SONAME, "libcurl4", symbols);
LAZY_NOTE("curl", "commands that talk to a running gateway", SONAME);

int libcurl_open(void) {
    err_t e = lazy_load(&libcurl_library, "asking a running gateway");
    if (e)
        return cli_fail(EXIT_FAILURE_, "%s", e->text);
    sym_curl_global_init(CURL_GLOBAL_DEFAULT);
    return 0;
}
