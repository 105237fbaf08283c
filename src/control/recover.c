/* recover.c - a new admin key for a data directory whose admin key is lost (control.h). Whoever
 * may write there owns the gateway anyway; the lock says that no gateway runs on it. */
#include "base/mem.h"
#include "control/private.h"
#include <unistd.h>

static err_t revoke_others(struct control *c, struct str own, size_t *out_n) {
    struct key_record *all;
    size_t n;
    TRY(key_store_list(NULL, &c->key_store, &c->arena, S(""), 0, &all, &n));
    for (size_t i = 0; i < n; i++) {
        bool admin = all[i].principal.grants.admin && key_usable(&all[i], clock_wall());
        if (!admin || str_eq(all[i].principal.id, own))
            continue;
        TRY(key_store_revoke(NULL, &c->key_store, all[i].principal.id));
        ++*out_n;
    }
    return OK;
}

static err_t recover(struct control *c, bool alone, char text[KEY_TEXT], size_t *out_n) {
    struct key_record made, wanted = { .principal = { .name = S("admin"), .tenant = S("default"),
                                                      .grants = { .admin = true } } };
    TRY(data_open(c));
    TRY(key_store_make(NULL, &c->key_store, &c->arena, &wanted, text, &made));
    return alone ? revoke_others(c, made.principal.id, out_n) : OK;
}

err_t control_recover(struct str data, bool alone, char text[KEY_TEXT], size_t *out_revoked) {
    struct control *c = NEW(struct control);
    struct err saved = { 0 };
    arena_init(&c->arena, NULL, 0);
    c->lock_fd = -1;
    c->data = arena_dup(&c->arena, data);
    *out_revoked = 0;
    err_t e = OK;
    if (access(arena_text(&c->arena, arena_fmt(&c->arena, "%.*s/master.key", STR(data))), F_OK))
        e = ERR(NOT_FOUND, "%.*s is no data directory of a gateway; name it with --data",
                STR(data));
    if (!e)
        e = recover(c, alone, text, out_revoked);
    if (e)
        saved = *e;
    control_free(c);
    return e ? err_again(&saved) : OK;
}
