// SPDX-License-Identifier: GPL-2.0
/*
 * The kernel command line.  Each of these tests is for a guest that was booted
 * in its own way, and says so if it was not.
 */

#include <elf.h>
#include <linux/falloc.h>
#include <stddef.h>
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
	if (!strstr(line, want))
		skip("needs a boot with '%s'", want);
	if (not && strstr(line, not))
		skip("needs a boot without '%s'", not);
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
	SYS(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 100,
		      200));
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
 * Hooks: where they are in a kernel, and what their code is.  For the kernel
 * that runs that is in /proc/kcore and /proc/kallsyms, for an image in vmlinux
 * and System.map: each time an ELF file, and a list of "ADDRESS TYPE NAME", by
 * address.
 */
struct jump_entry {
	/* Each relative to where it is written itself */
	int32_t code, target;
	int64_t key;		/* its lowest two bits are flags */
};

/* Some functions that have hooks of each client */
static struct place {
	const char *name;
	bool preswap;
	uint64_t start, end;
} places[] = {
	{ .name = "__remove_mapping" },
	{ .name = "shrink_folio_list" },
	{ .name = "swap_writepage", .preswap = true },
};

enum { PRECACHE_KEY, PRESWAP_KEY, TABLE_START, TABLE_STOP, NR_SYMBOLS };

static const char *const symbol_names[NR_SYMBOLS] = {
	"precache_key", "preswap_key",
	"__start___jump_table", "__stop___jump_table",
};

static uint64_t symbols[NR_SYMBOLS];

static void read_symbols(const char *path)
{
	FILE *f = fopen(path, "r");
	uint64_t addr, *end = NULL;
	char type, name[512];
	size_t i;

	CHECK(f, "%s: %s", path, strerror(errno));
	while (fscanf(f, "%lx %c %511s%*[^\n]", &addr, &type, name) == 3) {
		for (i = 0; i < NR_SYMBOLS; i++)
			if (!strcmp(name, symbol_names[i]))
				symbols[i] = addr;
		if (type != 't' && type != 'T')
			continue;
		if (end)
			*end = addr;
		end = NULL;
		for (i = 0; i < ARRAY_SIZE(places); i++)
			if (!strcmp(name, places[i].name)) {
				places[i].start = addr;
				end = &places[i].end;
			}
	}
	fclose(f);
	for (i = 0; i < NR_SYMBOLS; i++)
		if (!symbols[i])
			skip("no %s in %s", symbol_names[i], path);
}

static void read_image(int fd, uint64_t addr, void *buf, size_t len)
{
	Elf64_Phdr segment;
	Elf64_Ehdr elf;
	int i;

	CHECK_OP(SYS(pread(fd, &elf, sizeof(elf), 0)), ==, sizeof(elf));
	for (i = 0; i < elf.e_phnum; i++) {
		CHECK_OP(SYS(pread(fd, &segment, sizeof(segment),
				   elf.e_phoff + i * sizeof(segment))), ==,
			 sizeof(segment));
		if (addr < segment.p_vaddr ||
		    addr - segment.p_vaddr >= segment.p_filesz)
			continue;
		CHECK_OP(SYS(pread(fd, buf, len, segment.p_offset + addr -
				   segment.p_vaddr)), ==, len);
		return;
	}
	fail("the image does not have %lx", addr);
}

/* One instruction of 2 or 5 bytes, which jumps or does nothing */
static bool is_patched(const uint8_t code[5], bool in)
{
	if (in)
		return code[0] == 0xeb || code[0] == 0xe9;
	return !memcmp(code, "\x66\x90", 2) ||
	       !memcmp(code, "\x0f\x1f\x44\x00\x00", 5);
}

static const struct place *place_of(uint64_t addr)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(places); i++)
		if (addr >= places[i].start && addr < places[i].end)
			return &places[i];
	return NULL;
}

/* Are the hooks patched in, or out? */
static void check_hooks(const char *image, const char *list, bool in)
{
	struct jump_entry *table, *entry;
	int fd, precache = 0, preswap = 0;
	const struct place *place;
	uint64_t at, key, len;
	uint8_t code[5];

	read_symbols(list);
	len = symbols[TABLE_STOP] - symbols[TABLE_START];
	table = malloc(len);
	fd = SYS(open(image, O_RDONLY));
	read_image(fd, symbols[TABLE_START], table, len);
	for (entry = table; entry < table + len / sizeof(*table); entry++) {
		at = symbols[TABLE_START] + (entry - table) * sizeof(*table);
		key = at + offsetof(struct jump_entry, key) +
		      (entry->key & ~3L);
		at += entry->code;
		place = place_of(at);
		if (!place || (key != symbols[PRECACHE_KEY] &&
			       key != symbols[PRESWAP_KEY]))
			continue;
		read_image(fd, at, code, sizeof(code));
		note("%s: %lx: %02x %02x %02x %02x %02x", place->name, at,
		     code[0], code[1], code[2], code[3], code[4]);
		CHECK(is_patched(code, in), "this is no %s",
		      in ? "jump" : "nop");
		precache += !place->preswap;
		preswap += place->preswap;
	}
	CHECK(precache && preswap, "%d hooks of precache, %d of preswap",
	      precache, preswap);
	close(fd);
	free(table);
}

static void check_running_hooks(bool in)
{
	check_hooks("/proc/kcore", "/proc/kallsyms", in);
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
	check_running_hooks(false);
}

/* With it the same branches jump */
static void with_option_hooks_are_patched_in(void)
{
	char *p = anon(LEN);

	booted_with(" tmem=ram ", NULL);
	check_backend("ram");
	check_running_hooks(true);
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
static void check_unit_tests(const char *suite)
{
	char line[256];
	bool ok = false;
	FILE *f;

	snprintf(line, sizeof(line), "/sys/kernel/debug/kunit/%s/results",
		 suite);
	f = fopen(line, "r");
	if (!f)
		skip("the kernel has no unit tests %s", suite);
	while (fgets(line, sizeof(line), f)) {
		note("%.*s", (int)strcspn(line, "\n"), line);
		CHECK(!strstr(line, "not ok") && !strstr(line, "SKIP"), "%s",
		      line);
		ok = !strncmp(line, "ok ", 3);
	}
	CHECK(ok, "they did not end");
	fclose(f);
}

static void xen_backend_passes_unit_tests(void)
{
	check_unit_tests("xen_tmem");
}

static void balloon_passes_unit_tests(void)
{
	check_unit_tests("xen_selfballoon");
}

#define BALLOON		"/sys/module/xen_selfballoon/parameters/"

/* Self-ballooning is for guests.  What only shows something takes nothing */
static void dom0_does_not_balloon_itself(void)
{
	static const char *const shown[] = {
		"ceiling_kb", "goal_kb", "trim_kb",
	};
	static const char *const bad[] = { "-1", "text", "999999999999" };
	char path[128], was[16] = "";
	size_t i;
	FILE *f;

	/* It was told to, and to set what cannot be set */
	kmsg_mark_boot();
	CHECK(kmsg_has("xen_selfballoon: not for dom0"), "it does not say so");
	f = fopen(BALLOON "enabled", "r");
	CHECK(f && fgets(was, sizeof(was), f) && was[0] == 'N',
	      "enabled is '%s'", was);
	fclose(f);
	CHECK_OP(try_set(BALLOON "enabled", "1"), ==, -EPERM);
	for (i = 0; i < ARRAY_SIZE(shown); i++) {
		snprintf(path, sizeof(path), BALLOON "%s", shown[i]);
		CHECK_OP(access(path, R_OK), ==, 0);
		CHECK(try_set(path, "1") < 0, "%s was taken", shown[i]);
	}
	for (i = 0; i < ARRAY_SIZE(bad); i++)
		CHECK(try_set(BALLOON "floor_kb", "%s", bad[i]) < 0,
		      "floor_kb '%s' was taken", bad[i]);
	set(BALLOON "floor_kb", "65536");
	CHECK_OP(get_long(BALLOON "floor_kb"), ==, 65536);
}

static const struct test tests[] = {
	TEST(without_option_nothing_happens, .in = "off"),
	TEST(with_option_hooks_are_patched_in, .in = "on"),
	TEST(noprecache_leaves_preswap, .in = "noprecache"),
	TEST(nopreswap_leaves_precache, .in = "nopreswap"),
	TEST(unknown_backend_is_named, .in = "unknown"),
	TEST(too_little_memory_is_refused, .in = "small"),
	TEST(hypervisor_without_tmem_is_no_backend, .in = "xen_off",
	     .also = "xen_stock"),
	TEST(xen_backend_passes_unit_tests, .in = "xen_unit"),
	TEST(balloon_passes_unit_tests, .in = "xen_unit"),
	TEST(dom0_does_not_balloon_itself, .in = XEN),
};

/* --image VMLINUX SYSTEM.MAP: are the hooks patched out there? */
int main(int argc, char **argv)
{
	if (argc == 4 && !strcmp(argv[1], "--image")) {
		check_hooks(argv[2], argv[3], false);
		return 0;
	}
	return test_main(argc, argv, NULL, tests, ARRAY_SIZE(tests));
}
