#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""texts.py lines|paths|tests - what no compiler reads, for scripts/check

lines: our lines are not too wide, but for messages in C and rows of tables
paths: each file that a comment or a document names exists, here or in the
       source of Linux or Xen
tests: each test that a document or scripts/mutants.txt names exists

Prints FILE:LINE: WHAT for each mistake; the exit status is 1 if there is one.
"""

import fnmatch
import glob
import os
import re
import subprocess
import sys

WIDTH, XEN_WIDTH = 80, 79

# Names that stand for others
PLACEHOLDER = re.compile('NAME|FLAVOUR|NNNN')

# In Debian's source of LZ4, which becomes a part of Xen under another name; and
# how subjects of commits for Xen begin
ELSEWHERE = 'lib/lz4.c', 'lib/lz4.h', 'xen/tmem', 'xen/balloon'


def ours():
    """Our files, but for links and what the fuzzer has made"""
    out = subprocess.check_output(['git', 'ls-files', '-co', '-z',
                                   '--exclude-standard', '--', '.',
                                   ':!tools/testing/tmem/corpus'])
    return sorted(name for name in out.decode().split('\0')
                  if os.path.isfile(name) and not os.path.islink(name))


def own_lines(name):
    """[(number, line)], without what is data; of a patch what it adds"""
    with open(name) as f:
        lines = list(enumerate(f.read().split('\n'), 1))
    if name.endswith('.manifest'):
        return [(nr, line) for nr, line in lines if line[:3] != '== ']
    if name.endswith('.patch'):
        return [(nr, line[1:]) for nr, line in lines
                if line[:1] == '+' and line[:4] != '+++ ']
    return lines


def head_of_patch(name):
    """[(number, line)]: what a patch, if it is one, says before it begins"""
    if not name.endswith('.patch'):
        return []
    with open(name) as f:
        return list(enumerate(f.read().split('--- a/')[0].split('\n'), 1))


def is_document(name):
    return name.startswith('Documentation/') or re.search(
        r'\.(md|rst|txt|pandoc|8|manifest)$|(^|/)(Kconfig|MAINTAINERS)$',
        name.removesuffix('.patch')) is not None


def is_c(name):
    return re.search(r'\.[ch]$', name.removesuffix('.patch')) is not None


def prose(name):
    """[(number, line)]: a document, or the comments of other files"""
    lines = own_lines(name)
    found = head_of_patch(name)
    if is_document(name):
        return found + lines
    if not is_c(name):
        return found + [(nr, m[0]) for nr, line in lines
                        if (m := re.search(r'(^|\s)#.*', line))]
    text = '\n'.join(line for _, line in lines)
    for m in re.finditer(r'"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\''
                         r'|(/\*.*?\*/|//[^\n]*)', text, re.DOTALL):
        first = text.count('\n', 0, m.start())
        for i, line in enumerate((m[1] or '').split('\n')):
            found.append((lines[first + i][0], line))
    return found


def too_wide(name, line):
    """Messages in C are not broken, and the rows of tables cannot be"""
    limit = XEN_WIDTH if name.startswith('xen/') else WIDTH
    width = len(line.expandtabs())
    if width <= limit:
        return None
    if is_c(name):
        line = re.sub(r'"(\\.|[^"\\])*"', '""', line)
        if len(line.expandtabs()) <= limit:
            return None
    if is_document(name) and line.startswith('|'):
        return None
    return f'{width} columns, at most {limit}'


def lines():
    for name in ours():
        for nr, line in head_of_patch(name) + own_lines(name):
            if why := too_wide(name, line):
                yield name, nr, why


def known_paths():
    """What is here and in the sources, and what these paths begin with

    The former by all ends of a path: ext4/super.c is known, and so is super.c.
    """
    whole = set()
    for name in ours():
        while name:
            whole |= {name, name.removesuffix('.patch')}
            name = os.path.dirname(name)
    for source in os.scandir('build/src'):
        for top, dirs, files in os.walk(source.path):
            top = os.path.relpath(top, source.path)
            whole |= {os.path.normpath(f'{top}/{name}')
                      for name in dirs + files}
    known = set()
    for path in whole:
        parts = path.split('/')
        known |= {'/'.join(parts[i:]) for i in range(len(parts))}
    return known, {path.split('/')[0] for path in whole if '/' in path}


def braces(path):
    """a{b,c} is ab and ac"""
    if m := re.match(r'([^{]*)\{([^}]*)\}(.*)', path):
        return [found for part in m[2].split(',')
                for found in braces(m[1] + part + m[3])]
    return [path]


def paths():
    known, tops = known_paths()
    extension = (r'[\w*}]\.(?:c|h|py|sh|txt|rst|md|config|patch|pandoc|'
                 r'manifest)$')
    path = re.compile(r'(?<![\w$/.}~<>*@:-])(?:[\w.+-]+/)*[\w.+*{},-]+/?')

    for name in ours():
        for nr, line in prose(name):
            for word in path.findall(line.replace('\\-', '-')):
                word = re.sub(r'^(\.+/)+', '', word.rstrip('/.,-{}'))
                if not (re.search(extension, word) or
                        '/' in word and word.split('/')[0] in tops):
                    continue
                if (PLACEHOLDER.search(word) or word in ELSEWHERE or
                        word.startswith('build/')):
                    continue
                for one in braces(word):
                    if one not in known and not (
                            '*' in one and fnmatch.filter(known, one)):
                        yield name, nr, f'there is no {one}'


def all_tests():
    """The names in the tables of tests of all kinds"""
    found = set()
    for name in ours():
        with open(name) as f:
            text = f.read()
        if is_c(name):
            found.update(re.findall(r'^\t*\{\s*"(\w+)",', text, re.M))
            row = re.compile(r'^\t*(?:KUNIT_CASE\w*|T|TEST\w*)\(([^)]*)', re.M)
            for names in row.findall(text):
                found.update(re.findall(r'\w+', names))
            continue
        base = os.path.basename(name)
        if name == 'scripts/domains/dom0':
            for names in re.findall(r'^tests=\(([^)]*)', text, re.M):
                found.update(names.split())
        if base in ('torture', 'torture.sh'):
            row = re.compile(r'^(?:some|on_xen|rounds|crashes)=\(([^)]*)', re.M)
            for names in row.findall(text):
                found.update(re.split(r'[\s:]+', names))
        if base == 'mutants':
            found.update(re.findall(r'^\t(fuzz_\w+)\)', text, re.M))
        if os.path.dirname(name) == 'scripts':
            found.update(re.findall(r'\btap (?:ok|"not ok") (\w+)', text))
            found.update(re.findall(r'^\w*_test=(\w+)', text, re.M))
    return found | {'crash'}


def wrong_rounds(text, tests):
    """torture (round, round of ext4, crash: how, how)"""
    for m in re.finditer(r'torture \(([^)]*)\)', text):
        if not m[1].startswith('the'):
            for part in re.split(r'[,:;]\s+', m[1]):
                if (word := part.split()[0]) not in tests:
                    yield text.count('\n', 0, m.start()) + 1, word


def unknown_words(words):
    """Those that are neither in our code nor in a directory that we patch"""
    left, dirs = set(words), set()
    for name in ours():
        if name.endswith('.patch'):
            dirs.add(os.path.dirname(name.removeprefix('xen/')))
        if left and not is_document(name):
            with open(name) as f:
                left -= set(re.findall(r'\w+', f.read()))
    if left:
        files = [path for name in dirs
                 for path in glob.glob(f'build/src/*/{name}/*')]
        out = subprocess.run(['grep', '-showF', '-f', '-'] + files, text=True,
                             input='\n'.join(left), stdout=subprocess.PIPE)
        left -= set(out.stdout.split())
    return left


def named_in(name):
    """[(number, word)]: what looks like a test's name in a document"""
    name_in_prose = re.compile(r'(?<![\w/.$-])\*?[a-z0-9]*(?:_[a-z0-9]+){2,}'
                               r'(?![\w(/*-]|\.\w)')
    found, field = [], ''
    for nr, line in own_lines(name):
        if os.path.basename(name) != 'mutants.txt':
            words = name_in_prose.findall(line)
        else:
            if not line.startswith('\t'):
                field, _, line = line.partition(':')
            words = line.split() if field == 'tests' else ()
        found += [(nr, word) for word in words]
    return found


def tests():
    """A word with two underscores is a test, or else a name in the code"""
    there = all_tests()
    others = []
    for name in filter(is_document, ours()):
        base = os.path.basename(name)
        for nr, word in named_in(name):
            if word in there or fnmatch.filter(there, word):
                continue
            if base in ('mutants.txt', 'cases.txt'):
                yield name, nr, f'there is no test {word}'
            else:
                others.append((name, nr, word))
        if base == 'cases.txt':
            with open(name) as f:
                for nr, word in wrong_rounds(f.read(), there):
                    yield name, nr, f'there is no round {word} of torture'
    unknown = unknown_words(word for _, _, word in others)
    for name, nr, word in others:
        if word in unknown:
            yield name, nr, f'there is neither a test nor a name {word}'


def main():
    checks = {'lines': lines, 'paths': paths, 'tests': tests}
    if len(sys.argv) != 2 or sys.argv[1] not in checks:
        sys.exit(f'texts.py: takes one of {", ".join(checks)}')
    found = [f'{name}:{nr}: {why}' for name, nr, why in checks[sys.argv[1]]()]
    for line in found:
        print(line)
    sys.exit(bool(found))


if __name__ == '__main__':
    main()
