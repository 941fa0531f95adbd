// SPDX-License-Identifier: GPL-2.0
/* What the tmem tests share: see tmem_test.h */

#include <dirent.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "tmem_test.h"

#define CGROUP		"/sys/fs/cgroup"
#define TEST_SECONDS	900	/* emulation, all debug checks, and slack */

static const char *const counter_names[NR_COUNTERS] = {
	TMEM_EVENTS(TMEM_EVENT_NAME)
	"pswpin", "pswpout", "zswpin", "zswpout",
};

static long marked[NR_COUNTERS];
static char cgroup[64];
static int kmsg = -1;
static char kmsg_log[1 << 19];
static size_t kmsg_len;
static bool running;	/* tests, so there is evidence */
static bool named;	/* tests, on the command line */

/* Messages */

void note(const char *fmt, ...)
{
	va_list ap;

	printf("# ");
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
	fflush(stdout);
}

void fail_at(const char *file, int line, const char *fmt, ...)
{
	va_list ap;

	printf("# FAILED %s:%d: ", file, line);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
	if (running) {
		running = false;	/* evidence() can fail, too */
		evidence("at failure");
	}
	exit(KSFT_FAIL);
}

void skip(const char *fmt, ...)
{
	va_list ap;

	printf("# %s: ", named ? "FAILED" : "SKIP");
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
	exit(named ? KSFT_FAIL : KSFT_SKIP);
}

/* Files of one value */

int try_set(const char *path, const char *fmt, ...)
{
	char value[256];
	int fd, len, ret;
	va_list ap;

	va_start(ap, fmt);
	len = vsnprintf(value, sizeof(value), fmt, ap);
	va_end(ap);
	fd = open(path, O_WRONLY | O_TRUNC);
	if (fd < 0)
		return -errno;
	ret = write(fd, value, len) == len ? 0 : -errno;
	close(fd);
	return ret;
}

void set(const char *path, const char *fmt, ...)
{
	char value[256];
	va_list ap;
	int ret;

	va_start(ap, fmt);
	vsnprintf(value, sizeof(value), fmt, ap);
	va_end(ap);
	ret = try_set(path, "%s", value);
	CHECK(!ret, "%s <- '%s': %s", path, value, strerror(-ret));
}

bool backend_is(const char *name)
{
	char is[32] = "";
	FILE *f = fopen(SYSFS "backend", "r");

	CHECK(f && fscanf(f, "%31s", is) == 1, "no backend file");
	fclose(f);
	return !strcmp(is, name);
}

long get_long(const char *path)
{
	FILE *f = fopen(path, "r");
	long value;

	CHECK(f, "%s: %s", path, strerror(errno));
	CHECK(fscanf(f, "%ld", &value) == 1, "%s holds no number", path);
	fclose(f);
	return value;
}

long meminfo_bytes(const char *name)
{
	FILE *f = fopen("/proc/meminfo", "r");
	char line[128];
	size_t len = strlen(name);
	long kib;

	CHECK(f, "no /proc/meminfo");
	while (fgets(line, sizeof(line), f))
		if (!strncmp(line, name, len) &&
		    sscanf(line + len, ": %ld", &kib) == 1) {
			fclose(f);
			return kib * 1024;
		}
	fail("no %s in /proc/meminfo", name);
}

/* Counters */

long read_stat(const char *path, const char *name)
{
	FILE *f = fopen(path, "r");
	char line[64];
	long value;

	CHECK(f, "%s: %s", path, strerror(errno));
	while (fscanf(f, "%63s %ld", line, &value) == 2)
		if (!strcmp(name, line)) {
			fclose(f);
			return value;
		}
	fail("no %s in %s", name, path);
}

const char *counter_name(enum counter c)
{
	return counter_names[c];
}

long counter(enum counter c)
{
	return read_stat("/proc/vmstat", counter_names[c]);
}

void mark(void)
{
	int i;

	for (i = 0; i < NR_COUNTERS; i++)
		marked[i] = counter(i);
}

long since(enum counter c)
{
	return counter(c) - marked[c];
}

void evidence(const char *when)
{
	int i;

	printf("# %s:", when);
	for (i = 0; i < NR_COUNTERS; i++)
		if (since(i))
			printf(" %s +%ld", counter_names[i], since(i));
	printf("\n");
	fflush(stdout);
}

/* Programs: their own memory is not the test's business */

void must_run(const char *fmt, ...)
{
	char command[1024];
	va_list ap;
	int status;
	pid_t pid;

	va_start(ap, fmt);
	vsnprintf(command, sizeof(command), fmt, ap);
	va_end(ap);
	fflush(stdout);
	pid = SYS(fork());
	if (!pid) {
		set(CGROUP "/cgroup.procs", "0");
		dup2(1, 2);
		execl("/bin/sh", "sh", "-c", command, NULL);
		_exit(127);
	}
	SYS(waitpid(pid, &status, 0));
	CHECK(!status, "status %x of: %s", status, command);
}

/* Tracing */

#define TRACE		"/sys/kernel/tracing/"

void trace_begin(const char *event, const char *filter, ...)
{
	char path[128], value[128];
	va_list ap;

	va_start(ap, filter);
	vsnprintf(value, sizeof(value), filter, ap);
	va_end(ap);
	/* Or else the scheduler's code is patched, too, each time */
	set(TRACE "options/record-cmd", "0");
	snprintf(path, sizeof(path), TRACE "events/%s/filter", event);
	set(path, "%s", value);
	set(TRACE "trace", " ");
	snprintf(path, sizeof(path), TRACE "events/%s/enable", event);
	set(path, "1");
}

/* How often did it happen?  Only one at a time is traced. */
long trace_end(const char *event)
{
	char path[128], line[512];
	long n = 0;
	FILE *f;

	snprintf(path, sizeof(path), TRACE "events/%s/enable", event);
	set(path, "0");
	f = fopen(TRACE "trace", "r");
	CHECK(f, "no " TRACE "trace");
	while (fgets(line, sizeof(line), f))
		n += *line != '#' && strstr(line, strchr(event, '/') + 1);
	fclose(f);
	return n;
}

/* The kernel's log */

void kmsg_mark_boot(void)
{
	if (kmsg >= 0)
		close(kmsg);
	kmsg = SYS(open("/dev/kmsg", O_RDONLY | O_NONBLOCK));
	kmsg_len = 0;
}

void kmsg_mark(void)
{
	kmsg_mark_boot();
	SYS(lseek(kmsg, 0, SEEK_END));
}

bool kmsg_has(const char *text)
{
	char *found, *end;
	ssize_t len;

	/* One message at a time: "priority,number,time,flags;text\n" */
	while (kmsg_len < sizeof(kmsg_log) - 1) {
		len = read(kmsg, kmsg_log + kmsg_len,
			   sizeof(kmsg_log) - 1 - kmsg_len);
		if (len < 0 && errno == EPIPE)
			continue;
		if (len <= 0)
			break;
		kmsg_len += len;
	}
	kmsg_log[kmsg_len] = '\0';
	found = strstr(kmsg_log, text);
	if (!found)
		return false;
	end = strchrnul(found, '\n');
	while (found > kmsg_log && found[-1] != ';')
		found--;
	note("the log: %.*s", (int)(end - found), found);
	return true;
}

/* Fault injection */

/* A directory of the kernel's fault injection, below debug.  None is silent. */
void inject_into(const char *where, int percent, int times)
{
	const struct {
		const char *file;
		int value;
	} files[] = {
		{ "probability", 0 }, { "verbose", 0 }, { "interval", 1 },
		{ "times", times }, { "probability", percent },
	};
	char path[128];
	size_t i;

	snprintf(path, sizeof(path), "/sys/kernel/debug/%s", where);
	if (access(path, F_OK)) {
		if (percent)
			skip("there is no %s", path);
		return;
	}
	for (i = 0; i < sizeof(files) / sizeof(*files); i++) {
		snprintf(path, sizeof(path), "/sys/kernel/debug/%s/%s", where,
			 files[i].file);
		set(path, "%d", files[i].value);
	}
}

void inject(int faults, int percent, int times)
{
	static const char *const names[] = {
		"put", "put_dup", "get_ephemeral", "get_persistent", "vanish",
		"flush_page", "flush_object", "delay",
		"corrupt",
	};
	char where[64];
	size_t i;

	for (i = 0; i < sizeof(names) / sizeof(*names); i++) {
		snprintf(where, sizeof(where), "fail_tmem/%s", names[i]);
		inject_into(where, faults & 1 << i ? percent : 0, times);
	}
}

/* CONFIG_TMEM_PARANOID, if it is there */

#define PARANOID_DISK	"/sys/kernel/debug/tmem_paranoid/disk"

void disk_may_differ(void)
{
	try_set(PARANOID_DISK, "N");
}

/* Cgroup */

void cgroup_set(const char *file, const char *fmt, ...)
{
	char path[160], value[64];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(value, sizeof(value), fmt, ap);
	va_end(ap);
	snprintf(path, sizeof(path), "%s/%s", cgroup, file);
	set(path, "%s", value);
}

long cgroup_get(const char *file)
{
	char path[160];

	snprintf(path, sizeof(path), "%s/%s", cgroup, file);
	return get_long(path);
}

/*
 * A line of memory.stat.  To ask brings all of them up to date, which happens
 * by itself every two seconds.  Reclaim believes them: with no page left on the
 * inactive list, it does not look at the active one, and the OOM killer is
 * called, as long as they say that both are empty.
 */
long cgroup_stat(const char *name)
{
	char path[160];

	snprintf(path, sizeof(path), "%s/memory.stat", cgroup);
	return read_stat(path, name);
}

/* All that can be reclaimed; that it is less than asked for is no error */
void cgroup_reclaim(void)
{
	char path[160];
	int ret;

	snprintf(path, sizeof(path), "%s/memory.reclaim", cgroup);
	ret = try_set(path, "256M");
	CHECK(!ret || ret == -EAGAIN, "memory.reclaim: %s", strerror(-ret));
}

/* The runner */

static void prepare(void)
{
	static int nr;

	snprintf(cgroup, sizeof(cgroup), CGROUP "/tmem%d", nr++);
	SYS(mkdir(cgroup, 0700));
}

/* What the last test left behind, if it failed */
static void clean(void)
{
	const char *const swaps[] = {
		swap_dev(0), swap_dev(1), disk_name(), "/dev/zram0",
	};
	struct dirent *d;
	size_t i;
	DIR *dir;

	/* Its processes are dead, but perhaps not all buried */
	while (rmdir(cgroup) && errno == EBUSY)
		sched_yield();
	inject(0, 0, 0);
	inject_into("failslab", 0, 0);
	inject_into("fail_page_alloc", 0, 0);
	try_set(PARANOID_DISK, "Y");
	try_set(SYSFS "precache", "1");
	try_set(SYSFS "preswap", "1");
	try_set(SYSFS "preswap_shrink", "max");
	try_set(TRACE "events/enable", "0");
	zswap_enable(false);
	set("/proc/sys/vm/page-cluster", "0");

	for (i = 0; i < sizeof(swaps) / sizeof(*swaps); i++)
		if (swapoff(swaps[i]) && errno != EINVAL && errno != ENOENT)
			note("swapoff %s: %s", swaps[i], strerror(errno));

	dir = opendir("/dev/mapper");
	while (dir && (d = readdir(dir)))
		if (!strncmp(d->d_name, "tmem", 4))
			must_run("dmsetup remove --force --retry %s",
				 d->d_name);
	if (dir)
		closedir(dir);
}

static void use_cpus(int nr)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	while (nr--)
		CPU_SET(nr, &set);
	SYS(sched_setaffinity(0, sizeof(set), &set));
}

void use_all_cpus(void)
{
	use_cpus(sysconf(_SC_NPROCESSORS_ONLN));
}

static void child(const struct test *test)
{
	char path[160];

	SYS(setpgid(0, 0));
	alarm(TEST_SECONDS);
	SYS(unshare(CLONE_NEWNS));
	SYS(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
	snprintf(path, sizeof(path), "%s/cgroup.procs", cgroup);
	set(path, "0");
	use_cpus(1);
	mark();
	test->run();
	evidence("all of it");
	exit(0);
}

static int run_test(const struct test *test)
{
	int status;
	pid_t pid;

	prepare();
	fflush(stdout);
	pid = SYS(fork());
	if (!pid)
		child(test);
	SYS(waitpid(pid, &status, 0));
	kill(-pid, SIGKILL);
	while (waitpid(-1, NULL, 0) > 0)
		;
	clean();

	if (WIFSIGNALED(status)) {
		note("FAILED: ended by signal %d%s", WTERMSIG(status),
		     WTERMSIG(status) == SIGALRM ? " (took too long)" : "");
		return 1;
	}
	if (WEXITSTATUS(status))
		return WEXITSTATUS(status);
	/* The rule P3, always: nothing stays behind */
	if (preswap_pages() || persistent()) {
		note("FAILED: left: preswap_pages %ld, persistent_pages %ld",
		     preswap_pages(), persistent());
		return 1;
	}
	return 0;
}

/* The guest that the test is for first of all */
static const char *home(const struct test *test, const char *guest)
{
	return test->in ?: guest;
}

/* "NAME GUEST...", or with @of the names of its tests alone */
static void list(const struct test *tests, int nr, const char *guest,
		 const char *of)
{
	const struct test *t;

	for (t = tests; t < tests + nr; t++)
		if (!of)
			printf("%s %s%s%s\n", t->name, home(t, guest),
			       t->also ? " " : "", t->also ?: "");
		else if (!strcmp(home(t, guest), of) ||
			 (t->also && !strcmp(t->also, of)))
			puts(t->name);
}

static bool wanted(const char *name, int argc, char **argv)
{
	int i;

	for (i = 1; i < argc; i++)
		if (!strcmp(name, argv[i]))
			return true;
	return argc < 2;
}

/* Why no test can run here, or NULL */
static const char *unfit(const char *guest)
{
	if (geteuid())
		return "this needs root";
	if (access(SYSFS "backend", F_OK))
		return "the kernel has no tmem";
	if (!disk_name() || !swap_dev(0) || !swap_dev(1))
		return "$TMEM_DISK, $TMEM_SWAP0 or $TMEM_SWAP1 is not set";
	if (guest && backend_is("none"))
		return "tmem is off";
	return NULL;
}

/* A test that was not named runs with those backends that it has guests for */
static bool fits(const struct test *test, const char *guest)
{
	if (named)
		return true;
	if (backend_is("xen") && test->also && !strcmp(test->also, XEN))
		return true;
	return backend_is("xen") == !strcmp(home(test, guest), XEN);
}

static void start(void)
{
	setenv("DM_DISABLE_UDEV", "1", 1);
	/* So that a test's processes are ended and waited for with it */
	SYS(prctl(PR_SET_CHILD_SUBREAPER, 1));
	/* So that no page of this program belongs to a test's cgroup */
	SYS(mlockall(MCL_CURRENT));
	set(CGROUP "/cgroup.subtree_control", "+memory");
	mark();
	running = true;
	clean();
}

/*
 * Runs all tests that are for a guest such as this, or those that are named;
 * --list prints all of them with their guests, --list=GUEST those of a guest.
 * @guest is the one of tests that say nothing else; NULL: all do, and see for
 * themselves whether this is it.  Returns main()'s value.
 */
int test_main(int argc, char **argv, const char *guest,
	      const struct test *tests, int nr)
{
	int i, ret, failed, n = 0, bad = 0;
	const char *why;
	time_t begun;

	if (argc == 2 && !strncmp(argv[1], "--list", 6)) {
		list(tests, nr, guest, argv[1][6] ? argv[1] + 7 : NULL);
		return 0;
	}
	named = argc > 1;
	for (i = 0; i < nr; i++)
		n += wanted(tests[i].name, argc, argv);
	if (!n)
		return 0;

	setlinebuf(stdout);
	printf("KTAP version 1\n");
	why = unfit(guest);
	if (why) {
		printf("1..0 # SKIP %s\n", why);
		return KSFT_SKIP;
	}
	printf("1..%d\n", n);
	start();
	for (i = n = 0; i < nr; i++) {
		if (!wanted(tests[i].name, argc, argv))
			continue;
		begun = time(NULL);
		ret = fits(&tests[i], guest) ? run_test(&tests[i]) : KSFT_SKIP;
		note("%s: %ld s", tests[i].name, (long)(time(NULL) - begun));
		failed = ret && ret != KSFT_SKIP;
		printf("%sok %d - %s%s\n", failed ? "not " : "", ++n,
		       tests[i].name, ret == KSFT_SKIP ? " # SKIP" : "");
		bad += failed;
	}
	return bad != 0;
}
