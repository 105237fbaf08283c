import os
import tempfile
import unittest

import tool

check_layers = tool.load('check-layers')


def broken(files):
    """What the checker says about a src/ made of `files` (path to content)."""
    with tempfile.TemporaryDirectory() as src:
        for path, text in files.items():
            os.makedirs(os.path.join(src, os.path.dirname(path)), exist_ok=True)
            with open(os.path.join(src, path), 'w', encoding='utf-8') as f:
                f.write(text)
        return [(path, line) for path, line, _ in check_layers.broken_rules(src)]


class CheckLayers(unittest.TestCase):
    def test_own_and_earlier_layers_may_be_included(self):
        self.assertEqual(broken({
            'net/http.h': '',
            'net/http.c': '#include "net/http.h"\n#include "base/str.h"\n#include "http.h"\n',
            'cli/main.c': '#include "gateway/route.h"\n',
        }), [])

    def test_a_later_layer_may_not(self):
        self.assertEqual(broken({'base/log.c': '#include <stdio.h>\n#include "run/task.h"\n'}),
                         [('base/log.c', 2)])

    def test_a_path_around_the_corner_is_seen_through(self):
        self.assertEqual(broken({'run/task.h': '', 'base/log.c': '#include "../run/task.h"\n'}),
                         [('base/log.c', 1)])

    def test_odd_spacing_and_angle_brackets_hide_nothing(self):
        self.assertEqual(broken({'net/http.h': '', 'base/log.c': '  #  include <net/http.h>\n'}),
                         [('base/log.c', 1)])

    def test_the_json_library_belongs_to_one_file(self):
        self.assertEqual(broken({
            'base/json.c': '#include <yyjson.h>\n',
            'base/json.h': '#include <yyjson.h>\n',
            'mcp/envelope.c': '#include "yyjson.h"\n',
        }), [('base/json.h', 1), ('mcp/envelope.c', 1)])

    def test_a_folder_that_is_no_layer_is_refused(self):
        self.assertEqual(broken({'utils/misc.c': ''}), [('utils/misc.c', 1)])

    def test_a_system_header_named_like_a_layer_is_no_layer(self):
        self.assertEqual(broken({'base/log.c': '#include <net/if.h>\n'}), [])


if __name__ == '__main__':
    unittest.main()
