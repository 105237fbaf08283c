import os
import tempfile
import unittest

import tool

coverage = tool.load('protocol-coverage')
RULES = '| Id | Rule |\n| --- | --- |\n' + ''.join(f'| P-{n:03} | rule {n} |\n' for n in (1, 2, 3, 10, 11))
SECTION = '# Page\n\n| P-010 | elsewhere |\n\n## Rules without a test\n\n| Rules | Why |\n|---|---|\n'


def problems(tests, reasons=''):
    """What the tool says about five rules, these test files and these rows of reasons."""
    with tempfile.TemporaryDirectory() as root:
        for path, text in {coverage.RULES: RULES, coverage.REASONS: SECTION + reasons, **tests}.items():
            os.makedirs(os.path.join(root, os.path.dirname(path)), exist_ok=True)
            with open(os.path.join(root, path), 'w', encoding='utf-8') as f:
                f.write(text)
        return list(coverage.problems(root))


ALL = {'tests/unit/a.c': '/* P-001..P-003 */\n', 'tests/integration/test_b.py': '"""P-010, P-011"""\n'}


class ProtocolCoverage(unittest.TestCase):
    def test_all_rules_are_tested(self):
        self.assertEqual(problems(ALL), [])

    def test_a_rule_without_test_and_reason_is_named(self):
        self.assertEqual(problems({**ALL, 'tests/unit/a.c': '// P-001 P-003\n'}), [
            'docs/protocol/PROTOCOL.md:4: P-002 has neither a test nor a reason: rule 2 |'])

    def test_a_reason_is_enough_also_for_a_range(self):
        self.assertEqual(problems({'fuzz/a_fuzz.c': '// P-011'}, '| P-001..P-003, P-010 | no (P-011) |\n'), [])

    def test_only_its_section_explains(self):
        found = problems({'tests/unit/a.c': '/* P-001..P-003, P-011 */'}, '\n## More\n\n| P-010 | no |\n')
        self.assertEqual([p.split()[1] for p in found], ['P-010'])

    def test_what_is_tested_needs_no_reason(self):
        self.assertEqual(problems(ALL, '| P-001 | never |\n'), [
            'docs/design/protocol.md:9: P-001 is explained, but tests/unit/a.c:1 tests it'])

    def test_numbers_that_are_no_rules_are_named(self):
        found = problems({**ALL, 'tests/conformance/b.py': '#\n# P-004'}, '| P-012 | no |\n')
        self.assertEqual(found, ['docs/design/protocol.md:9: P-012 is no rule of docs/protocol/PROTOCOL.md',
                                 'tests/conformance/b.py:2: P-004 is no rule of docs/protocol/PROTOCOL.md'])

    def test_a_range_jumps_over_the_gaps_between_its_ends(self):
        self.assertEqual(problems({'tests/unit/a.c': '/* P-001 to P-011 */'}), [])
        self.assertEqual(len(problems({**ALL, 'tests/unit/b.c': '/* P-003..P-009 */'})), 1)

    def test_a_range_that_is_a_whole_section_is_no_citation(self):
        rules = ''.join(f'| P-{n:03} | rule |\n' for n in range(20, 60))
        found = problems({**ALL, 'tests/unit/b.c': '/* P-020 to P-059, all of it */', coverage.RULES: RULES + rules})
        self.assertEqual(found, ['tests/unit/b.c:1: P-020 to P-059 is more than one test holds'])

    def test_what_serves_tests_and_what_they_read_are_no_tests(self):
        found = problems({'tests/conformance/fixture.c': '// P-001', 'tests/integration/conftest.py': '# P-002',
                          'fuzz/corpus/x.c': 'P-003', 'tests/conformance/node_modules/a.c': '// P-010',
                          'tests/integration/README.md': 'P-011'})
        self.assertEqual(len(found), 5)


if __name__ == '__main__':
    unittest.main()
