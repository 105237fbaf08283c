/* batch.c - see batch.h. */
#include "gateway/batch.h"
#include "base/mem.h"

struct batch_item {
    struct exchange x;
    struct arena arena;
    struct buf answer;
};

/* ---- each item's face -------------------- */

static err_t item_notify(struct exchange *x, const struct str *pieces, size_t n) {
    return OK;
}

static void item_answer(struct exchange *x, int status, const struct str *pieces, size_t n) {
    struct batch_item *item = x->face_self;
    for (size_t i = 0; i < n; i++)
        buf_str(&item->answer, pieces[i]);
}

static struct push_stream *item_open_stream(struct exchange *x) {
    return NULL;
}

static const struct face_ops item_face = {
    .notify = item_notify, .answer = item_answer, .open_stream = item_open_stream,
};

/* ---- items -------------------- */

static struct batch_item *item_new(const struct exchange *like) {
    struct batch_item *item = NEW(struct batch_item);
    arena_init(&item->arena, NULL, 0);
    item->x = (struct exchange){
        .face = &item_face, .face_self = item, .gw = like->gw, .task = like->task, .arena = &item->arena,
        .snapshot = like->snapshot, .who = like->who, .profile = like->profile,
        .profile_name = like->profile_name, .era = ERA_LEGACY, .revision = like->revision,
        .session = like->session, .head = like->head, .began = like->began, .request_id = like->request_id,
    };
    return item;
}

static void item_free(struct batch_item *item) {
    buf_done(&item->answer);
    arena_done(&item->arena);
    free(item);
}

static err_t run_item(struct task *t, void *arg) {
    struct batch_item *item = arg;
    item->x.task = t;
    exchange_run(&item->x);
    return OK;
}

static void refuse_item(struct batch_item *item, int code, const char *why) {
    answer_error(&item->x, 0, code, (struct str){ 0 }, "%s", why);
}

/* Says what is wrong with it, or starts it. */
static void begin_item(struct batch_item *item, struct str text, struct task_group *group,
                       batch_note_fn *note, void *self) {
    struct exchange *x = &item->x;
    struct envelope_limits limits = { .depth = (unsigned)x->snapshot->conf->limits.json_depth };
    enum envelope_fault fault = envelope_scan(text, limits, &x->in);
    if (fault || x->in.kind == ENVELOPE_BATCH) {
        refuse_item(item, fault ? envelope_fault_code(fault) : RPC_INVALID_REQUEST,
                    fault ? envelope_fault_text(fault) : "A batch inside of a batch");
        return;
    }
    exchange_read_method(x);
    if (x->in.kind != ENVELOPE_REQUEST) {
        note(self, x);
    } else if (x->method == METHOD_INITIALIZE) {
        refuse_item(item, RPC_INVALID_REQUEST, "initialize is never part of a batch");
    } else {
        err_t e = task_group_start(group, run_item, item);
        if (e)
            answer_failure(x, e);
    }
}

/* ---- the array -------------------- */

static void gather(struct batch_item **items, size_t n, struct buf *out) {
    for (size_t i = 0; i < n; i++) {
        if (!items[i]->answer.n)
            continue;
        buf_char(out, out->n ? ',' : '[');
        buf_str(out, buf_view(&items[i]->answer));
    }
    if (out->n)
        buf_char(out, ']');
}

/* The elements are scanned one by one; the array around them is read here. */
static err_t check_array(struct exchange *like, json *out) {
    struct json_limits limits = { .depth = (unsigned)like->snapshot->conf->limits.json_depth + 1 };
    size_t most = (size_t)like->snapshot->conf->limits.batch;
    TRY(json_parse(like->arena, like->in.text, limits, out));
    if (!json_count(*out))
        return ERR(INVALID, "An empty batch");
    if (json_count(*out) > most)
        return ERR(INVALID, "More than %zu messages in a batch (limits.batch)", most);
    return OK;
}

err_t batch_run(struct exchange *like, batch_note_fn *note, void *self, struct buf *out) {
    json array = NULL;
    TRY(check_array(like, &array));
    size_t n = 0, count = json_count(array);
    struct batch_item **items = ARENA_ARRAY(like->arena, struct batch_item *, count);
    SCOPED(task_group_scope) struct task_group group;
    task_group_init(&group, like->task);
    group.collect = true;
    struct json_members each = json_elements(str_trim(like->in.text));
    while (n < count && json_element(&each)) {
        items[n] = item_new(like);
        begin_item(items[n++], each.value, &group, note, self);
    }
    err_t e = task_group_wait(&group);
    struct err failed = e ? *e : (struct err){ 0 };
    gather(items, n, out);
    while (n)
        item_free(items[--n]);
    return e ? err_again(&failed) : OK;
}
