/* routes.h - the HTTP surface as rows: path, methods, who may, which function. */
#pragma once
#include "gateway/admit.h"

struct control;

struct route {
    const char *path;
    bool prefix;          /* also everything below path + "/" */
    const char *methods;  /* space separated; others get 405 */
    enum need need;
    enum refusal_style style;
    void (*serve)(struct task *t, struct http_request *r);
    const char *help;
};
extern const struct route routes[];
extern const size_t route_count;

/* The service of every listener; arg is the control. */
struct http_service routes_service(struct control *c);
