// SPDX-License-Identifier: GPL-2.0
/*
 * What dom0 sets for a client: caps, compression, freezing; and controls that
 * make no sense or come from a guest
 */
#include "abi_test.h"

static void cap_is_never_exceeded(void)
{
	const uint64_t cap = 4096;	/* KiB */
	int i, eph = new_pool(EPHEMERAL), pers = new_pool(PERSISTENT);

	set_client(XEN_SYSCTL_TMEM_SET_CAP, cap);
	fill(0, 1);
	for (i = 0; i < 40; i++) {
		CHECK_OP(hyper_many(gen(PUT, eph, 1, 100 * i), 100), ==, 100);
		CHECK_OP(stats().used_bytes, <=, cap << 10);
	}
	CHECK_OP(stats().evicted, >, 0);
	/* Persistent pages push ephemeral ones out, and then are refused */
	CHECK_OP(hyper_many(gen(PUT, pers, 1, 0), 2000), <, cap / 4);
	CHECK_OP(stats().used_bytes, <=, cap << 10);
	CHECK_OP(stats().pers_pages, >, cap / 4 * 8 / 10);
	CHECK_OP(put(pers, 1, 5000, 1), ==, -ENOMEM);
	set_client(XEN_SYSCTL_TMEM_SET_CAP, ~0ULL);
	MUST_PUT(pers, 1, 5000, 1);
}

/*
 * Metadata that is left in a page keeps the whole page from being freed, and
 * the client is charged for all of it: what the heap has lost stays below the
 * cap, not only what the counters say.
 */
static void cap_holds_for_what_the_heap_has_lost(void)
{
	const long cap = 4096, nr = 48000;
	int pool = new_pool(PERSISTENT);
	long i, err, before = settled_free_pages(), lost, told;

	set_client(XEN_SYSCTL_TMEM_SET_CAP, cap);
	fill(0, 0);
	CHECK_OP(hyper_many(gen(PUT, pool, 1, 0), nr), ==, nr);
	for (i = 0; i < nr; i += 64)
		CHECK_OP(hyper_many(gen(FLUSH_PAGE, pool, 1, i + 1), 63),
			 ==, 63);
	fill(0, 1);
	fill_up(pool, 2, &err);
	CHECK_OP(err, ==, -ENOMEM);
	lost = before - settled_free_pages();
	told = stats().pers_bytes / PAGE;
	note("%ld pages are gone from the heap, %ld are counted", lost, told);
	CHECK_OP(lost, <=, cap / 4);
	CHECK_OP(labs(lost - told), <, 16);
	CHECK_OP(flush_object(pool, 1), ==, 1);
	CHECK_OP(flush_object(pool, 2), ==, 1);
	CHECK_OP(stats().pers_bytes, ==, 0);
}

static void compressed_pages_come_back_whole(void)
{
	int kind, i, j, pool;

	set_client(XEN_SYSCTL_TMEM_SET_COMPRESS, true);
	for (kind = 0; kind < 2; kind++) {
		pool = new_pool(EPHEMERAL | kind);
		/* From all of one byte to random */
		for (i = 0; i < 64; i++) {
			fill(0, 1 + i);
			memset(page[0], i, i * PAGE / 64);
			CHECK_OP(hyper(gen(PUT, pool, 1, i)), ==, 1);
		}
		CHECK_OP(stats().lz4_pages, >, 32);
		CHECK_OP(stats().raw_pages, >, 8);
		set_client(XEN_SYSCTL_TMEM_SET_COMPRESS, !kind);
		for (i = 0; i < 64; i++) {
			CHECK_OP(get(pool, 1, i), ==, 1);
			fill(1, 1 + i);
			memset(page[1], i, i * PAGE / 64);
			for (j = 0; j < (int)WORDS; j++)
				CHECK(page[0][j] == page[1][j],
				      "page %d, word %d", i, j);
		}
		CHECK_OP(destroy(pool), ==, 1);
	}
}

static void compress_and_flush(void *arg)
{
	uint64_t used = stats().used_bytes;
	int i, me = (uintptr_t)arg;

	for (i = 0; i < 4000; i++) {
		meet();
		CHECK_OP(op_with(PUT, 0, me, 1, frame[2]), ==, 1);
		if (i & 1)
			meet();
		CHECK_OP(flush_page(0, me, 1), ==, 1);
		meet();
		if (!me)
			CHECK_OP(stats().used_bytes, ==, used);
	}
}

/*
 * Slots for compressed pages are taken from the heap several frames at a time.
 * Here two vCPUs find no free slot at once; and one finds none while the other
 * one gives a slot back.
 */
static void slots_of_two_vcpus_leave_nothing(void)
{
	uint64_t used = stats().used_bytes, now;
	uint32_t nr = 0, room;
	struct worker w[2];
	uintptr_t i;

	set_client(XEN_SYSCTL_TMEM_SET_COMPRESS, true);
	CHECK_OP(new_pool(EPHEMERAL), ==, 0);
	fill(2, 1);
	memset(page[2], 'x', PAGE / 2);
	for (now = used; nr < 2 || now - used < 4 * PAGE; nr++) {
		used = now;
		CHECK_OP(op_with(PUT, 0, 2, nr, frame[2]), ==, 1);
		now = stats().used_bytes;
	}
	CHECK_OP(stats().lz4_pages, ==, nr);
	for (room = 0; room < 2; room++) {
		CHECK_OP(flush_page(0, 2, --nr), ==, 1);
		note("%u slots are used, %u free", nr, room);
		ready = 0;
		for (i = 0; i < 2; i++)
			w[i] = start(i, compress_and_flush, (void *)i);
		for (i = 0; i < 2; i++)
			finish(&w[i]);
	}
}

static void frozen_client_takes_no_new_pages(void)
{
	int kind, pool;

	for (kind = 0; kind < 2; kind++) {
		pool = new_pool(EPHEMERAL | kind);
		MUST_PUT(pool, 1, 1, 1);
		MUST_PUT(pool, 1, 2, 2);
		MUST_PUT(pool, 2, 1, 3);
		CHECK_OP(control_cmd(XEN_SYSCTL_TMEM_OP_FREEZE, kind ? 0 :
				     XEN_SYSCTL_TMEM_ALL), ==, 0);
		CHECK_OP(put(pool, 1, 3, 1), ==, -EFROZEN);
		MUST_MISS(pool, 1, 3);
		MUST_GET(pool, 1, 1, 1);
		/* Flushes work, though their return value is an error */
		CHECK_OP(flush_page(pool, 1, 1), ==, -EFROZEN);
		MUST_MISS(pool, 1, 1);
		CHECK_OP(flush_object(pool, 2), ==, -EFROZEN);
		MUST_MISS(pool, 2, 1);
		/* A page that is there is replaced */
		MUST_PUT(pool, 1, 2, 4);
		MUST_GET(pool, 1, 2, 4);
		CHECK_OP(destroy(new_pool(EPHEMERAL)), ==, 1);
		CHECK_OP(control_cmd(XEN_SYSCTL_TMEM_OP_THAW, 0), ==, 0);
		MUST_PUT(pool, 1, 3, 1);
		CHECK_OP(flush_page(pool, 1, 3), ==, 1);
		CHECK_OP(destroy(pool), ==, 1);
	}
}

/* T3 */
static void control_of_no_client_is_refused(void)
{
	static const int domids[] = { 1, 100, 0x7ff0, 0x7ff1, 0x7ff2, 0x7ff3,
				      0x7ff4, 0x7ffe, 0x7fff, 0x8000, 0xfffe };
	struct xen_sysctl_tmem_stats before = stats(), after;
	struct xen_sysctl_tmem_op op;
	uint32_t cmd;
	int i;

	for (i = 0; i < ARRAY_SIZE(domids); i++) {
		for (cmd = 0; cmd < 64; cmd++) {
			long want = -EOPNOTSUPP;

			op = (struct xen_sysctl_tmem_op){ .cmd = cmd,
							  .domid = domids[i] };
			set_xen_guest_handle(op.stats, stats_buf());
			switch (cmd) {
			case XEN_SYSCTL_TMEM_OP_THAW:
			case XEN_SYSCTL_TMEM_OP_FREEZE:
			case XEN_SYSCTL_TMEM_OP_GET:
			case XEN_SYSCTL_TMEM_OP_SET:
			case XEN_SYSCTL_TMEM_OP_SET_AUTH:
			case XEN_SYSCTL_TMEM_OP_GET_AUTH:
				want = -ESRCH;
				break;
			case XEN_SYSCTL_TMEM_OP_FLUSH:	/* of all domains */
			case XEN_SYSCTL_TMEM_OP_QUERY_FREEABLE:
				want = 0;
			}
			CHECK(control(&op) == want, "command %u, domain %#x",
			      cmd, domids[i]);
			op.mask = XEN_SYSCTL_TMEM_SET_CAP;
			if (cmd != XEN_SYSCTL_TMEM_OP_SET)
				CHECK_OP(control(&op), ==, -EINVAL);
		}
		op = (struct xen_sysctl_tmem_op){
			.cmd = XEN_SYSCTL_TMEM_OP_SET, .domid = domids[i],
			.mask = 0xf, .weight = 7, .cap = 7, .min = 7 };
		CHECK_OP(control(&op), ==, -ESRCH);
	}
	/* SET of what does not exist, or makes no sense */
	for (i = 4; i < 32; i++) {
		op = (struct xen_sysctl_tmem_op){
			.cmd = XEN_SYSCTL_TMEM_OP_SET, .mask = 1u << i };
		CHECK_OP(control(&op), ==, -EINVAL);
		op = (struct xen_sysctl_tmem_op){
			.cmd = XEN_SYSCTL_TMEM_OP_SET, .flags = 1u << i };
		CHECK_OP(control(&op), ==, -EINVAL);
	}
	op = (struct xen_sysctl_tmem_op){
		.cmd = XEN_SYSCTL_TMEM_OP_SET,
		.mask = XEN_SYSCTL_TMEM_SET_WEIGHT };
	CHECK_OP(control(&op), ==, -ERANGE);
	after = stats();
	CHECK(!memcmp(&before, &after, sizeof(before)),
	      "something has changed");
}

/* T4, T27 */
static void control_buffers_are_checked(void)
{
	struct xen_sysctl_tmem_op op;
	char *end = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	void *ro = mmap(NULL, PAGE, PROT_READ,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	int i;

	CHECK(end != MAP_FAILED && ro != MAP_FAILED, "no memory");
	end += PAGE;
	SYS(munmap(end, PAGE));
	for (i = 0; i < ARRAY_SIZE(bad_pointers) + 2; i++) {
		void *p = i < ARRAY_SIZE(bad_pointers) ? bad_pointers[i] :
			  i == ARRAY_SIZE(bad_pointers) ? ro :
			  end - sizeof(struct xen_sysctl_tmem_stats) + 8;

		op = (struct xen_sysctl_tmem_op){
			.cmd = XEN_SYSCTL_TMEM_OP_GET };
		set_xen_guest_handle(op.stats, p);
		CHECK(control(&op) == -EFAULT, "a buffer at %p is accepted",
		      p);
	}
	op = (struct xen_sysctl_tmem_op){ .cmd = XEN_SYSCTL_TMEM_OP_GET };
	set_xen_guest_handle(op.stats, (struct xen_sysctl_tmem_stats *)
		(end - sizeof(struct xen_sysctl_tmem_stats)));
	CHECK_OP(control(&op), ==, 0);
}

/* T1 */
static void control_from_guest_is_refused(void)
{
	uint32_t cmd;

	for (cmd = 0; cmd < 64; cmd++) {
		CHECK_OP(control_cmd(cmd, 0), ==, -EPERM);
		CHECK_OP(control_cmd(cmd, XEN_SYSCTL_TMEM_ALL), ==, -EPERM);
	}
}

TESTS = {
	TEST(ON, cap_is_never_exceeded),
	TEST(ON, cap_holds_for_what_the_heap_has_lost),
	TEST(ON, compressed_pages_come_back_whole),
	TEST(ON, slots_of_two_vcpus_leave_nothing),
	TEST(ON, frozen_client_takes_no_new_pages),
	TEST(ON, control_of_no_client_is_refused),
	TEST(ON, control_buffers_are_checked),
	TEST(PV | HVM, control_from_guest_is_refused),
};
