/* libcurl.h - libcurl, loaded when a command first talks HTTP (base/lazy.h). `gatespan serve` has
 * an HTTP client of its own. */
#pragma once
#include "base/lazy.h"
#include <curl/curl.h>

#define LIBCURL_FUNCTIONS(X)  \
    X(curl_easy_cleanup)      \
    X(curl_easy_getinfo)      \
    X(curl_easy_init)         \
    X(curl_easy_pause)        \
    X(curl_easy_perform)      \
    X(curl_easy_setopt)       \
    X(curl_easy_strerror)     \
    X(curl_global_init)       \
    X(curl_multi_add_handle)  \
    X(curl_multi_cleanup)     \
    X(curl_multi_info_read)   \
    X(curl_multi_init)        \
    X(curl_multi_perform)     \
    X(curl_multi_poll)        \
    X(curl_multi_remove_handle) \
    X(curl_multi_setopt)      \
    X(curl_multi_wakeup)      \
    X(curl_slist_append)      \
    X(curl_slist_free_all)    \
    X(curl_version_info)

LIBCURL_FUNCTIONS(LAZY_DECLARE)
extern struct lazy_library libcurl_library;

/* Loads and starts it: the first thing of a command that talks HTTP. 0 or an exit code, said on
 * stderr. */
int libcurl_open(void);
