import contextlib
import io
import json
import os
import tempfile
import unittest

import tool

tally = tool.load('tally')


def program(result, output=''):
    return {'name': 'a', 'result': result, 'stdout': '', 'stderr': output}


class Tally(unittest.TestCase):
    def test_the_cases_of_a_cmocka_program_are_counted(self):
        self.assertEqual(tally.count_program(program('OK', '[==========] Running 3 test(s).\n'
                                                           '[  PASSED  ] 3 test(s).\n')), (3, 0))

    def test_both_spellings_of_a_failure_are_counted(self):
        for words in '[  FAILED  ] 1 test(s), listed below:', '[  FAILED  ] tests: 1 test(s), listed below:':
            output = f'[  PASSED  ] 2 test(s).\n{words}\n'
            self.assertEqual(tally.count_program(program('FAIL', output)), (2, 1))

    def test_a_program_that_dies_is_a_failure(self):
        self.assertEqual(tally.count_program(program('TIMEOUT')), (0, 1))
        self.assertEqual(tally.count_program(program('FAIL', '[  PASSED  ] 2 test(s).\n')), (2, 1))

    def test_a_report_of_pytest_is_counted(self):
        with tempfile.NamedTemporaryFile('w', suffix='.xml') as report:
            report.write('<testsuites><testsuite tests="7" failures="1" errors="1" skipped="2"/></testsuites>')
            report.flush()
            self.assertEqual(tally.count_junit(report.name), (3, 2, 2))

    def test_the_log_of_meson_is_one_program_a_line(self):
        with tempfile.NamedTemporaryFile('w', suffix='.json') as log:
            log.write(json.dumps(program('OK')) + '\n' + json.dumps(program('FAIL')) + '\n')
            log.flush()
            self.assertEqual(tally.count_meson(log.name), (1, 1, 0))

    def test_the_total_of_nothing_is_a_failure(self):
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
            tally.FOLDER = os.path.join(folder, 'none')
            self.assertEqual(tally.main('sum'), 1)


if __name__ == '__main__':
    unittest.main()
