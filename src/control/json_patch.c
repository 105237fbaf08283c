/* json_patch.c - see json_patch.h. Depth is bounded by the limit that the documents were read
 * with. */
#include "control/json_patch.h"
#include "base/field.h"
#include "base/mem.h"

/* RFC 7396 §2: members of the patch replace, null removes, objects are merged. */
void json_merge_write(struct jw *w, json target, json patch) {
    if (json_type(patch) != JSON_OBJECT) {
        jw_value(w, patch);
        return;
    }
    jw_object(w);
    for (struct json_iter it = json_iter(json_type(target) == JSON_OBJECT ? target : NULL);
         json_next(&it);) {
        json change = json_get(patch, it.key);
        if (json_type(change) == JSON_NULL)
            continue;
        jw_key(w, it.key);
        if (change)
            json_merge_write(w, it.value, change);
        else
            jw_value(w, it.value);
    }
    for (struct json_iter it = json_iter(patch); json_next(&it);) {
        if (json_type(it.value) == JSON_NULL || json_get(target, it.key))
            continue;
        jw_key(w, it.key);
        json_merge_write(w, NULL, it.value);
    }
    jw_object_end(w);
}

struct place {
    const struct place *up;
    struct str name; /* p == NULL: element `index` */
    size_t index;
};

static void put_place(struct buf *b, const struct place *at) {
    if (!at)
        return;
    put_place(b, at->up);
    if (at->name.p)
        field_path_name(b, at->name);
    else
        field_path_index(b, at->index);
}

static err_t nothing_to_keep(const struct place *at) {
    SCOPED(buf_done) struct buf b = { 0 };
    put_place(&b, at);
    return ERR(INVALID,
               "%.*s: *** stands for a stored secret, and there is none; send the secret itself",
               STR(buf_view(&b)));
}

static err_t restore(struct jw *w, json fresh, json stored, const struct place *at) {
    bool object = json_type(fresh) == JSON_OBJECT;
    if (!object && json_type(fresh) != JSON_ARRAY) {
        if (json_type(fresh) != JSON_STRING || !str_eq(json_text(fresh), S("***"))) {
            jw_value(w, fresh);
            return OK;
        }
        if (!stored)
            return nothing_to_keep(at);
        jw_value(w, stored);
        return OK;
    }
    (object ? jw_object : jw_array)(w);
    size_t i = 0;
    for (struct json_iter it = json_iter(fresh); json_next(&it); i++) {
        struct place here = { at, object ? it.key : (struct str){ 0 }, i };
        if (object)
            jw_key(w, it.key);
        TRY(restore(w, it.value, object ? json_get(stored, it.key) : json_at(stored, i), &here));
    }
    (object ? jw_object_end : jw_array_end)(w);
    return OK;
}

err_t json_restore_secrets(struct jw *w, json fresh, json stored) {
    return restore(w, fresh, stored, NULL);
}
