import os
import shutil
import tempfile
import unittest

import tool

layout = tool.load('format')
STYLE = os.path.join(tool.FOLDER, '..', '.clang-format')


def formatted(text):
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(STYLE, folder)
        path = os.path.join(folder, 'a.c')
        with open(path, 'w', encoding='utf-8') as f:
            f.write(text)
        return '\n'.join(layout.formatted(path)[1]) + '\n'


class Format(unittest.TestCase):
    def stays(self, text):
        self.assertEqual(formatted(text), text)

    def test_what_is_no_c_is_refused(self):
        with self.assertRaises(SystemExit):
            list(layout.c_files([__file__]))
        self.assertEqual(list(layout.c_files(['a.c'])), [])

    def test_columns_of_a_table_stay(self):
        self.stays('static const struct route routes[] = {\n'
                   '    { GET,  "/api/v1/a",    PERM_READ },\n'
                   '    { POST, "/api/v1/long", PERM_WRITE },\n'
                   '};\n')

    def test_macros_stay(self):
        self.stays('#define TRY(call) do { err_t e_ = (call); if (e_) return e_; } while (0)\n'
                   '#define KINDS(X)             \\\n'
                   '    X(INVALID,   400)        \\\n'
                   '    X(NOT_FOUND, 404)\n')

    def test_one_line_cases_and_inline_functions_stay(self):
        self.stays('static inline int one(void) { return 1; }\n'
                   '\n'
                   'static int f(int a) {\n'
                   '    switch (a) {\n'
                   '    case 1:  return 10;\n'
                   '    default: return 20;\n'
                   '    }\n'
                   '}\n')

    def test_an_initializer_of_two_lines_stays(self):
        self.stays('static void f(void) {\n'
                   '    struct msghdr h = { .msg_iov = &iov, .msg_name = "}",\n'
                   '                        .msg_control = &control };\n'
                   '    g(&(struct a){ .b = 1,\n'
                   '                   .c = 2 });\n'
                   '}\n')

    def test_an_enum_made_by_a_macro_stays(self):
        self.stays('enum header {\n#define X(name) HEADER_##name,\n    HEADERS(X)\n#undef X\n    HEADER_COUNT\n};\n')

    def test_a_compound_literal_stays(self):
        self.stays('struct a f(void) {\n    return (struct a){\n        .b = 1, .c = 2,\n    };\n}\n')

    def test_a_line_too_long_for_its_comment_stays(self):
        self.stays('struct a {\n    const double *bounds; /* ' + 'long ' * 20 + '*/\n};\n')

    def test_code_is_laid_out(self):
        self.assertEqual(formatted('int f(char* a)\n{\n  if(a) return 1;\n  return 2 ;\n}\n'),
                         'int f(char *a) {\n    if (a)\n        return 1;\n    return 2;\n}\n')

    def test_code_after_a_table_is_laid_out(self):
        self.assertEqual(formatted('static const int a[] = {\n    1,  2,\n};\nint  f( void );\n'),
                         'static const int a[] = {\n    1,  2,\n};\nint f(void);\n')

    def test_the_fence_of_the_author_is_respected(self):
        self.stays('/* clang-format off */\nint  a( void );\n#define B( x )  x\nint  c( void );\n'
                   '/* clang-format on */\n')


if __name__ == '__main__':
    unittest.main()
