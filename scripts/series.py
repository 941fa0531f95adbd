#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Make a git history out of the overlay: one commit per step of the series.

usage: series.py MANIFEST PRISTINE REPO < NAMES

NAMES are the overlay's files, below the current directory; PRISTINE is the
unpacked source.  REPO is created: its first commit, tagged "pristine", holds
the files that the overlay changes as they are in PRISTINE, and each further
commit on its branch "series" is one step.  The description of that branch is
the cover letter.

The manifest begins with the cover letter: its subject, an empty line and its
text.  Then it lists the steps in order.  A line "== PATTERN" opens a step; its
subject, an empty line and its changelog follow.  Whatever PATTERN matches,
ignoring case, belongs to that step, and to the last such step if several
match:

 - a new file by its path;
 - a paragraph of added lines in an existing file, or in a new Kconfig,
   Makefile or ABI description, by its text, but not to a step before the one
   that the file's path names.

A paragraph is what can go into the tree on its own.  In C that is an #include,
an #if .. #endif block, or else a whole run of changed lines; in a Makefile a
line; elsewhere a stanza.  An #if block and a stanza are known by their first
line alone: "config TMEM_RAM" is about tmem_ram whatever it depends on.  A
paragraph that names no step goes with its neighbour in the hunk, or else with
the step that the file's path names, or the earliest that its text does.  A file
for which all of this finds no step is an error.
"""
import os
import re
import subprocess
import sys

IDENTITY = "{GIT_AUTHOR_NAME} <{GIT_AUTHOR_EMAIL}>".format(**os.environ)
SUBJECT_MAX = 72


def git(*args, cwd=".", data=None):
    return subprocess.run(("git",) + args, cwd=cwd, check=True, input=data,
                          text=True, stdout=subprocess.PIPE).stdout


def read_manifest(name):
    """Return the cover letter and [(pattern, message)], one per step."""
    with open(name) as f:
        cover, *blocks = re.split(r"^== ", f.read(), flags=re.M)
    steps = []
    for block in blocks:
        pattern, message = block.split("\n", 1)
        steps.append((re.compile(pattern, re.I), message.strip() + "\n"))
    for message in [cover] + [message for _, message in steps]:
        subject = message.split("\n", 1)[0]
        if len(subject) > SUBJECT_MAX:
            sys.exit(f"{name}: over {SUBJECT_MAX} columns: {subject}")
    return cover, steps


def step_of(steps, text):
    """Number of the last step that text names, 0 if it names none."""
    return max((n for n, s in enumerate(steps, 1) if s[0].search(text)),
               default=0)


def paragraphs(path, lines):
    """Split a run of added lines; yield (lines, text they are known by)."""
    base = os.path.basename(path)
    if path.endswith((".c", ".h", ".S")):
        run, depth = [], 0
        for line in lines:
            opens = re.match(r"\s*#\s*if", line)
            alone = re.match(r"\s*#\s*include", line)
            if depth == 0 and run and (opens or alone):
                yield run, "".join(run)
                run = []
            run.append(line)
            if opens:
                depth += 1
            elif depth and re.match(r"\s*#\s*endif", line):
                depth -= 1
                if depth == 0:
                    yield run, run[0]
                    run = []
            elif alone and depth == 0:
                yield run, line
                run = []
        if run:
            yield run, "".join(run)
    elif base in ("Makefile", "Kbuild"):
        for line in lines:
            yield [line], line
    else:
        # Blank lines end a stanza, or start it where the run starts so.
        blank_first = not lines[0].strip()
        run = []
        for line in lines:
            if blank_first:
                new = not line.strip()
            else:
                new = run and not run[-1].strip() and line.strip()
            if base.startswith("Kconfig"):
                new = new or re.match(r"(config|menuconfig|source|if|menu)\b",
                                      line) and any(l.strip() for l in run)
            if new and run:
                yield run, next((l for l in run if l.strip()), "")
                run = []
            run.append(line)
        if run:
            yield run, next((l for l in run if l.strip()), "")


def classify(steps, path, changes, floor):
    """Add to each change its parts: [step, lines] of each paragraph."""
    result = []
    for hunk, nr, old, new in changes:
        parts = ([(new, "".join(old + new))] if old
                 else list(paragraphs(path, new)))
        result.append((hunk, nr, old, [[step_of(steps, text), lines]
                                       for lines, text in parts]))
    flat = [(hunk, p) for hunk, _, _, parts in result for p in parts]
    first = floor or min((p[0] for _, p in flat if p[0]), default=0)
    for order in (flat, flat[::-1]):
        for (hunk1, before), (hunk2, this) in zip(order, order[1:]):
            if hunk1 == hunk2:
                this[0] = this[0] or before[0]
    for _, this in flat:
        this[0] = this[0] or first
    return result


def parse_patch(name):
    """Return [(hunk, first old line, old lines, new lines)], per change."""
    changes, hunks, old_nr, change = [], 0, 0, None
    with open(name) as f:
        lines = f.readlines()
    start = next(i for i, l in enumerate(lines) if l.startswith("+++ "))
    for line in lines[start + 1:]:
        hunk = re.match(r"@@ -(\d+)(,\d+)? \+\d+(,\d+)? @@", line)
        if hunk:
            # "-N,0" means after line N
            old_nr = int(hunk[1]) - (hunk[2] != ",0")
            change = None
            hunks += 1
        elif line[0] in "+-":
            if change is None:
                change = (hunks, old_nr, [], [])
                changes.append(change)
            change[2 if line[0] == "-" else 3].append(line[1:])
            old_nr += line[0] == "-"
        elif line[0] == " ":
            old_nr += 1
            change = None
        else:
            sys.exit(f"{name}: cannot use this line: {line!r}")
    return changes


class File:
    """One file of the target tree, at any step."""

    def __init__(self, steps, name, pristine):
        self.path = name.removesuffix(".patch")
        self.mode = os.stat(name).st_mode & 0o777
        self.old = []
        floor = step_of(steps, name)
        if name != self.path:
            with open(os.path.join(pristine, self.path)) as f:
                self.old = f.readlines()
            self.mode = os.stat(os.path.join(pristine, self.path)).st_mode
            self.mode &= 0o777
            changes = parse_patch(name)
        else:
            with open(name) as f:
                changes = [(0, 0, [], f.readlines())]
        split = re.search(r"\.patch$|(^|/)(Kconfig|Makefile|Kbuild)|"
                          r"Documentation/ABI/", name)
        if not split:
            self.changes = [(0, [], [(floor, changes[0][3])])]
        else:
            self.changes = [(nr, old, [(max(s, floor), l) for s, l in parts])
                            for _, nr, old, parts
                            in classify(steps, self.path, changes, floor)]
        self.first = min((s for c in self.changes for s, _ in c[2]), default=0)

    def write(self, repo, step):
        """Write the file as it is after that step, if it exists then."""
        if step < self.first and not self.old:
            return
        out, pos = [], 0
        for nr, old, parts in self.changes:
            out += self.old[pos:nr]
            pos = nr
            if parts[0][0] <= step:
                pos += len(old)
            out += [l for s, lines in parts if s <= step for l in lines]
        out += self.old[pos:]
        while not self.old and out and not out[-1].strip():
            out.pop()
        name = os.path.join(repo, self.path)
        os.makedirs(os.path.dirname(name), exist_ok=True)
        with open(name, "w") as f:
            f.writelines(out)
        os.chmod(name, self.mode)


def main():
    manifest, pristine, repo = sys.argv[1:]
    cover, steps = read_manifest(manifest)
    names = sys.stdin.read().split()
    files = [File(steps, name, pristine) for name in names]
    lost = [name for name, f in zip(names, files) if not f.first]
    if lost:
        sys.exit(f"no step of {manifest} names {', '.join(lost)}")
    git("init", "-q", "-b", "series", repo)
    git("config", "branch.series.description", cover, cwd=repo)
    for n in range(len(steps) + 1):
        for f in files:
            f.write(repo, n)
        git("add", "-A", "-f", cwd=repo)
        if n == 0:
            git("commit", "-q", "--allow-empty", "-m", "pristine", cwd=repo)
            git("tag", "pristine", cwd=repo)
        elif git("status", "--porcelain", cwd=repo):
            message = f"{steps[n - 1][1]}\nSigned-off-by: {IDENTITY}\n"
            git("commit", "-q", "-F", "-", cwd=repo, data=message)
        else:
            sys.exit(f"step {n} is empty: {steps[n - 1][0].pattern}")


main()
