// SPDX-License-Identifier: GPL-2.0
/*
 * The kernel command line.  Each of these tests is for a guest that was booted
 * in its own way, and says so if it was not.
 */

#include <linux/falloc.h>
#include <sys/mman.h>
#include <sys/mount.h>

#include "tmem_test.h"

#define LEN		(64 * PAGE)

static void booted_with(const char *want, const char *not)
{
	char line[4096] = " ";
	FILE *f = fopen("/proc/cmdline", "r");

	CHECK(f && fgets(line + 1, sizeof(line) - 2, f), "no /proc/cmdline");
	fclose(f);
	*strchrnul(line, '\n') = ' ';
	CHECK(strstr(line, want), "needs a boot with '%s'", want);
	CHECK(!not || !strstr(line, not), "needs a boot without '%s'", not);
}

static void check_backend(const char *want)
{
	CHECK(backend_is(want), "backend is not '%s'", want);
}

/* Since boot, no counter whose name begins with @prefix has counted anything */
static void check_zero(const char *prefix)
{
	enum counter c;
	int nr = 0;

	for (c = 0; c < NR_TMEM_COUNTERS; c++) {
		if (strncmp(counter_name(c), prefix, strlen(prefix)))
			continue;
		CHECK(!counter(c), "%s is %ld", counter_name(c), counter(c));
		nr++;
	}
	CHECK(nr, "there is no counter %s*", prefix);
	note("%d counters, %s*: all 0", nr, prefix);
}

/* Something of all that the hooks are in */
static void work(void)
{
	const char *dir = fs_new(0);
	int fd = file_new(dir, "file", OLD, LEN), mem, i;
	char *p = anon(LEN);

	for (i = 0; i < 3; i++) {
		file_cache(fd);
		evict(fd);
	}
	file_write_direct(fd, NEW, 0, PAGE);
	file_verify(fd, NEW, 0, PAGE);
	file_verify(fd, OLD, PAGE, LEN - PAGE);
	evict(fd);
	SYS(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 100, 200));
	file_verify(fd, 0, 100, 200);
	SYS(fsync(fd));
	evict(fd);
	file_verify(fd, OLD, PAGE, LEN - PAGE);
	SYS(ftruncate(fd, LEN / 2));
	set("/proc/sys/vm/drop_caches", DROP_PAGES);
	close(fd);
	SYS(mount(NULL, dir, NULL, MS_REMOUNT | MS_RDONLY, NULL));
	fs_umount(0);

	swap_on(swap_dev(0));
	mem = SYS(memfd_create("file", 0));
	file_write(mem, OLD, 0, LEN);
	evict(mem);
	fill(p, LEN, OLD, 0);
	swap_out(p, LEN);
	verify(p, LEN, OLD, 0, "memory");
	file_verify(mem, OLD, 0, LEN);
	fill(p, LEN, NEW, 0);
	swap_out(p, LEN);
	CHECK_OP(swap_off(swap_dev(0)), ==, 0);
	verify(p, LEN, NEW, 0, "memory");
	file_verify(mem, OLD, 0, LEN);
	SYS(munmap(p, LEN));
	close(mem);
}

/*
 * The code of a hook, from /proc/kcore: scripts/test-guest says where it is
 * in this kernel, which is not relocated.
 */
static void read_hook(const char *where, uint8_t code[5])
{
	uint64_t addr = strtoull(where, NULL, 16);
	int fd = SYS(open("/proc/kcore", O_RDONLY));
	struct {	/* of an ELF file, whose header says where */
		uint32_t type, flags;
		uint64_t offset, vaddr, paddr, filesz, memsz, align;
	} segment;
	uint64_t at;
	uint16_t nr;

	CHECK_OP(SYS(pread(fd, &at, sizeof(at), 32)), ==, sizeof(at));
	CHECK_OP(SYS(pread(fd, &nr, sizeof(nr), 56)), ==, sizeof(nr));
	for (; nr; nr--, at += sizeof(segment)) {
		CHECK_OP(SYS(pread(fd, &segment, sizeof(segment), at)), ==,
			 sizeof(segment));
		if (addr < segment.vaddr || addr - segment.vaddr >= segment.memsz)
			continue;
		at = segment.offset + addr - segment.vaddr;
		CHECK_OP(SYS(pread(fd, code, 5, at)), ==, 5);
		close(fd);
		note("the hook at %s: %02x %02x %02x %02x %02x", where,
		     code[0], code[1], code[2], code[3], code[4]);
		return;
	}
	fail("%s is not in /proc/kcore", where);
}

/* Are the hooks patched in, or out? */
static void check_hooks(bool in)
{
	char *hooks = getenv("TMEM_HOOKS") ?: "", *hook;
	uint8_t code[5];
	int n = 0;

	for (hook = strtok(hooks, " "); hook; hook = strtok(NULL, " "), n++) {
		read_hook(hook, code);
		if (in)
			CHECK(code[0] == 0xeb || code[0] == 0xe9,
			      "this is no jump");
		else
			CHECK(!memcmp(code, "\x66\x90", 2) ||
			      !memcmp(code, "\x0f\x1f\x44\x00\x00", 5),
			      "this is no nop");
	}
	CHECK(n, "$TMEM_HOOKS does not say where the hooks are");
}

/* Without `tmem` there is nothing but branches that are patched out */
static void without_option_nothing_happens(void)
{
	booted_with(" ", " tmem");
	work();
	check_backend("none");
	check_zero("");
	CHECK_OP(meminfo_bytes("Preswap"), ==, 0);
	CHECK_OP(preswap_pages(), ==, 0);
	CHECK_OP(since(PSWPOUT), >, 0);
	check_hooks(false);
}

/* With it the same branches jump */
static void with_option_hooks_are_patched_in(void)
{
	char *p = anon(LEN);

	booted_with(" tmem=ram ", NULL);
	check_backend("ram");
	check_hooks(true);
	work();
	CHECK_OP(since(PRECACHE_GET), >, 0);
	CHECK_OP(since(PSWPOUT), ==, 0);

	swap_on(swap_dev(0));
	fill(p, LEN, OLD, 0);
	swap_out(p, LEN);
	CHECK_OP(preswap_pages(), >=, LEN / PAGE);
	CHECK_OP(meminfo_bytes("Preswap"), ==, preswap_pages() * PAGE);
	SYS(munmap(p, LEN));
}

static void noprecache_leaves_preswap(void)
{
	booted_with(" noprecache ", NULL);
	work();
	check_backend("ram");
	check_zero("precache_");
	CHECK_OP(since(PRESWAP_PUT), >=, 2 * LEN / PAGE);
	CHECK_OP(since(PSWPOUT), ==, 0);
}

static void nopreswap_leaves_precache(void)
{
	booted_with(" nopreswap ", NULL);
	work();
	check_backend("ram");
	check_zero("preswap_");
	CHECK_OP(since(PRECACHE_PUT), >=, 3 * LEN / PAGE);
	CHECK_OP(since(PRECACHE_GET), >, 0);
	CHECK_OP(since(PSWPOUT), >, 0);
}

static void unknown_backend_is_named(void)
{
	booted_with(" tmem=bogus ", NULL);
	kmsg_mark_boot();
	CHECK(kmsg_has("'tmem=bogus'"), "the log does not name it");
	CHECK(kmsg_has("'tmem=ram'") && kmsg_has("'tmem=xen'"),
	      "the log does not name the valid values");
	work();
	check_backend("none");
	check_zero("");
}

static void hypervisor_without_tmem_is_no_backend(void)
{
	booted_with(" tmem=xen ", NULL);
	kmsg_mark_boot();
	CHECK(kmsg_has("Xen version"), "there is no hypervisor");
	CHECK(!kmsg_has("tmem: xen"), "somebody talks about it");
	work();
	check_backend("none");
	check_zero("");
}

static void too_little_memory_is_refused(void)
{
	booted_with(" tmem_ram.max_percent=1 ", NULL);
	kmsg_mark_boot();
	CHECK(kmsg_has("are needed"),
	      "nothing in the log");
	work();
	check_backend("none");
	check_zero("");
}

/* Of the kernel's own tests; they ran when it was booted */
static void xen_backend_passes_unit_tests(void)
{
	FILE *f = fopen("/sys/kernel/debug/kunit/xen_tmem/results", "r");
	char line[256] = "";
	bool ok = false;

	CHECK(f, "the kernel has no unit tests of Xen's backend");
	while (fgets(line, sizeof(line), f)) {
		note("%.*s", (int)strcspn(line, "\n"), line);
		CHECK(!strstr(line, "not ok") && !strstr(line, "SKIP"), "%s",
		      line);
		ok = !strncmp(line, "ok ", 3);
	}
	CHECK(ok, "they did not end");
	fclose(f);
}

static const struct test tests[] = {
	{ "without_option_nothing_happens", without_option_nothing_happens },
	{ "with_option_hooks_are_patched_in", with_option_hooks_are_patched_in },
	{ "noprecache_leaves_preswap", noprecache_leaves_preswap },
	{ "nopreswap_leaves_precache", nopreswap_leaves_precache },
	{ "unknown_backend_is_named", unknown_backend_is_named },
	{ "too_little_memory_is_refused", too_little_memory_is_refused },
	{ "hypervisor_without_tmem_is_no_backend",
	  hypervisor_without_tmem_is_no_backend },
	{ "xen_backend_passes_unit_tests", xen_backend_passes_unit_tests },
};

int main(int argc, char **argv)
{
	return test_main(argc, argv, tests, sizeof(tests) / sizeof(*tests));
}
