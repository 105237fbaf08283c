/* http_url.h - the parts of an http(s) URL that a request needs (RFC 3986, RFC 9110 §4.2). */
#pragma once
#include "base/err.h"

struct http_url {
    bool secure;
    struct str host;      /* to connect to: a v6 address without its brackets */
    uint16_t port;
    struct str authority; /* for the Host header: with the port when it is not the scheme's own */
    struct str target;    /* path and query, at least "/" */
};
/* Slices of `url`. INVALID names what is wrong: scheme, user information, port, control bytes. */
err_t http_url_parse(struct str url, struct http_url *out);
