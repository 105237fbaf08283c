/* completion.c - `gatespan completion SHELL`: what a shell offers after TAB, from the tables.
 *
 * All three scripts hold the same lines, one for each command path, and look up the longest path
 * that the words before the cursor begin with. */
#include "base/buf.h"
#include "base/mem.h"
#include "cli/cli.h"

static bool is_path(const char *value) {
    return value && (strstr(value, "FILE") || strstr(value, "DIR"));
}

/* The words that a command takes, where its usage lists them: "bash|zsh|fish". False: it takes
 * something else. */
static bool put_choices(struct buf *b, const struct command *c) {
    struct str words = str_of(c->words ? c->words : "");
    if (str_find_char(words, ' ') >= 0)
        words = str_head(words, (size_t)str_find_char(words, ' '));
    for (size_t i = 0; i < words.n; i++)
        if (!strchr("abcdefghijklmnopqrstuvwxyz-|", words.p[i]))
            return false;
    if (str_find_char(words, '|') < 0)
        return false;
    for (size_t i = 0; i < words.n; i++)
        buf_char(b, words.p[i] == '|' ? ' ' : words.p[i]);
    return true;
}

typedef void visit_fn(struct buf *b, const char *path, const struct command *c);

static void walk(struct buf *b, const char *path, const struct command *c, visit_fn *visit) {
    visit(b, path, c);
    for (size_t i = 0; i < c->sub_count; i++) {
        char below[CLI_PATH];
        snprintf(below, sizeof below, "%s%s%s", path, *path ? " " : "", c->subs[i]->name);
        walk(b, below, c->subs[i], visit);
    }
}

typedef void option_fn(struct buf *b, const char *path, const struct cli_option *o);

static void each_option(struct buf *b, const char *path, const struct command *c, option_fn *say) {
    for (size_t i = 0; i < c->option_count; i++)
        say(b, path, &c->options[i]);
    for (size_t i = 0; i < cli_common_count; i++)
        say(b, path, &cli_common[i]);
}

/* ---- bash ---------------------------------------------------------------------------- */

static void bash_word(struct buf *b, const char *path, const struct cli_option *o) {
    buf_fmt(b, " --%s", o->name);
}

static void bash_case(struct buf *b, const char *path, const struct command *c) {
    buf_fmt(b, "    '%s') words='", path);
    for (size_t i = 0; i < c->sub_count; i++)
        buf_fmt(b, "%s%s", i ? " " : "", c->subs[i]->name);
    put_choices(b, c);
    each_option(b, path, c, bash_word);
    buf_fmt(b, "'%s ;;\n", is_path(c->words) ? " files=1" : "");
}

static void bash_value(struct buf *b, const char *path, const struct cli_option *o) {
    char letter[CLI_PATH + 16] = "";
    if (!o->value)
        return;
    if (o->letter)
        snprintf(letter, sizeof letter, "|'%s -%c'", path, o->letter);
    buf_fmt(b, "    '%s --%s'%s) ", path, o->name, letter);
    if (is_path(o->value)) {
        buf_str(b, S("files=1 ;;\n"));
        return;
    }
    buf_str(b, S("words='"));
    for (const char *const *word = o->choices; word && *word; word++)
        buf_fmt(b, "%s%s", word == o->choices ? "" : " ", *word);
    buf_str(b, S("' value=1 ;;\n"));
}

static void bash_values(struct buf *b, const char *path, const struct command *c) {
    each_option(b, path, c, bash_value);
}

/* `path` grows with each word that is a command; COMP_WORDS splits --name=value at the sign. */
static const char bash_head[] =
    "# bash completion of gatespan; written by: gatespan completion bash\n"
    "_gatespan_path() {\n"
    "    local word\n"
    "    path=\n"
    "    for word in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do\n"
    "        case \" $_gatespan_paths \" in *\" ${path:+$path/}$word \"*) "
    "path=${path:+$path/}$word ;; esac\n"
    "    done\n"
    "    path=${path//\\// }\n"
    "}\n"
    "_gatespan() {\n"
    "    local path words= files= value= current=${COMP_WORDS[COMP_CWORD]} "
    "before=${COMP_WORDS[COMP_CWORD-1]}\n"
    "    [ \"$before\" = = ] && before=${COMP_WORDS[COMP_CWORD-2]}\n"
    "    [ \"$current\" = = ] && current=\n"
    "    _gatespan_path\n"
    "    case \"$path $before\" in\n";

static void bash_path(struct buf *b, const char *path, const struct command *c) {
    if (!*path)
        return;
    buf_char(b, ' ');
    for (const char *p = path; *p; p++)
        buf_char(b, *p == ' ' ? '/' : *p);
}

static void write_bash(struct buf *b) {
    buf_str(b, str_of(bash_head));
    walk(b, "", &command_root, bash_values);
    buf_str(b, S("    *) value=0 ;;\n    esac\n"
                 "    [ \"$value\" = 0 ] && case \"$path\" in\n"));
    walk(b, "", &command_root, bash_case);
    buf_str(b, S("    esac\n"
                 "    COMPREPLY=($(compgen -W \"$words\" -- \"$current\"))\n"
                 "    [ -n \"$files\" ] && COMPREPLY+=($(compgen -f -- \"$current\"))\n"
                 "    return 0\n"
                 "}\n_gatespan_paths='"));
    walk(b, "", &command_root, bash_path);
    buf_str(b, S("'\ncomplete -o filenames -F _gatespan gatespan\n"));
}

/* ---- zsh ----------------------------------------------------------------------------- */

/* Inside '…' of _arguments and _describe: quotes, brackets and colons mean something. */
static void put_zsh(struct buf *b, const char *text) {
    for (; *text; text++) {
        if (*text == '\'')
            buf_str(b, S("'\\'"));
        else if (strchr("[]:\\", *text))
            buf_char(b, '\\');
        buf_char(b, *text);
    }
}

static void zsh_value(struct buf *b, const struct cli_option *o) {
    if (!o->value)
        return;
    buf_char(b, ':');
    put_zsh(b, o->value);
    buf_char(b, ':');
    if (is_path(o->value))
        buf_str(b, S("_files"));
    if (!o->choices)
        return;
    buf_char(b, '(');
    for (const char *const *word = o->choices; *word; word++)
        buf_fmt(b, "%s%s", word == o->choices ? "" : " ", *word);
    buf_char(b, ')');
}

static void zsh_option(struct buf *b, const char *path, const struct cli_option *o) {
    for (int spelling = 0; spelling < (o->letter ? 2 : 1); spelling++) {
        buf_str(b, o->many ? S(" \\\n        '*") : S(" \\\n        '"));
        if (spelling)
            buf_fmt(b, "-%c[", o->letter);
        else
            buf_fmt(b, "--%s[", o->name);
        put_zsh(b, o->help);
        buf_char(b, ']');
        zsh_value(b, o);
        buf_char(b, '\'');
    }
}

static void zsh_function(struct buf *b, const char *path) {
    buf_str(b, S("_gatespan"));
    for (const char *p = path; *p; p++)
        buf_char(b, *p == ' ' ? '_' : *p);
    if (*path)
        buf_str(b, S("_command"));
}

static void zsh_subs(struct buf *b, const char *path, const struct command *c) {
    buf_str(b, S(" \\\n        '1: :->command' '*:: :->rest'\n    case $state in\n"
                 "    command) local -a list=("));
    for (size_t i = 0; i < c->sub_count; i++) {
        buf_fmt(b, "\n        '%s:", c->subs[i]->name);
        put_zsh(b, c->subs[i]->summary);
        buf_char(b, '\'');
    }
    buf_str(b, S("); _describe command list ;;\n    rest) case $words[1] in\n"));
    for (size_t i = 0; i < c->sub_count; i++) {
        char below[CLI_PATH];
        snprintf(below, sizeof below, "%s%s%s", path, *path ? " " : "", c->subs[i]->name);
        buf_fmt(b, "        %s) ", c->subs[i]->name);
        zsh_function(b, below);
        buf_str(b, S(" ;;\n"));
    }
    buf_str(b, S("        esac ;;\n    esac\n"));
}

static void zsh_words(struct buf *b, const struct command *c) {
    buf_str(b, S(" \\\n        '*: :"));
    size_t before = b->n;
    buf_char(b, '(');
    if (put_choices(b, c)) {
        buf_char(b, ')');
    } else {
        b->n = before;
        if (is_path(c->words))
            buf_str(b, S("_files"));
    }
    buf_str(b, S("'\n"));
}

static void zsh_command(struct buf *b, const char *path, const struct command *c) {
    zsh_function(b, path);
    buf_str(b, S("() {\n    local curcontext=$curcontext state line\n    _arguments -C"));
    each_option(b, path, c, zsh_option);
    if (c->sub_count)
        zsh_subs(b, path, c);
    else
        zsh_words(b, c);
    buf_str(b, S("}\n"));
}

static void write_zsh(struct buf *b) {
    buf_str(b, S("#compdef gatespan\n# written by: gatespan completion zsh\n"));
    walk(b, "", &command_root, zsh_command);
    buf_str(b, S("if [ \"$funcstack[1]\" = _gatespan ]; then _gatespan \"$@\"; "
                 "else compdef _gatespan gatespan; fi\n"));
}

/* ---- fish ---------------------------------------------------------------------------- */

static void put_fish(struct buf *b, const char *text) {
    buf_char(b, '\'');
    for (; *text; text++) {
        if (*text == '\'' || *text == '\\')
            buf_char(b, '\\');
        buf_char(b, *text);
    }
    buf_char(b, '\'');
}

static void fish_start(struct buf *b, const char *path) {
    buf_fmt(b, "complete -c gatespan -n '__gatespan_at \"%s\"'", path);
}

static void fish_option(struct buf *b, const char *path, const struct cli_option *o) {
    fish_start(b, path);
    buf_fmt(b, " -l %s", o->name);
    if (o->letter)
        buf_fmt(b, " -s %c", o->letter);
    if (o->value)
        buf_str(b, is_path(o->value) ? S(" -r -F") : S(" -x"));
    if (o->choices) {
        buf_str(b, S(" -a '"));
        for (const char *const *word = o->choices; *word; word++)
            buf_fmt(b, "%s%s", word == o->choices ? "" : " ", *word);
        buf_char(b, '\'');
    }
    buf_str(b, S(" -d "));
    put_fish(b, o->help);
    buf_char(b, '\n');
}

static void fish_words(struct buf *b, const char *path, const struct command *c) {
    size_t before = b->n;
    fish_start(b, path);
    buf_str(b, S(" -a '"));
    if (put_choices(b, c)) {
        buf_str(b, S("'\n"));
        return;
    }
    b->n = before;
    if (is_path(c->words)) {
        fish_start(b, path);
        buf_str(b, S(" -F\n"));
    }
}

static void fish_command(struct buf *b, const char *path, const struct command *c) {
    for (size_t i = 0; i < c->sub_count; i++) {
        fish_start(b, path);
        buf_fmt(b, " -a %s -d ", c->subs[i]->name);
        put_fish(b, c->subs[i]->summary);
        buf_char(b, '\n');
    }
    fish_words(b, path, c);
    each_option(b, path, c, fish_option);
}

static void fish_path(struct buf *b, const char *path, const struct command *c) {
    if (*path)
        buf_fmt(b, " '%s'", path);
}

static void write_fish(struct buf *b) {
    buf_str(b, S("# fish completion of gatespan; written by: gatespan completion fish\n"
                 "function __gatespan_at\n"
                 "    set -l at ''\n"
                 "    set -l words (commandline -opc)\n"
                 "    for word in $words[2..]\n"
                 "        set -l below (string trim \"$at $word\")\n"
                 "        contains -- $below $__gatespan_paths; and set at $below\n"
                 "    end\n"
                 "    test \"$at\" = \"$argv[1]\"\n"
                 "end\nset -g __gatespan_paths"));
    walk(b, "", &command_root, fish_path);
    buf_str(b, S("\ncomplete -c gatespan -f\n"));
    walk(b, "", &command_root, fish_command);
}

/* ---- the command --------------------------------------------------------------------- */

static const struct {
    const char *name;
    void (*write)(struct buf *b);
} shells[] = {
    { "bash", write_bash },
    { "zsh", write_zsh },
    { "fish", write_fish },
};

static int run(struct cli *c) {
    SCOPED(buf_done) struct buf b = { 0 };
    for (size_t i = 0; i < ARRAY_SIZE(shells); i++) {
        if (!str_eq(c->words[0], str_of(shells[i].name)))
            continue;
        shells[i].write(&b);
        fwrite(b.p, 1, b.n, stdout);
        return 0;
    }
    return cli_fail(EXIT_USAGE, "%.*s: one of bash, zsh, fish", STR(c->words[0]));
}

static const struct cli_example examples[] = {
    { "source <(gatespan completion bash)", "in this shell, at once" },
    { "gatespan completion fish > ~/.config/fish/completions/gatespan.fish", "for every fish to come" },
};

const struct command command_completion = {
    .name = "completion", .words = "bash|zsh|fish", .summary = "print what a shell needs to complete commands and options",
    .least_words = 1, .most_words = 1, .run = run, .examples = examples, .example_count = ARRAY_SIZE(examples),
};
