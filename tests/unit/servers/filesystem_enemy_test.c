/* Whoever wants out of the root: links, races, special files, full disks, kill -9.
 *
 * usage: filesystem_enemy_test [SECONDS]   how long the race lasts (10) */
#include "filesystem_fixture.h"
#include <pthread.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>

static int race_seconds = 10;

static bool is_there(const char *path) {
    struct stat st;
    return lstat(path, &st) == 0;
}

/* Nothing came in, nothing changed. */
static void assert_outside_is_untouched(void) {
    assert_string_equal(get_file(at("outside/secret")), SECRET);
    assert_int_equal(remove(at("outside/secret")), 0);
    if (rmdir(at("outside")) != 0)
        fail_msg("something was planted outside");
    mkdir(at("outside"), 0755);
    put_file(at("outside/secret"), SECRET);
}

/* ---- links ------------------------------------------------------------------------- */

static const char *const attempts[][2] = {
    { "read_text", "{'path':'root/l'}" }, { "read_text", "{'path':'root/d/secret'}" },
    { "read_media", "{'path':'root/l'}" }, { "write", "{'path':'root/l','content':'x'}" },
    { "write", "{'path':'root/d/new','content':'x'}" }, { "write", "{'path':'root/d/a/new','content':'x','create_parents':true}" },
    { "append", "{'path':'root/l','content':'x'}" }, { "edit", "{'path':'root/l','edits':[{'old_text':'secret','new_text':'x'}]}" },
    { "create_directory", "{'path':'root/d/new'}" }, { "list_directory", "{'path':'root/d'}" }, { "tree", "{'path':'root/d'}" },
    { "stat", "{'path':'root/d/secret'}" }, { "move", "{'source':'root/d/secret','destination':'root/m'}" },
    { "move", "{'source':'root/own','destination':'root/d/m'}" }, { "copy", "{'source':'root/l','destination':'root/c'}" },
    { "copy", "{'source':'root/own','destination':'root/d/c'}" }, { "copy", "{'source':'root/d','destination':'root/c','recursive':true}" },
    { "delete", "{'path':'root/d/secret'}" }, { "search", "{'content':'secret','path':'root/d'}" },
};

static void assert_no_way_out(void) {
    for (size_t i = 0; i < ARRAY_SIZE(attempts); i++) {
        json answer = call(attempts[i][0], attempts[i][1]);
        if (!json_get(answer, S("isError")) || strstr(compact(answer), SECRET))
            fail_msg("%s %s: %s", attempts[i][0], attempts[i][1], compact(answer));
    }
    assert_outside_is_untouched();
}

static void links_do_not_lead_out(void **state) {
    const char *targets[][2] = { { "../outside/secret", "../outside" },
                                 { at("outside/secret"), at("outside") } };
    put_file(at("root/own"), "own");
    for (size_t i = 0; i < ARRAY_SIZE(targets); i++) {
        assert_int_equal(symlink(targets[i][0], at("root/l")), 0);
        assert_int_equal(symlink(targets[i][1], at("root/d")), 0);
        open_with(ALL);
        assert_no_way_out();
        open_with(ALL ",'follow_symlinks':true");
        assert_no_way_out();
        json all = result_of("search", "{'content':'secret'}");
        assert_int_equal(json_count(json_get(all, S("matches"))), 0);
        assert_int_equal(INT_OF(result_of("delete", "{'path':'root/l'}"), "removed"), 1);
        result_of("delete", "{'path':'root/d','recursive':true}");
        assert_outside_is_untouched();
    }
}

static void links_that_stay_inside_are_followed_when_it_is_said(void **state) {
    put_file(at("root/a"), "inside");
    mkdir(at("root/d"), 0755);
    assert_int_equal(symlink("../a", at("root/d/l")), 0);
    assert_error("read_text", "{'path':'root/d/l'}", "symbolic link");
    open_with(ALL ",'follow_symlinks':true");
    assert_string_equal(member(result_of("read_text", "{'path':'root/d/l'}"), "content"), "inside");
    assert_error("write", "{'path':'root/d/l','content':'x'}", "symbolic link");
    assert_int_equal(symlink("loop", at("root/loop")), 0);
    assert_error("read_text", "{'path':'root/loop'}", "symbolic link");
}

static void links_of_proc_are_never_followed(void **state) {
    const char *options[] = { "", "'follow_symlinks':true," };
    for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
        struct str all = arena_fmt(&arena, "{'roots':{'self':{'path':'/proc/self'}},%s" ALL "}",
                                   options[i]);
        reopen(arena_text(&arena, all));
        assert_error("read_text", "{'path':'self/root/etc/passwd'}", "self/root/etc/passwd");
        assert_error("read_text", "{'path':'self/cwd/meson.build'}", "self/cwd");
        assert_error("read_text", "{'path':'self/fd/0'}", "self/fd/0");
        assert_error("list_directory", "{'path':'self/root'}", "self/root");
        assert_error("write", "{'path':'self/cwd/x','content':''}", "self/cwd");
    }
}

static void hard_links_are_refused_unless_it_is_said(void **state) {
    assert_int_equal(link(at("outside/secret"), at("root/l")), 0);
    assert_error("read_text", "{'path':'root/l'}", "hard links");
    assert_error("read_media", "{'path':'root/l'}", "hard links");
    assert_error("write", "{'path':'root/l','content':'x'}", "hard links");
    assert_error("append", "{'path':'root/l','content':'x'}", "hard links");
    assert_error("edit", "{'path':'root/l','edits':[{'old_text':'secret','new_text':'x'}]}",
                 "hard links");
    assert_error("copy", "{'source':'root/l','destination':'root/c'}", "hard links");
    json r = result_of("search", "{'content':'secret'}");
    assert_int_equal(json_count(json_get(r, S("matches"))), 0);
    assert_int_equal(INT_OF(r, "skipped"), 1);
    open_with(ALL ",'hard_links':'read'");
    assert_string_equal(member(result_of("read_text", "{'path':'root/l'}"), "content"), SECRET);
    assert_error("write", "{'path':'root/l','content':'x'}", "hard links");
    open_with(ALL ",'hard_links':'allow'");
    result_of("append", "{'path':'root/l','content':'x'}"); /* the name gets a file of its own */
    assert_string_equal(get_file(at("root/l")), SECRET "x");
    assert_outside_is_untouched();
}

/* ---- special files ----------------------------------------------------------------- */

static void special_files_are_never_opened(void **state) {
    struct sockaddr_un name = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    strcpy(name.sun_path, at("root/socket"));
    assert_int_equal(bind(fd, (struct sockaddr *)&name, sizeof name), 0);
    assert_int_equal(mkfifo(at("root/fifo"), 0600), 0);
    bool device = mknod(at("root/device"), S_IFCHR | 0600, makedev(1, 5)) == 0;
    const char *kinds[] = { "fifo", "socket", "device" };
    alarm(100); /* instead of hanging */
    for (size_t i = 0; i < (device ? 3u : 2u); i++) {
        struct str path = arena_fmt(&arena, "{'path':'root/%s'}", kinds[i]);
        assert_error("read_text", arena_text(&arena, path), kinds[i]);
        assert_error("read_media", arena_text(&arena, path), kinds[i]);
        assert_string_equal(member(result_of("stat", arena_text(&arena, path)), "type"), kinds[i]);
        struct str args = arena_fmt(&arena, "{'path':'root/%s','content':'x'}", kinds[i]);
        assert_error("write", arena_text(&arena, args), kinds[i]);
        assert_error("append", arena_text(&arena, args), kinds[i]);
        args = arena_fmt(&arena, "{'source':'root/%s','destination':'root/c'}", kinds[i]);
        assert_error("copy", arena_text(&arena, args), kinds[i]);
    }
    assert_int_equal(INT_OF(result_of("search", "{'content':'x'}"), "files"), 0);
    alarm(0);
    close(fd);
}

/* ---- names ------------------------------------------------------------------------- */

static void names_beyond_all_measure_are_refused(void **state) {
    char *name = arena_text(&arena, arena_fmt(&arena, "{'path':'root/%0300d'}", 0));
    assert_error("read_text", name, "a name has at most 255");
    SCOPED(buf_done) struct buf deep = { 0 };
    buf_str(&deep, S("{'path':'root"));
    for (int i = 0; i < 300; i++)
        buf_str(&deep, S("/a"));
    buf_str(&deep, S("'}"));
    assert_error("create_directory", buf_text(&deep), "more than 256 parts");
    name = arena_text(&arena, arena_fmt(&arena, "{'path':'root/%04500d'}", 0));
    assert_error("read_text", name, "path");
}

static void hidden_files_can_be_out_of_reach(void **state) {
    put_file(at("root/.env"), "key");
    mkdir(at("root/.git"), 0755);
    put_file(at("root/.git/config"), "key");
    assert_int_equal(INT_OF(result_of("list_directory", "{'path':'root'}"), "total"), 2);
    open_with(ALL ",'hidden_files':false");
    assert_int_equal(INT_OF(result_of("list_directory", "{'path':'root'}"), "total"), 0);
    assert_error("read_text", "{'path':'root/.env'}", "hidden files");
    assert_error("read_text", "{'path':'root/.git/config'}", "hidden files");
    assert_error("write", "{'path':'root/.x','content':''}", "hidden files");
    assert_int_equal(json_count(json_get(result_of("search", "{'content':'key'}"), S("matches"))),
                     0);
}

/* ---- failing disks and processes ------------------------------------------------------ */

static void assert_no_temporary_files(void) {
    const char *command = arena_text(
        &arena, arena_fmt(&arena, "test -z \"$(ls -A %s/root | grep gatespan)\"", folder));
    assert_int_equal(system(command), 0);
}

static void a_write_that_fails_leaves_the_old_content(void **state) {
    struct rlimit before, small = { 1000, RLIM_INFINITY };
    put_file(at("root/a"), "old");
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small.rlim_max = before.rlim_max;
    struct str args = arena_fmt(&arena, "{'path':'root/a','content':'%02000d'}", 0);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    json answer = call("write", arena_text(&arena, args));
    setrlimit(RLIMIT_FSIZE, &before);
    assert_non_null(strstr(text_of(answer), "larger than a file may be"));
    assert_string_equal(get_file(at("root/a")), "old");
    assert_no_temporary_files();
}

enum { LARGE = 300000 };

static void write_for_ever(void) {
    static char args[2][LARGE + 100];
    for (int i = 0; i < 2; i++) {
        int n = sprintf(args[i], "{\"path\":\"root/a\",\"content\":\"");
        memset(args[i] + n, 'a' + i, LARGE);
        strcpy(args[i] + n + LARGE, "\"}");
    }
    for (int i = 0;; i++) {
        struct arena a;
        arena_init(&a, NULL, 0);
        struct call_ctx c = { .arena = &a };
        struct buf out = { 0 };
        bool failed;
        server_call(&filesystem_server, self, &c, S("write"), str_of(args[i % 2]), &out, &failed);
        buf_done(&out);
        arena_done(&a);
    }
}

static void assert_whole(void) {
    const char *text = get_file(at("root/a"));
    if (!text)
        return;
    assert_int_equal(strlen(text), LARGE);
    for (size_t i = 0; i < LARGE; i++)
        assert_int_equal(text[i], text[0]);
}

static void a_killed_writer_leaves_the_old_content_or_the_new(void **state) {
    for (int i = 0; i < 40; i++) {
        pid_t writer = fork();
        if (writer == 0)
            write_for_ever();
        usleep(3000 + (useconds_t)(i * 577 % 9000));
        kill(writer, SIGKILL);
        waitpid(writer, NULL, 0);
        assert_whole();
    }
    SCOPED(buf_done) struct buf out = { 0 };
    struct call_ctx c = { .arena = &arena };
    bool failed;
    server_resource_list(&filesystem_server, self, &c, S(""), &out, &failed);
    assert_no_temporary_files();
}

static void *append_many(void *arg) {
    for (int i = 0; i < 50; i++) {
        struct arena a;
        arena_init(&a, NULL, 0);
        struct call_ctx c = { .arena = &a };
        struct buf out = { 0 };
        bool failed;
        server_call(&filesystem_server, self, &c, S("append"),
                    S("{\"path\":\"root/log\",\"content\":\"x\"}"), &out, &failed);
        buf_done(&out);
        arena_done(&a);
    }
    return NULL;
}

static void appends_at_once_are_all_kept(void **state) {
    pthread_t threads[4];
    for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
        pthread_create(&threads[i], NULL, append_many, NULL);
    for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(strlen(get_file(at("root/log"))), 200);
}

/* ---- races ------------------------------------------------------------------------- */

/* root/d is a directory, root/l a file; each changes places with a link to the outside, and what
 * the tools make in there is made again, as fast as it goes. */
static void swap_for_ever(void) {
    int dir = open(at("root"), O_RDONLY | O_DIRECTORY);
    for (;;) {
        renameat2(dir, "d", dir, "d2", RENAME_EXCHANGE);
        renameat2(dir, "l", dir, "l2", RENAME_EXCHANGE);
        renameat2(dir, "d/a", dir, "d3", RENAME_EXCHANGE);
    }
}

struct runner {
    const struct server_ops *ops;
    nanos end;
    size_t calls, good;
    bool escaped;
    char what[2000];
};

static void *run_attempts(void *arg) {
    struct runner *r = arg;
    for (size_t i = 0; clock_mono() < r->end && !r->escaped; i++) {
        struct arena a;
        arena_init(&a, NULL, 0);
        const char *const *one = attempts[i % ARRAY_SIZE(attempts)];
        char *args = arena_text(&a, str_of(one[1]));
        for (char *c = args; *c; c++)
            *c = *c == '\'' ? '"' : *c;
        struct call_ctx c = { .arena = &a };
        struct buf out = { 0 };
        bool failed;
        server_call(&filesystem_server, self, &c, str_of(one[0]), str_of(args), &out, &failed);
        r->calls++;
        r->good += str_find(buf_view(&out), S("\"isError\"")) < 0;
        r->escaped = str_find(buf_view(&out), S(SECRET)) >= 0 ||
                     str_find(buf_view(&out), S("dGhlIHNlY3JldCBv")) >= 0;
        if (r->escaped)
            snprintf(r->what, sizeof r->what, "%s %s: %.*s", one[0], args,
                     STR(str_head(buf_view(&out), 1000)));
        buf_done(&out);
        arena_done(&a);
    }
    return NULL;
}

static size_t race(const char *options, int seconds) {
    open_with(options);
    pid_t racers[2];
    for (size_t i = 0; i < ARRAY_SIZE(racers); i++)
        if ((racers[i] = fork()) == 0)
            swap_for_ever();
    struct runner runners[2] = { 0 };
    pthread_t threads[2];
    for (size_t i = 0; i < ARRAY_SIZE(threads); i++) {
        runners[i].end = clock_mono() + seconds * NANOS_SEC;
        pthread_create(&threads[i], NULL, run_attempts, &runners[i]);
    }
    for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
        pthread_join(threads[i], NULL);
    for (size_t i = 0; i < ARRAY_SIZE(racers); i++) {
        kill(racers[i], SIGKILL);
        waitpid(racers[i], NULL, 0);
    }
    for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
        if (runners[i].escaped)
            fail_msg("%s", runners[i].what);
    size_t good = runners[0].good + runners[1].good;
    print_message("%zu calls against the race, %zu of them got through inside, 0 escapes\n",
                  runners[0].calls + runners[1].calls, good);
    return good;
}

static void a_race_leads_nobody_out(void **state) {
    mkdir(at("root/d"), 0755);
    mkdir(at("root/d/a"), 0755);
    put_file(at("root/d/secret"), "inside");
    put_file(at("root/l"), "inside");
    put_file(at("root/own"), "own");
    assert_int_equal(symlink("../outside", at("root/d2")), 0);
    assert_int_equal(symlink("../outside/secret", at("root/l2")), 0);
    assert_int_equal(symlink(at("outside"), at("root/d3")), 0);
    assert_true(race(ALL, (race_seconds + 1) / 2) > 0);
    assert_outside_is_untouched();
    race(ALL ",'follow_symlinks':true", (race_seconds + 1) / 2);
    assert_outside_is_untouched();
    assert_true(is_there(at("outside/secret")));
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        TEST(links_do_not_lead_out),
        TEST(links_that_stay_inside_are_followed_when_it_is_said),
        TEST(links_of_proc_are_never_followed),
        TEST(hard_links_are_refused_unless_it_is_said),
        TEST(special_files_are_never_opened),
        TEST(names_beyond_all_measure_are_refused),
        TEST(hidden_files_can_be_out_of_reach),
        TEST(a_write_that_fails_leaves_the_old_content),
        TEST(a_killed_writer_leaves_the_old_content_or_the_new),
        TEST(appends_at_once_are_all_kept),
        TEST(a_race_leads_nobody_out),
    };
    if (argc > 1)
        race_seconds = atoi(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
