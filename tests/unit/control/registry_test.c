/* The registry, keys, Idempotency-Key and history over a real store. */
#include "../run/fixture.h"
#include "control/history.h"
#include "control/key_store.h"
#include <stdio.h>
#include <unistd.h>

struct place {
    char folder[64], path[96];
    struct arena arena;
    struct store *store;
    struct seal_ring ring;
    struct registry *registry;
    uint8_t hmac_key[SHA256_SIZE];
    struct key_store keys;
    struct history *history;
};

static int set_up(void **state) {
    struct place *p = NEW(struct place);
    strcpy(p->folder, "/tmp/gatespan-registry-XXXXXX");
    assert_non_null(mkdtemp(p->folder));
    snprintf(p->path, sizeof p->path, "%s/test.db", p->folder);
    arena_init(&p->arena, NULL, 0);
    p->ring.count = 1;
    crypto_random(p->ring.keys[0].key, SHA256_SIZE);
    crypto_random(p->hmac_key, SHA256_SIZE);
    const struct store_conf conf = { .path = str_of(p->path) };
    assert_null(store_open(&conf, &p->store));
    p->registry = registry_new(p->store, &p->ring);
    p->keys = (struct key_store){ p->registry, p->hmac_key };
    p->history = history_new(p->store, &p->ring);
    *state = p;
    return 0;
}

static int tear_down(void **state) {
    struct place *p = *state;
    char command[128];
    history_free(p->history);
    registry_free(p->registry);
    store_close(p->store);
    snprintf(command, sizeof command, "rm -rf %s", p->folder);
    assert_int_equal(system(command), 0);
    arena_done(&p->arena);
    free(p);
    return 0;
}

static err_t put(struct place *p, const char *name, const char *doc, int64_t expected,
                 int64_t *version) {
    return registry_put(NULL, p->registry, REGISTRY_SERVER, str_of(name), str_of(doc), expected,
                        version);
}

/* ---- items -------------------------------------------------------------------------- */

static void an_item_keeps_document_and_version(void **state) {
    struct place *p = *state;
    struct registry_item item;
    int64_t version = 0;
    assert_null(put(p, "a", "{\"x\":1}", REGISTRY_CREATE, &version));
    assert_int_equal(version, 1);
    assert_null(put(p, "a", "{\"x\":2}", 1, &version));
    assert_int_equal(version, 2);
    assert_null(registry_get(NULL, p->registry, REGISTRY_SERVER, &p->arena, S("a"), &item));
    assert_true(str_eq(item.doc, S("{\"x\":2}")));
    assert_int_equal(item.version, 2);
    assert_true(item.updated >= item.created && item.created > 0);
    assert_int_equal(
        kind_of(registry_get(NULL, p->registry, REGISTRY_TOOL, &p->arena, S("a"), &item)),
        ERR_NOT_FOUND); /* kinds are apart */
}

static void versions_guard_against_lost_changes(void **state) {
    struct place *p = *state;
    int64_t version;
    assert_int_equal(kind_of(put(p, "a", "{}", 1, NULL)), ERR_NOT_FOUND);
    assert_null(put(p, "a", "{}", REGISTRY_CREATE, NULL));
    assert_int_equal(kind_of(put(p, "a", "{}", REGISTRY_CREATE, NULL)), ERR_CONFLICT);
    assert_int_equal(kind_of(put(p, "a", "{}", 2, NULL)), ERR_CONFLICT);
    assert_null(put(p, "a", "{}", REGISTRY_ANY, &version));
    assert_int_equal(version, 2);
    assert_int_equal(kind_of(registry_remove(NULL, p->registry, REGISTRY_SERVER, S("a"), 1)),
                     ERR_CONFLICT);
    assert_null(registry_remove(NULL, p->registry, REGISTRY_SERVER, S("a"), 2));
    assert_int_equal(
        kind_of(registry_remove(NULL, p->registry, REGISTRY_SERVER, S("a"), REGISTRY_ANY)),
        ERR_NOT_FOUND);
}

static void lists_page_by_name(void **state) {
    struct place *p = *state;
    struct registry_item *items;
    size_t n;
    char name[16];
    for (int i = 0; i < 25; i++) {
        snprintf(name, sizeof name, "s%02d", 24 - i);
        assert_null(put(p, name, "{}", REGISTRY_CREATE, NULL));
    }
    assert_null(
        registry_list(NULL, p->registry, REGISTRY_SERVER, &p->arena, S(""), 10, &items, &n));
    assert_int_equal(n, 10);
    assert_true(str_eq(items[0].name, S("s00")));
    assert_null(registry_list(NULL, p->registry, REGISTRY_SERVER, &p->arena, items[9].name, 100,
                              &items, &n));
    assert_int_equal(n, 15);
    assert_true(str_eq(items[0].name, S("s10")));
}

static void documents_are_sealed_in_their_row(void **state) {
    struct place *p = *state;
    struct store_rows rows;
    struct registry_item item;
    assert_null(put(p, "a", "{\"token\":\"canary-7f3a\"}", REGISTRY_CREATE, NULL));
    assert_null(put(p, "b", "{}", REGISTRY_CREATE, NULL));
    assert_null(store_read(NULL, p->store, &p->arena, &(struct store_statement){
        .sql = "SELECT doc_sealed FROM registry" }, &rows));
    for (size_t i = 0; i < rows.rows; i++)
        assert_true(str_find(store_cell(&rows, i, 0)->text, S("canary")) < 0);
    const struct store_statement swap = {
        .sql = "UPDATE registry SET doc_sealed = (SELECT doc_sealed FROM registry WHERE name = 'a')" };
    assert_null(store_write(NULL, p->store, &swap, 1, NULL));
    assert_int_equal(
        kind_of(registry_get(NULL, p->registry, REGISTRY_SERVER, &p->arena, S("b"), &item)),
        ERR_INVALID);
}

static void names_and_sizes_have_bounds(void **state) {
    struct place *p = *state;
    char *big = mem_zero(REGISTRY_DOC + 2);
    memset(big, ' ', REGISTRY_DOC + 1);
    assert_int_equal(kind_of(put(p, "", "{}", REGISTRY_CREATE, NULL)), ERR_INVALID);
    assert_int_equal(kind_of(put(p, "a", big, REGISTRY_CREATE, NULL)), ERR_TOO_LARGE);
    big[129] = '\0';
    assert_int_equal(kind_of(put(p, big, "{}", REGISTRY_CREATE, NULL)), ERR_INVALID);
    free(big);
}

static void several_changes_are_made_together_or_not_at_all(void **state) {
    struct place *p = *state;
    struct registry_item item;
    const struct registry_change changes[] = {
        { REGISTRY_SERVER, S("new"), S("{}"), REGISTRY_CREATE },
        { REGISTRY_SERVER, S("taken"), S("{}"), REGISTRY_CREATE },
    };
    assert_null(put(p, "taken", "{}", REGISTRY_CREATE, NULL));
    assert_int_equal(kind_of(registry_apply(NULL, p->registry, changes, 2)), ERR_CONFLICT);
    assert_int_equal(
        kind_of(registry_get(NULL, p->registry, REGISTRY_SERVER, &p->arena, S("new"), &item)),
        ERR_NOT_FOUND);
}

/* ---- hooks -------------------------------------------------------------------------- */

struct hooked {
    struct place *place;
    struct worker *home;
    int inside, checked, changed, most_inside, failed;
    bool refuse;
};

static err_t on_check(struct task *t, void *arg, enum registry_kind kind, struct str name,
                      struct str doc) {
    struct hooked *h = arg;
    assert_ptr_equal(task_worker(t), h->home);
    h->checked++;
    h->inside++;
    h->most_inside = h->inside > h->most_inside ? h->inside : h->most_inside;
    assert_null(task_yield(t)); /* others may come in between: they must not */
    h->inside--;
    return h->refuse ? ERR(CONFLICT, "%.*s is defined in gatespan.yaml", STR(name)) : OK;
}

static err_t on_changed(struct task *t, void *arg, enum registry_kind kind, struct str name) {
    ((struct hooked *)arg)->changed++;
    return OK;
}

static err_t put_one(struct task *t, void *arg) {
    struct hooked *h = arg;
    static int number;
    char name[16];
    snprintf(name, sizeof name, "s%d", __atomic_add_fetch(&number, 1, __ATOMIC_RELAXED));
    if (registry_put(t, h->place->registry, REGISTRY_SERVER, str_of(name), S("{}"), REGISTRY_CREATE,
                     NULL))
        h->failed++;
    return OK;
}

static err_t put_many(struct task *t, void *arg) {
    SCOPED(task_group_scope) struct task_group g;
    task_group_init(&g, t);
    for (int i = 0; i < 10; i++)
        TRY(task_group_start(&g, put_one, arg));
    return task_group_wait(&g);
}

static void use_hooks(struct task *t, void *arg) {
    struct hooked *h = arg;
    h->home = task_worker(t);
    registry_attach(h->place->registry, h->home,
                    (struct registry_hooks){ on_check, on_changed, h });
    assert_null(task_on(t, workers_at(h->home->all, 0), put_many, h));
}

static void changes_run_at_home_one_at_a_time(void **state) {
    struct hooked h = { .place = *state };
    run_script(1, use_hooks, &h);
    assert_int_equal(h.checked, 10);
    assert_int_equal(h.changed, 10);
    assert_int_equal(h.most_inside, 1);
    assert_int_equal(h.failed, 0);
}

static void what_is_refused_is_not_kept(void **state) {
    struct hooked h = { .place = *state, .refuse = true };
    struct registry_item *items;
    size_t n;
    run_script(1, use_hooks, &h);
    assert_int_equal(h.failed, 10);
    assert_int_equal(h.changed, 0);
    registry_attach(h.place->registry, NULL, (struct registry_hooks){ 0 });
    assert_null(registry_list(NULL, h.place->registry, REGISTRY_SERVER, &h.place->arena, S(""), 0,
                              &items, &n));
    assert_int_equal(n, 0);
}

/* ---- keys --------------------------------------------------------------------------- */

static bool accepted(struct place *p, const char *text) {
    struct key_record *all;
    size_t n, usable = 0;
    assert_null(key_store_list(NULL, &p->keys, &p->arena, S(""), 0, &all, &n));
    for (size_t i = 0; i < n; i++)
        if (key_usable(&all[i], clock_wall()))
            all[usable++] = all[i];
    struct key_index *index = key_index_new(all, usable, p->hmac_key, false);
    struct key_cache *cache = key_cache_new(16);
    bool found = key_verify(cache, index, str_of(text)) != NULL;
    key_cache_free(cache);
    key_index_free(index);
    return found;
}

static struct key_record make_key(struct place *p, char text[KEY_TEXT]) {
    struct key_record out;
    const struct key_record wanted = {
        .principal = { .name = S("ci"), .grants = { .admin = true, .burst = 3,
                                                    .allow = { (struct str[]){ S("time__*") }, 1 } } } };
    assert_null(key_store_make(NULL, &p->keys, &p->arena, &wanted, text, &out));
    return out;
}

static void a_key_is_kept_with_its_rights_but_not_itself(void **state) {
    struct place *p = *state;
    char text[KEY_TEXT];
    struct key_record made = make_key(p, text), read;
    struct registry_item item;
    assert_null(key_store_get(NULL, &p->keys, &p->arena, made.principal.id, &read, NULL));
    assert_true(str_eq(read.principal.name, S("ci")) &&
                str_eq(read.principal.tenant, S("default")));
    assert_true(read.principal.grants.admin && read.principal.grants.allow.n == 1 &&
                read.principal.grants.burst == 3);
    assert_true(accepted(p, text));
    assert_null(registry_get(NULL, p->registry, REGISTRY_KEY, &p->arena, made.principal.id, &item));
    assert_true(str_find(item.doc, str_skip(str_of(text), 16)) < 0);
}

static void a_revoked_key_is_not_accepted_and_stays_on_record(void **state) {
    struct place *p = *state;
    char text[KEY_TEXT];
    struct key_record made = make_key(p, text), read;
    assert_int_equal(kind_of(key_store_forget(NULL, &p->keys, made.principal.id, REGISTRY_ANY)),
                     ERR_CONFLICT);
    assert_null(key_store_revoke(NULL, &p->keys, made.principal.id));
    assert_false(accepted(p, text));
    assert_null(key_store_revoke(NULL, &p->keys, made.principal.id)); /* twice is fine */
    assert_null(key_store_get(NULL, &p->keys, &p->arena, made.principal.id, &read, NULL));
    assert_true(read.revoked > 0);
    assert_null(key_store_forget(NULL, &p->keys, made.principal.id, REGISTRY_ANY));
    assert_int_equal(kind_of(key_store_revoke(NULL, &p->keys, made.principal.id)), ERR_NOT_FOUND);
}

static void rotation_leaves_the_old_key_valid_for_a_while(void **state) {
    struct place *p = *state;
    char old[KEY_TEXT], fresh[KEY_TEXT], last[KEY_TEXT];
    struct key_record made = make_key(p, old), next, read;
    nanos before = clock_wall();
    assert_null(key_store_rotate(NULL, &p->keys, &p->arena, made.principal.id, 3600 * NANOS_SEC,
                                 fresh, &next));
    assert_true(accepted(p, old) && accepted(p, fresh));
    assert_true(str_eq(next.principal.name, S("ci")) && next.principal.grants.admin &&
                !next.expires);
    assert_null(key_store_get(NULL, &p->keys, &p->arena, made.principal.id, &read, NULL));
    assert_true(read.expires >= before + 3600 * NANOS_SEC - NANOS_MS);
    assert_null(key_store_rotate(NULL, &p->keys, &p->arena, next.principal.id, 0, last, &next));
    assert_true(accepted(p, last) && !accepted(p, fresh));
    made.expires = 1;
    assert_null(key_store_change(NULL, &p->keys, &made, REGISTRY_ANY, NULL));
    assert_int_equal(
        kind_of(key_store_rotate(NULL, &p->keys, &p->arena, made.principal.id, 0, last, &next)),
        ERR_CONFLICT);
}

/* ---- Idempotency-Key ---------------------------------------------------------------- */

static struct idempotent request_of(const char *key, const char *body) {
    struct idempotent q = { .tenant = S("default"), .key_id = S("k"), .key = str_of(key),
                            .route = S("POST /api/v1/keys") };
    crypto_sha256(str_of(body), q.digest);
    return q;
}

static void a_repetition_gets_the_first_answer(void **state) {
    struct place *p = *state;
    struct idempotent q = request_of("1", "body");
    struct idempotent_answer answer = { 201, S("application/json"), S("{\"key\":\"gs_secret\"}") },
                             again;
    bool replay;
    struct store_rows rows;
    assert_null(idempotency_begin(NULL, p->registry, &p->arena, &q, &replay, &again));
    assert_false(replay);
    assert_null(idempotency_finish(NULL, p->registry, &q, &answer, 3600 * NANOS_SEC));
    assert_null(idempotency_begin(NULL, p->registry, &p->arena, &q, &replay, &again));
    assert_true(replay);
    assert_int_equal(again.status, 201);
    assert_true(str_eq(again.body, answer.body) && str_eq(again.type, answer.type));
    assert_null(store_read(NULL, p->store, &p->arena, &(struct store_statement){
        .sql = "SELECT body_sealed FROM idempotency" }, &rows));
    assert_true(str_find(store_cell(&rows, 0, 0)->text, S("secret")) < 0);
}

static void another_request_under_the_same_key_is_refused(void **state) {
    struct place *p = *state;
    struct idempotent q = request_of("1", "body"), other = request_of("1", "another body"),
                      elsewhere = q, stranger = q;
    struct idempotent_answer answer = { 201, S(""), S("") }, again;
    bool replay;
    elsewhere.route = S("POST /api/v1/profiles");
    stranger.key_id = S("someone");
    assert_null(idempotency_begin(NULL, p->registry, &p->arena, &q, &replay, &again));
    assert_null(idempotency_finish(NULL, p->registry, &q, &answer, 3600 * NANOS_SEC));
    assert_int_equal(
        kind_of(idempotency_begin(NULL, p->registry, &p->arena, &other, &replay, &again)),
        ERR_CONFLICT);
    assert_int_equal(
        kind_of(idempotency_begin(NULL, p->registry, &p->arena, &elsewhere, &replay, &again)),
        ERR_CONFLICT);
    assert_null(idempotency_begin(NULL, p->registry, &p->arena, &stranger, &replay, &again));
    assert_false(replay);
}

struct race {
    struct place *place;
    int first, refused;
};

static err_t begin_one(struct task *t, void *arg) {
    struct race *r = arg;
    SCOPED(arena_scope) struct arena a;
    struct idempotent q = request_of("race", "body");
    struct idempotent_answer answer;
    bool replay = true;
    arena_init(&a, NULL, 0);
    err_t e = idempotency_begin(t, r->place->registry, &a, &q, &replay, &answer);
    r->first += !e && !replay;
    r->refused += e && e->kind == ERR_CONFLICT;
    return OK;
}

static void run_race(struct task *t, void *arg) {
    SCOPED(task_group_scope) struct task_group g;
    task_group_init(&g, t);
    for (int i = 0; i < 20; i++)
        assert_null(task_group_start(&g, begin_one, arg));
    assert_null(task_group_wait(&g));
}

static void one_of_many_at_once_does_the_work(void **state) {
    struct race r = { .place = *state };
    run_script(0, run_race, &r);
    assert_int_equal(r.first, 1);
    assert_int_equal(r.refused, 19);
}

static void what_was_abandoned_or_expired_may_be_done_again(void **state) {
    struct place *p = *state;
    struct idempotent q = request_of("1", "body");
    struct idempotent_answer answer = { 200, S(""), S("") }, again;
    bool replay = true;
    assert_null(idempotency_begin(NULL, p->registry, &p->arena, &q, &replay, &again));
    assert_null(idempotency_abandon(NULL, p->registry, &q));
    assert_null(idempotency_begin(NULL, p->registry, &p->arena, &q, &replay, &again));
    assert_false(replay);
    assert_null(idempotency_expire(NULL, p->registry, true)); /* as after a crash */
    assert_null(idempotency_begin(NULL, p->registry, &p->arena, &q, &replay, &again));
    assert_false(replay);
    assert_null(idempotency_finish(NULL, p->registry, &q, &answer, -1));
    assert_null(idempotency_begin(NULL, p->registry, &p->arena, &q, &replay, &again));
    assert_false(replay);
    q.key = S("");
    assert_int_equal(kind_of(idempotency_begin(NULL, p->registry, &p->arena, &q, &replay, &again)),
                     ERR_INVALID);
}

static void one_key_fills_no_store(void **state) {
    struct place *p = *state;
    struct idempotent_answer answer = { 200, S(""), S("") }, again;
    bool replay = true;
    char name[16];
    for (int i = 0; i < IDEMPOTENCY_MOST + 20; i++) {
        struct idempotent q = request_of("1", "body");
        snprintf(name, sizeof name, "k%d", i);
        q.key = str_of(name);
        assert_null(idempotency_begin(NULL, p->registry, &p->arena, &q, &replay, &again));
        assert_null(idempotency_finish(NULL, p->registry, &q, &answer, (1000 + i) * NANOS_SEC));
    }
    assert_null(idempotency_expire(NULL, p->registry, false));
    struct idempotent oldest = request_of("1", "body"), kept = oldest;
    oldest.key = S("k19");
    kept.key = S("k20");
    assert_null(idempotency_begin(NULL, p->registry, &p->arena, &oldest, &replay, &again));
    assert_false(replay);
    assert_null(idempotency_begin(NULL, p->registry, &p->arena, &kept, &replay, &again));
    assert_true(replay);
}

/* ---- history ------------------------------------------------------------------------ */

static void add_call(struct place *p, nanos at, const char *tool, const char *key,
                     const char *outcome, nanos duration) {
    const struct store_value binds[] = { store_int(at), store_text(str_of(tool)), store_text(str_of(key)),
                                         store_text(str_of(outcome)), store_int(duration) };
    assert_null(store_write(NULL, p->store, &(struct store_statement){
        "INSERT INTO history (tenant_id, at, tool, key_id, upstream, outcome, key_name, method, error_code,"
        " duration, request_bytes, response_bytes, request_id, trace_id) VALUES"
        " ('default', ?1, ?2, ?3, 'up', ?4, 'name', 'tools/call', 0, ?5, 1, 2, 'id', '')", binds, 5, NULL }, 1,
        NULL));
}

static void history_pages_newest_first_and_filters(void **state) {
    struct place *p = *state;
    struct history_row *rows;
    size_t n;
    int64_t cursor = 0;
    for (int i = 1; i <= 25; i++)
        add_call(p, i, i % 2 ? "odd" : "even", i % 5 ? "k1" : "k2", i % 10 ? "ok" : "timeout", i);
    assert_null(history_query(NULL, p->history, &p->arena, &(struct history_filter){ 0 }, 0, 10,
                              &rows, &n, &cursor));
    assert_int_equal(n, 10);
    assert_int_equal(rows[0].at, 25);
    assert_null(history_query(NULL, p->history, &p->arena, &(struct history_filter){ 0 }, cursor,
                              10, &rows, &n, &cursor));
    assert_int_equal(rows[0].at, 15);
    assert_null(history_query(NULL, p->history, &p->arena, &(struct history_filter){ 0 }, cursor,
                              10, &rows, &n, &cursor));
    assert_int_equal(n, 5);
    assert_int_equal(cursor, 0);
    const struct {
        struct history_filter filter;
        size_t wanted;
    } cases[] = {
        { { .tool = S("odd") }, 13 },      { { .key = S("k2") }, 5 },
        { { .outcome = S("failed") }, 2 }, { { .outcome = S("timeout"), .tool = S("odd") }, 0 },
        { { .from = 10, .to = 20 }, 10 },  { { .upstream = S("up") }, 25 },
        { { .tenant = S("another") }, 0 },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        assert_null(
            history_query(NULL, p->history, &p->arena, &cases[i].filter, 0, 0, &rows, &n, &cursor));
        assert_int_equal(n, cases[i].wanted);
    }
}

static void figures_are_exact(void **state) {
    struct place *p = *state;
    struct history_stat *stats;
    size_t n;
    for (int i = 1; i <= 100; i++)
        add_call(p, i, "a", "k", i > 95 ? "error" : "ok", 101 - i);
    add_call(p, 500, "b", "k", "ok", 7);
    assert_null(history_stats(NULL, p->history, &p->arena, &(struct history_filter){ 0 },
                              HISTORY_BY_TOOL, 0, &stats, &n));
    assert_int_equal(n, 2);
    assert_true(str_eq(stats[0].name, S("a")));
    assert_int_equal(stats[0].calls, 100);
    assert_int_equal(stats[0].errors, 5);
    assert_true(stats[0].error_rate > 0.049 && stats[0].error_rate < 0.051);
    assert_int_equal(stats[0].p50, 50);
    assert_int_equal(stats[0].p95, 95);
    assert_int_equal(stats[0].p99, 99);
    assert_int_equal(stats[0].longest, 100);
    assert_int_equal(stats[0].last, 100);
    assert_int_equal(stats[1].p50, 7);
    assert_null(history_stats(NULL, p->history, &p->arena, &(struct history_filter){ .from = 200 },
                              HISTORY_ALL, 0, &stats, &n));
    assert_int_equal(n, 1);
    assert_int_equal(stats[0].calls, 1);
    assert_null(history_stats(NULL, p->history, &p->arena, &(struct history_filter){ .from = 900 },
                              HISTORY_BY_KEY, 0, &stats, &n));
    assert_int_equal(n, 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(an_item_keeps_document_and_version),
        T(versions_guard_against_lost_changes),
        T(lists_page_by_name),
        T(documents_are_sealed_in_their_row),
        T(names_and_sizes_have_bounds),
        T(several_changes_are_made_together_or_not_at_all),
        T(changes_run_at_home_one_at_a_time),
        T(what_is_refused_is_not_kept),
        T(a_key_is_kept_with_its_rights_but_not_itself),
        T(a_revoked_key_is_not_accepted_and_stays_on_record),
        T(rotation_leaves_the_old_key_valid_for_a_while),
        T(a_repetition_gets_the_first_answer),
        T(another_request_under_the_same_key_is_refused),
        T(one_of_many_at_once_does_the_work),
        T(what_was_abandoned_or_expired_may_be_done_again),
        T(one_key_fills_no_store),
        T(history_pages_newest_first_and_filters),
        T(figures_are_exact),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
