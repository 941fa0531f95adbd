#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""test.py FAKE [TMEMCTL] - tests of tmemctl, as TAP

FAKE is the directory of a tmemctl that was built with fake.c, which says what
"host" may be below; TMEMCTL is the one for Xen.
"""
import errno
import fcntl
import json
import os
import pty
import re
import select
import shlex
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time

HERE = os.path.dirname(os.path.abspath(__file__))
FAKE = os.path.abspath(sys.argv[1])
XEN = sys.argv[2] if len(sys.argv) > 2 else None
LOG = tempfile.NamedTemporaryFile()
PATIENCE = 60		# in seconds, for what takes none on a quiet machine
POOL = "5a010203-0405-0607-0809-0a0b0c0d0e%02x"
OTHER = "00000000-0000-0000-0000-000000000001"

OK, FAILED, USAGE, NO_TMEM, NOT_FOUND = range(5)
# In a background job of a shell it is ignored, and would be in what we start
signal.signal(signal.SIGINT, signal.default_int_handler)
statuses = set()
tests = []


class Skip(Exception):
    pass


def test(function):
    tests.append(function)


def equal(is_, should):
    assert is_ == should, f"is:     {is_!r}\nshould: {should!r}"


def contains(text, *words):
    for word in words:
        assert word in text, f"no {word!r} in {text!r}"


def environment(host):
    return dict(os.environ, TMEMCTL_FAKE=host, TMEMCTL_FAKE_LOG=LOG.name,
                PATH=FAKE + ":" + os.environ["PATH"], LC_ALL="C",
                ASAN_OPTIONS="exitcode=99", UBSAN_OPTIONS="exitcode=99")


def tmemctl(args, host="", status=OK, **more):
    """Return what it prints, or the message if it fails as it should"""
    done = subprocess.run([FAKE + "/tmemctl"] + shlex.split(args), text=True,
                          env=environment(host), stdin=subprocess.DEVNULL,
                          stderr=subprocess.PIPE, timeout=PATIENCE,
                          **(more or {"stdout": subprocess.PIPE}))
    if done.returncode != status or (status == OK) != (done.stderr == ""):
        raise AssertionError(f"'{args}' on '{host}' returns "
                             f"{done.returncode}: {done.stderr}")
    statuses.add(status)
    if status == OK:
        return done.stdout
    assert not done.stdout, f"'{args}' prints {done.stdout!r} and fails"
    return done.stderr


def logged():
    with open(LOG.name, encoding="ascii") as log:
        return log.read().splitlines()


def calls(args, host="", status=OK):
    """Return the calls that it makes, apart from those that look for names"""
    tmemctl(args, host, status)
    return [line for line in logged() if line.split()[0] != "GET"]


class Terminal:
    """tmemctl on a terminal of 80 columns and 24 rows"""

    def __init__(self, args, host="", **more):
        self.master, self.slave = pty.openpty()
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ,
                    struct.pack("4H", 24, 80, 0, 0))
        self.before = termios.tcgetattr(self.slave)
        self.text = ""
        files = dict(stdin=self.slave, stdout=self.slave, stderr=self.slave)
        self.process = subprocess.Popen(
            [FAKE + "/tmemctl"] + args.split(), env=environment(host),
            start_new_session=True, **dict(files, **more),
            preexec_fn=lambda: fcntl.ioctl(self.slave, termios.TIOCSCTTY, 0))

    def read(self, nr, what="\033[J"):
        """Until @what has come @nr times, and the last line is whole"""
        end = time.monotonic() + PATIENCE
        while self.text.count(what) < nr or \
                not self.text.endswith(("\n", "\033[K")):
            left = end - time.monotonic()
            assert left > 0 and select.select([self.master], [], [], left)[0], \
                f"nothing more comes after {self.text!r}"
            self.text += os.read(self.master, 65536).decode()

    def frames(self):
        return self.text.split("\033[H\033[J")

    def type(self, keys):
        os.write(self.master, keys.encode())

    def end(self, status=OK):
        """It has to end by itself, and to leave the terminal as it was"""
        try:
            equal(self.process.wait(PATIENCE), status)
        finally:
            self.process.kill()
        while select.select([self.master], [], [], 0)[0]:
            self.text += os.read(self.master, 65536).decode()
        equal(termios.tcgetattr(self.slave), self.before)
        os.close(self.master)
        os.close(self.slave)
        return self.text.replace("\r\n", "\n")


ON = "\033[?1049h\033[?7l\033[?25l"
OFF = "\033[?25h\033[?7h\033[?1049l"

TABLE = """\
Name                                    ID    Mem   Pers   Room    Max    Eph\
      Puts    Failed      Gets      Hits   Evicted    Weight    Cap    Min State
Domain-0                                 0      0      0   none   none      0\
         0         0         0         0         0       100   none      0
guest1                                   1  64.0M  1023K  63.0M   128M  78.1M\
         6         7         8         9        11       101  1024M   512K
guest2                                   2   128M  2046K      0  64.0M  1250M\
        12        14        16        18        22       102   none  1024K\
 frozen, lz4
5a010203-0405-0607-0809-0a0b0c0d0e00     -      -      0      -      -      0\
         0         0         0         0         0       100   none      0\
 shared by 2
"""

DOMAIN = {
    "domid": 1, "name": "guest1", "pools": 1, "frozen": False,
    "memory_kib": 65536, "room_kib": 64513, "max_kib": 131072,
    "target_kib": 16384,
    "ephemeral_kib": 79992, "ephemeral_pages": 1, "persistent_kib": 1023,
    "persistent_pages": 2, "raw_pages": 3, "compressed_pages": 4,
    "metadata_bytes": 5, "puts": 6, "failed_puts": 7, "gets": 8, "hits": 9,
    "flushed_pages": 10, "evicted_pages": 11, "weight": 101,
    "cap_kib": 1 << 20, "min_kib": 512, "compress": False,
}

SHARED = {
    "uuid": POOL % 0, "users": 2, "ephemeral_kib": 0, "ephemeral_pages": 0,
    "persistent_kib": 0, "persistent_pages": 0, "raw_pages": 0,
    "compressed_pages": 0, "metadata_bytes": 0, "puts": 0, "failed_puts": 0,
    "gets": 0, "hits": 0, "flushed_pages": 0, "evicted_pages": 0,
    "weight": 100, "cap_kib": None, "min_kib": 0, "compress": False,
}


@test
def list_prints_a_table():
    equal(tmemctl("list", "domains=3,pools=1"), TABLE)


@test
def list_prints_json():
    for option in "list --json", "--json list", "-j list":
        out = json.loads(tmemctl(option, "domains=2,pools=1"))
        equal(out["domains"][1], DOMAIN)
        equal(out["shared_pools"], [SHARED])


@test
def list_says_how_much_room_is_left():
    """To xl, what a domain owns: the sum is what it may own"""
    dom0, one, two = json.loads(tmemctl("-j list", "domains=3"))["domains"]
    for key in "max_kib", "room_kib", "target_kib":
        equal(dom0[key], None)
    equal(one["memory_kib"] + one["persistent_kib"] + one["room_kib"],
          one["max_kib"])
    equal((two["max_kib"] < two["memory_kib"], two["room_kib"]), (True, 0))
    for host, domids in ("domains=3", [1, 2]), ("domains=3,nameless", []):
        out = json.loads(tmemctl("-j list", host))
        equal([c["domid"] for c in out["domains"] if c["target_kib"]], domids)


@test
def list_of_many_or_few():
    for domains, pools, shown in (0, 0, 0), (1, 0, 1), (40, 2, 42), \
            (1000, 16, 1016), (1020, 16, 1024), (1100, 16, 1024):
        host = f"domains={domains},pools={pools}"
        rows = tmemctl("list", host).splitlines()[1:]
        equal(len(rows), shown)
        out = json.loads(tmemctl("-j list", host))
        equal([c["domid"] for c in out["domains"]],
              list(range(min(domains, shown))))
        equal(len(out["domains"] + out["shared_pools"]), shown)


@test
def list_shows_sizes_in_four_digits():
    shown = r" +(0|none|([1-9]\d{0,3}|\d{1,2}\.\d)[KMGTPE])"
    head, *rows = tmemctl("list", "domains=40").splitlines()
    for row in rows:
        for title in "Mem", "Pers", "Room", "Max", "Eph", "Cap", "Min":
            end = head.index(title) + len(title)
            size = row[end - 7:end]
            assert re.fullmatch(shown, size), \
                f"{title} is '{size}' in '{row}'"


@test
def list_shows_names_of_any_kind():
    names = [c["name"] for c in
             json.loads(tmemctl("-j list", "domains=5"))["domains"]]
    equal(names, ["Domain-0", "guest1", "guest2", 'a"b\\c\td', None])
    contains(tmemctl("list", "domains=5"), "\n-    ")
    out = json.loads(tmemctl("-j list", "nameless"))
    equal([c["name"] for c in out["domains"]], [None, None])


@test
def set_changes_what_it_is_told():
    for settings, fields in {
            "weight=1": "mask=1 weight=1",
            "weight=4294967295": "mask=1 weight=4294967295",
            "cap=none": f"mask=2 cap={2 ** 64 - 1}",
            "cap=0": "mask=2",
            "cap=7": "mask=2 cap=7", "cap=7k": "mask=2 cap=7",
            "min=7M": "mask=4 min=7168", "min=7g": "mask=4 min=7340032",
            "min=7T": f"mask=4 min={7 << 30}",
            "min=18446744073709551614": f"mask=4 min={2 ** 64 - 2}",
            "compress=on": "flags=2 mask=8", "compress=off": "mask=8",
            "weight=300 min=256M cap=1G compress=on":
            "flags=2 mask=15 weight=300 cap=1048576 min=262144"}.items():
        equal(calls("set 1 " + settings), ["SET domid=1 " + fields])


@test
def set_finds_its_target():
    equal(calls("set guest1 min=1"), ["SET domid=1 mask=4 min=1"])
    for uuid in POOL % 0, (POOL % 0).replace("-", "").upper():
        equal(calls(f"set {uuid} min=1", "pools=1"),
              [f"SET flags=4 mask=4 min=1 uuid={POOL % 0}"])
    contains(tmemctl("set 7 min=1", "", NOT_FOUND), "7: no such domain")
    contains(tmemctl("set 65535 min=1", "", NOT_FOUND), "65535: no such domain")
    contains(tmemctl("set web min=1", "", NOT_FOUND),
             "web: no domain of this name has tmem")
    contains(tmemctl("set web min=1", "nameless", NOT_FOUND), "give the id")
    contains(tmemctl(f"set {OTHER} min=1", "pools=1", NOT_FOUND),
             OTHER, "no such shared pool")


@test
def auth_lists_adds_and_removes():
    equal(tmemctl("auth guest1", "auth=2"), f"{POOL % 0}\n{POOL % 1}\n")
    equal(tmemctl("auth 1", "auth=0"), "")
    for n in 0, 1, 16:
        equal(json.loads(tmemctl("--json auth 1", f"auth={n}")),
              [POOL % i for i in range(n)])
    equal(calls(f"auth guest1 {OTHER}", "auth=2"),
          [f"SET_AUTH domid=1 flags=8 uuid={OTHER}"])
    for option in "--remove", "-r":
        equal(calls(f"auth 1 {option} {POOL % 1}", "auth=2"),
              [f"SET_AUTH domid=1 uuid={POOL % 1}"])
    contains(tmemctl(f"auth 1 --remove {OTHER}", "auth=2", NOT_FOUND),
             f"1 is not authorised for {OTHER}")
    contains(tmemctl(f"auth 1 {OTHER}", "auth=16", FAILED), "--remove first")


@test
def freeze_and_thaw():
    for command in "freeze", "thaw":
        equal(calls(command + " guest1"), [command.upper() + " domid=1"])
        equal(calls(command + " all"), [command.upper() + " domid=65535"])
        contains(tmemctl(command + " 9", "", NOT_FOUND), "9: no such domain")


@test
def flush_goes_on_until_it_is_done():
    equal(tmemctl("flush 4M", "free=9000"), "4096 KiB\n")
    equal(calls("flush 2M", "free=9000"),
          ["FLUSH kib=2048", "FLUSH kib=2048", "FLUSH kib=1024"])
    equal(tmemctl("flush 1T", "free=9000"), "9000 KiB\n")
    equal(json.loads(tmemctl("-j flush 4M", "free=100")), {"flushed_kib": 100})


@test
def drain_asks_and_waits():
    """And goes on asking: what is brought back must not be put again"""
    for who in "1", "guest1":
        equal(calls("drain " + who), ["DRAIN domid=1"])
    equal(tmemctl("drain guest1"), "")
    # Domain 1 has two pages
    equal(logged()[-3:], ["DRAIN domid=1", "GET domid=1", "GET domid=1"])
    equal(calls("drain 0"), ["DRAIN domid=0"])
    for who in "1", "guest1":
        equal(calls("undrain " + who), ["UNDRAIN domid=1"])


@test
def drain_has_patience_as_long_as_pages_come_back():
    """With one of two pages each half a second"""
    equal(calls("drain 1 0.6", "slow=5"), ["DRAIN domid=1"])


@test
def drain_gives_up():
    """A domain that puts its pages again has none fewer, either"""
    for seconds in "0.1", "0.5":
        start = time.monotonic()
        message = tmemctl("drain guest1 " + seconds, "slow=0", FAILED)
        assert time.monotonic() - start >= float(seconds), message
        contains(message, "guest1: ", f"for {seconds} s the number has not",
                 "memory", "swap")
    contains(tmemctl("drain 1 0.1", "slow=9", FAILED),
             "1: 2 persistent pages (0 MiB) are left")
    for host, status in ("slow=0", FAILED), ("slow=0,gone=12", NOT_FOUND), \
            (f"slow=0,error={errno.ENODEV},after=12", NO_TMEM):
        equal(calls("drain guest1 1", host, status),
              ["DRAIN domid=1", "UNDRAIN domid=1"])


@test
def drain_asks_nobody_in_vain():
    for command in "drain", "undrain":
        for who, host, status, words in (
                ("9", "", NOT_FOUND, "9: no such domain"),
                ("1", "domains=3,gone=1", NOT_FOUND, "1: no such domain"),
                ("web", "", NOT_FOUND, "web: no domain of this name"),
                ("1", "nameless", FAILED, "1: a domain is asked by xenstore")):
            contains(tmemctl(f"{command} {who}", host, status), words)
            equal(calls(f"{command} {who}", host, status), [])


@test
def drain_shows_its_progress():
    terminal = Terminal("drain guest1")
    equal(terminal.end().split("\r"), [""] + [
        f"guest1: persistent:{size:>6}\033[K{end}"
        for size, end in (("4K", ""), ("0", "\n"))])
    text = Terminal("drain guest1 0.1", "slow=0").end(FAILED)
    contains(text, "\033[K\ntmemctl: guest1: ")


@test
def drain_that_is_interrupted_asks_no_more():
    for interrupt, signal_ in ("\x03", signal.SIGINT), \
            (signal.SIGTERM, signal.SIGTERM), (signal.SIGHUP, signal.SIGHUP):
        terminal = Terminal("drain guest1 3600", "slow=0")
        terminal.read(1, "\033[K")
        if isinstance(interrupt, str):
            terminal.type(interrupt)
        else:
            terminal.process.send_signal(interrupt)
        assert terminal.end(-signal_).endswith("\n")
        equal(logged()[-1], "UNDRAIN domid=1")
    # Also if that comes while it does not wait
    Terminal("drain guest1 3600", "slow=0,interrupt=12").end(-signal.SIGINT)
    equal(logged()[-1], "UNDRAIN domid=1")


@test
def freeable():
    equal(tmemctl("freeable", "free=9000"), "9000 KiB\n")
    equal(json.loads(tmemctl("-j freeable", "free=9")), {"freeable_kib": 9})


@test
def domain_vanishes():
    # The second time between the two calls that are about it
    for gone in 1, 4:
        out = json.loads(tmemctl("-j list", f"domains=3,gone={gone}"))
        equal([c["domid"] for c in out["domains"]], [0, 2])
    for command in "set guest1 min=1", "freeze guest1", f"auth guest1 {OTHER}":
        contains(tmemctl(command, "gone=5", NOT_FOUND),
                 "guest1: no such domain")
    for command in "auth guest1", "--json auth guest1":
        for gone in 5, 8:
            contains(tmemctl(command, f"auth=2,gone={gone}", NOT_FOUND),
                     "guest1: no such domain")


@test
def wrong_arguments_are_named():
    size = "a number of KiB, or one with K, M, G or T"
    settings = ("weight=N", "cap=SIZE|none", "min=SIZE", "compress=on|off")
    commands = ("list", "top", "set", "auth", "freeze", "thaw", "drain",
                "undrain", "flush", "freeable")
    for args, words in {
            "": ["usage:", *commands, "--json"],
            "--foo": ["'--foo'", "--json", "--remove", "--help"],
            "-x": ["'x'", "-j", "-r", "-h"],
            "auth 1 --remove": ["'--remove'", "requires an argument"],
            "foo": ["'foo'", *commands],
            f"--remove {OTHER} list": ["list has no --remove", "auth"],
            "--json top": ["top has no --json", "list"],
            "list x": ["list", "'x'"],
            "freeable x": ["freeable", "'x'"],
            "top 1 2": ["top", "'2'", "seconds"],
            "top x": ["top", "'x'", "0.1 to 3600"],
            "top 0": ["top", "'0'", "0.1 to 3600"],
            "top 3601": ["top", "'3601'", "0.1 to 3600"],
            "top nan": ["top", "'nan'", "0.1 to 3600"],
            "top -n 0": ["--number", "'0'", "1 to 4294967295"],
            "top -n x": ["--number", "'x'", "1 to 4294967295"],
            "top -n": ["'n'", "requires an argument"],
            "-n 1 list": ["list has no --number", "top"],
            "set": ["set", "domain", "weight="],
            "set 1": ["set", "domain", "weight="],
            "set 1 min": ["set", "'min'", *settings],
            "set 1 foo=1": ["set", "'foo'", *settings],
            "set 1 weight=0": ["weight", "'0'", "1 to 4294967295"],
            "set 1 weight=": ["weight", "''", "1 to 4294967295"],
            "set 1 weight=1x": ["weight", "'1x'", "1 to 4294967295"],
            "set 1 weight=-1": ["weight", "'-1'", "1 to 4294967295"],
            "set 1 weight=4294967296": ["'4294967296'", "1 to 4294967295"],
            "set 1 cap=x": ["cap", "'x'", size, "none"],
            "set 1 cap=": ["cap", "''", size, "none"],
            "set 1 min=none": ["min", "'none'", size],
            "set 1 min=-1": ["min", "'-1'", size],
            "set 1 min=5MM": ["min", "'5MM'", size],
            "set 1 min=17179869184T": ["min", "'17179869184T'",
                                       "up to 17179869183T"],
            "set 1 cap=18446744073709551615": ["up to 18446744073709551614K"],
            "set 1 compress=yes": ["compress", "'yes'", "on", "off"],
            "auth": ["auth", "domain", "uuid"],
            f"auth 1 {OTHER} {OTHER}": ["auth", "domain", "uuid"],
            f"auth 1 -r {OTHER} {OTHER}": ["auth", "domain", "uuid"],
            "auth 1 x": ["auth", "'x'", "is not a uuid"],
            f"auth 1 {OTHER}0": ["auth", f"'{OTHER}0'", "is not a uuid"],
            "auth 1 -r x": ["--remove", "'x'", "is not a uuid"],
            "auth 1 " + 32 * "f": [32 * "f", "never shared"],
            "freeze": ["freeze", "domain", "'all'"],
            "thaw 1 2": ["thaw", "domain", "'all'"],
            "drain": ["drain", "domain", "seconds"],
            "drain 1 2 3": ["drain", "domain", "seconds"],
            "drain 1 0": ["drain", "'0'", "0.1 to 3600"],
            "undrain": ["undrain", "a domain"],
            "undrain 1 2": ["undrain", "a domain"],
            "flush": ["flush", "size"],
            "flush 1 2": ["flush", "size"],
            "flush x": ["flush", "'x'", size]}.items():
        contains(tmemctl(args, "", USAGE), *words)


@test
def errors_say_what_to_do():
    for error, status, words in (
            ("EPERM", NO_TMEM, "in dom0"),
            ("EACCES", NO_TMEM, "version 0x15"),
            ("ENOSYS", NO_TMEM, "CONFIG_TMEM"),
            ("EOPNOTSUPP", NO_TMEM, "CONFIG_TMEM"),
            ("ENODEV", NO_TMEM, "boot Xen with 'tmem'"),
            ("EFAULT", FAILED, os.strerror(errno.EFAULT))):
        host = f"error={getattr(errno, error)}"
        contains(tmemctl("freeable", host, status), words)
    for command in ("list", "top", "set 1 min=1", "set guest1 min=1", "auth 1",
                    f"auth 1 {OTHER}", "freeze 1", "thaw all", "drain 1",
                    "undrain 1", "flush 1"):
        contains(tmemctl(command, f"error={errno.EPERM}", NO_TMEM), "in dom0")
    for error, status, words in (
            ("EPERM", NO_TMEM, "run it as root"),
            ("EACCES", NO_TMEM, "run it as root"),
            ("ENOENT", NO_TMEM, "not a dom0"),
            ("ENOMEM", FAILED, os.strerror(errno.ENOMEM))):
        contains(tmemctl("list", f"open={getattr(errno, error)}", status),
                 "/dev/fake: ", words)


@test
def answers_that_no_hypervisor_gives_end_it():
    for error in errno.ESRCH, errno.ENOENT:
        for command in "list", "top", "set guest1 min=1":
            tmemctl(command, f"error={error}",
                    NOT_FOUND if error == errno.ESRCH else FAILED)


@test
def nothing_can_be_written():
    for command in ("list", "-j list", "top 0.1", "auth 1", "freeable",
                    "flush 1"):
        with open("/dev/full", "w", encoding="ascii") as full:
            contains(tmemctl(command, "auth=1", FAILED, stdout=full) or "",
                     "cannot write: No space left")


@test
def no_escapes_without_a_terminal():
    terminal = Terminal("list")
    contains(terminal.end(), "Domain-0")
    assert "\033" not in terminal.text
    terminal = Terminal("top --number 1 0.1")
    contains(terminal.end(), "every 0.1 s\nName  ", "Domain-0")
    assert "\033" not in terminal.text
    terminal = Terminal("top 0.1", stdin=subprocess.DEVNULL)
    terminal.read(3, "tmem: 0 KiB can be freed at once; every 0.1 s\r\nName  ")
    terminal.type("\x03")
    assert "\033" not in terminal.end(-signal.SIGINT)
    terminal = Terminal("top 0.1", stdout=subprocess.PIPE)
    with terminal.process.stdout as out:
        lines = [out.readline().decode() for _ in range(8)]
    terminal.end(-signal.SIGPIPE)
    equal(lines[0], "tmem: 0 KiB can be freed at once; every 0.1 s\n")
    equal(lines[4], lines[0])
    assert "\033" not in "".join(lines)


def rows_of(text):
    """Return what top shows of each client, by its name, in this order"""
    head, *rows = re.split(r"^Name +", text, flags=re.M)[-1].splitlines()
    keys = ["Name"] + head.split()
    assert all(len(row.split()) == len(keys) for row in rows), rows
    return {row.split()[0]: dict(zip(keys, row.split())) for row in rows}


@test
def top_shows_what_each_client_does():
    start = time.monotonic()
    rows = rows_of(tmemctl("top -n 1 0.1", "domains=3,pools=1,ops=400"))
    seconds = time.monotonic() - start
    equal(list(rows), ["guest2", "guest1", "Domain-0", POOL % 0])
    # From one sample to the next there are 10 calls
    puts = int(rows["guest1"]["Puts/s"])
    assert 4000 / seconds - 1 <= puts <= 4000 / 0.1, (puts, seconds)
    assert abs(int(rows["guest2"]["Puts/s"]) - 2 * puts) <= 1, rows
    for row in rows.values():
        equal(row.pop("Puts/s"), row.pop("Gets/s"))
    # 9 pages and 3/4 of 400 per call, at the time of call 14
    equal(rows["guest1"], {
        "Name": "guest1", "ID": "1", "Mem": "64.0M", "Target": "16.0M",
        "Pers": "1023K", "Eph": "78.1M", "Hit%": "75",
        "Saved": f"{(9 + 300 * 14) * 4 / 1024:.1f}M"})
    equal(rows["Domain-0"], {
        "Name": "Domain-0", "ID": "0", "Mem": "0", "Target": "-", "Pers": "0",
        "Eph": "0", "Hit%": "-", "Saved": "0"})
    equal(rows[POOL % 0], {
        "Name": POOL % 0, "ID": "-", "Mem": "-", "Target": "-", "Pers": "0",
        "Eph": "0", "Hit%": "-", "Saved": "0"})


@test
def top_prints_as_many_screens_as_it_is_told():
    for number in 1, 3:
        text = tmemctl(f"top -n {number} 0.1", "domains=40,pools=2,ops=4")
        equal(text.count("\n"), number * 44)
        equal(text.count("Name  "), number)


@test
def top_fits_on_the_screen():
    for domains, host in (1000, "domains=1000,ops=4"), (40, "domains=40,ops=4"):
        terminal = Terminal("top 3600", host)
        terminal.read(1, "others)")
        flags = termios.tcgetattr(terminal.slave)[3]
        equal(flags & (termios.ICANON | termios.ECHO), 0)
        terminal.type(" ")
        terminal.read(2, "others)")
        start, *frames = terminal.frames()
        equal(start, ON)
        for frame in frames:
            lines = frame.split("\r\n")
            contains(lines[0], "every 3600 s; q quits")
            equal((len(lines), lines[-1]), (24, ""))
            assert max(map(len, lines)) <= 80, lines
        # The first has no rates; then the most active are on top
        equal([len(re.findall(r"-       - +\d", frame)) for frame in frames],
              [21, 0])
        equal(re.findall(r"^guest\d+ +(\d+) ", frames[1], re.M),
              [str(i) for i in range(domains - 1, domains - 21, -1)])
        contains(frames[1], f"({domains - 20} others) ")
        terminal.type("q")
        assert terminal.end().endswith("\n" + OFF)
    # 64 MiB * (0 + 1 + ... + 19), and half of it 16 MiB; 3 of 4 gets hit
    fields = lines[-2].split()
    equal(fields[3:6] + fields[7:8], ["11.9G", "3040M", "190M", "75"])


@test
def top_fits_when_its_screen_changes():
    terminal = Terminal("top 3600", "domains=40,pools=1,ops=4")
    terminal.read(1)
    terminal.type(" ")
    terminal.read(2, "others)")
    before = logged()
    sizes = ((100, 110, POOL % 0, 43), (10, 80, "(35 others)", 9),
             (4, 80, "(41 others)", 3), (3, 20, "Name", 2), (1, 1, "Name", 2),
             (24, 80, "(21 others)", 23))
    for nr, (rows, columns, last, lines) in enumerate(sizes, 3):
        fcntl.ioctl(terminal.slave, termios.TIOCSWINSZ,
                    struct.pack("4H", rows, columns, 0, 0))
        terminal.read(nr)
        while terminal.frames()[nr].count("\n") < lines:
            terminal.read(terminal.text.count("\n") + 1, "\n")
        frame = terminal.frames()[nr].split("\r\n")
        contains(frame[-2], last)
        # The terminal cuts off what is too long
        assert max(map(len, frame)) <= max(columns, 67), frame
    equal(logged(), before)
    terminal.type("q")
    terminal.end()
    equal([frame.count("\n") for frame in terminal.frames()[3:]],
          [lines for *_, lines in sizes])


@test
def top_shows_no_rates_of_another_domain():
    """What has this id now counts from 0, or has another name"""
    known = {}
    for host in "ops=4", "ops=4,reset=10", "ops=4,renamed=10", "ops=4,gone=10":
        text = tmemctl("top -n 3 0.1", host)
        known[host.split(",")[-1].split("=")[0]] = [
            row["Puts/s"] != "-" for frame in text.split("tmem: ")[1:]
            for row in rows_of(frame).values() if row["ID"] == "1"]
    # The second sample begins with call 8, the third with call 15
    equal(known, {"ops": [True, True, True], "reset": [False, True, True],
                  "renamed": [False, True, True], "gone": []})


@test
def top_goes_on_by_itself():
    terminal = Terminal("top 0.1")
    terminal.read(3)
    terminal.type("q")
    terminal.end()


@test
def top_restores_the_terminal():
    for interrupt in ("\x03", "\x1c", signal.SIGINT, signal.SIGTERM,
                      signal.SIGHUP, signal.SIGQUIT):
        terminal = Terminal("top 3600")
        terminal.read(1)
        if isinstance(interrupt, str):
            terminal.type(interrupt)
        else:
            terminal.process.send_signal(interrupt)
        assert terminal.end().endswith(OFF)


@test
def top_cannot_be_stopped_on_its_screen():
    terminal = Terminal("top 3600")
    terminal.read(1)
    terminal.type("\x1a")
    terminal.read(2)
    terminal.type("q")
    assert terminal.end().endswith(OFF)


@test
def top_misses_no_interrupt():
    terminal = Terminal("top 3600", "interrupt=10")
    terminal.read(1)
    terminal.type(" ")
    assert terminal.end().endswith(OFF)


@test
def top_leaves_its_error_on_the_screen():
    host = f"error={errno.ENODEV},after=8"
    terminal = Terminal("top 0.1", host)
    contains(terminal.end(NO_TMEM), ON, OFF + "tmemctl: tmem is off")
    text = Terminal("top", f"error={errno.ENODEV}").end(NO_TMEM)
    assert "\033" not in text


def help_text():
    """Return the commands and the options that --help names"""
    text = tmemctl("--help")
    equal(text, tmemctl("-h"))
    for line in text.splitlines():
        assert len(line) <= 80, f"{len(line)} columns: {line}"
    return (re.findall(r"^  ([a-z]\w*) ", text, re.M),
            re.findall(r"^  -(\w), --(\w+)", text, re.M))


def manual(section):
    with open(HERE + "/tmemctl.8", encoding="ascii") as page:
        text = page.read()
    return text.split(f".Sh {section}\n")[1].split("\n.Sh ")[0]


@test
def manual_names_what_help_names():
    commands, options = help_text()
    assert len(commands) > 7 and len(options) > 2
    equal(re.findall(r"^\.It Fl (\w) , Fl Fl (\w+)", manual("OPTIONS"), re.M),
          options)
    # Items of lists in the list are no commands
    text = manual("COMMANDS").removeprefix(".Bl -tag -width Ds\n")
    text = re.sub(r"\.Bl (?s:.)*?\.El", "", text)
    equal(re.findall(r"^\.It Cm (\w+)$", text, re.M), commands)
    synopsis = manual("SYNOPSIS")
    words = re.findall(r"^\.Cm (.*)$", synopsis, re.M)
    equal(" ".join(words).replace(" | ", " ").split(), commands)
    for _, option in options:
        contains(synopsis, "Fl Fl " + option)
    assert not set(re.findall(r"Fl Fl (\w+)", synopsis)) - \
        {option for _, option in options}


@test
def manual_names_each_exit_status():
    """Of all that the tests before have seen"""
    text = manual("EXIT STATUS")
    equal([int(n) for n in re.findall(r"^\.It (\d+)$", text, re.M)],
          sorted(statuses))
    equal(sorted(statuses), [OK, FAILED, USAGE, NO_TMEM, NOT_FOUND])


def complete(*lines, host="domains=2,pools=1,auth=2"):
    """Return what is offered for the last word of each line; '' is none yet"""
    script = f"""
        . {HERE}/tmemctl.bash-completion
        compopt() {{ :; }}
        while read -ra COMP_WORDS; do
            COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
            [ "${{COMP_WORDS[COMP_CWORD]}}" != "''" ] || COMP_WORDS[COMP_CWORD]=
            _tmemctl
            echo "${{COMPREPLY[*]}}"
        done"""
    done = subprocess.run(["bash", "-c", script], env=environment(host),
                          input="\n".join(lines) + "\n", text=True,
                          capture_output=True, timeout=PATIENCE, check=True)
    equal(done.stderr, "")
    return [set(line.split()) for line in done.stdout.splitlines()]


@test
def completion_names_what_help_names():
    commands, options = help_text()
    first, auth, top = complete("tmemctl ''", "tmemctl auth 1 ''",
                                "tmemctl top ''")
    equal(first | auth & {"--remove"} | top & {"--number"},
          set(commands) | {"--" + option for _, option in options})


@test
def completion_offers_what_there_is():
    domains, pools = {"0", "1", "Domain-0", "guest1"}, {POOL % 0}
    for line, offered in zip(cases := {
            "fr": {"freeze", "freeable"}, "list ''": {"--json"},
            "top ''": {"--number"}, "set ''": domains | pools,
            "set gu": {"guest1"},
            "set 1 ''": {"weight=", "cap=", "min=", "compress="},
            "set 1 weight = 7 c": {"cap=", "compress="},
            "set 1 cap =": {"none"}, "set 1 compress = o": {"on", "off"},
            "set 1 compress =": {"on", "off"}, "set 1 weight =": set(),
            "auth ''": domains | {"--json", "--remove"},
            "auth 1 ''": pools | {"--json", "--remove"},
            "auth 1 --remove ''": {POOL % 0, POOL % 1, "--json"},
            "--json auth ''": domains | {"--json", "--remove"},
            "freeze ''": domains | {"all"}, "thaw a": {"all"},
            "drain ''": domains, "undrain ''": domains, "drain 1 ''": set(),
            "flush ''": {"--json"}, "flush 1 ''": {"--json"},
            "freeable ''": {"--json"}, "foo ''": set(),
            }, complete(*("tmemctl " + line for line in cases))):
        equal((line, offered), (line, cases[line]))
    equal(complete("tmemctl set ''", host=f"error={errno.ENODEV}"), [set()])


@test
def the_one_for_xen_says_that_there_is_none():
    if not XEN:
        raise Skip("it is not built without libxen-dev")
    if os.path.exists("/dev/xen/privcmd"):
        raise Skip("there is one here")
    done = subprocess.run([XEN, "list"], text=True, capture_output=True,
                          timeout=PATIENCE, check=False)
    equal(done.returncode, NO_TMEM)
    contains(done.stderr, "/dev/xen/privcmd: No such file", "not a dom0")


def main():
    failed = 0
    for nr, function in enumerate(tests, 1):
        name, skip = function.__name__, ""
        try:
            function()
            result = "ok"
        except Skip as why:
            result, skip = "ok", f" # SKIP {why}"
        except (AssertionError, OSError, ValueError, KeyError,
                subprocess.SubprocessError) as why:
            print("# " + str(why or repr(why)).replace("\n", "\n# "))
            result = "not ok"
            failed = 1
        print(f"{result} {nr} - tmemctl_{name}{skip}", flush=True)
    print(f"1..{len(tests)}")
    return failed


sys.exit(main())
