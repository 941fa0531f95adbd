// SPDX-License-Identifier: GPL-2.0
/*
 * Hostile calls: frames and pointers that are not the domain's
 */
#include "abi_test.h"

/* Frames that this domain must not name.  Return: how many */
int bad_frames(uint64_t *bad)
{
	static xen_pfn_t gone;	/* was ours, and is Xen's again */
	uint64_t list[] = {
		0, ~0ULL, ~0ULL >> 12, 1ULL << 63, 1ULL << 40, 1ULL << 52,
		max_mfn() + 1, max_mfn() + 2, 0xb8 /* VGA */, 0xf0 /* BIOS */,
		0xfee00 /* APIC */, 0xfec00 };

	CHECK_OP(take_memory(&gone, 1), ==, 1);
	give_memory(&gone, 1);
	memcpy(bad, list, sizeof(list));
	bad[ARRAY_SIZE(list)] = gone;
	return ARRAY_SIZE(list) + 1;
}

/* T5, and a refused put has dropped what was there (T18) */
static void bad_frames_are_refused(void)
{
	uint64_t bad[MAX_BAD];
	int i, kind, hit, nr = bad_frames(bad);
	long ret;

	for (kind = 0; kind < 2; kind++) {
		int pool = new_pool(EPHEMERAL | kind);

		for (i = 0; i < nr; i++) {
			CHECK(op_with(PUT, pool, 1, i, bad[i]) == -EFAULT,
			      "put: frame %#lx is accepted", bad[i]);
			MUST_MISS(pool, 1, i);
			/*
			 * A miss does not need the frame.  After a hit, Xen
			 * expects another one.
			 */
			for (hit = 0; hit < 2; hit++) {
				if (hit) {
					MUST_PUT(pool, 2, i, 1);
					MUST_GET(pool, 2, i, 1);
				}
				ret = op_with(GET, pool, 1, i, bad[i]);
				CHECK(ret == 0 || ret == -EEMPTY,
				      "get of nothing: %ld", ret);
			}
			MUST_PUT(pool, 1, i, 1);
			CHECK(op_with(GET, pool, 1, i, bad[i]) == -EFAULT,
			      "get: frame %#lx is accepted", bad[i]);
			CHECK_OP(op_with(PUT, pool, 1, i, bad[i]), ==,
				 -EFAULT);
			MUST_MISS(pool, 1, i);
			/* Other commands ignore the frame */
			MUST_PUT(pool, 1, i, 1);
			CHECK_OP(op_with(FLUSH_PAGE, pool, 1, i, bad[i]),
				 ==, 1);
			MUST_MISS(pool, 1, i);
		}
		CHECK_OP(destroy(pool), ==, 1);
	}
}

/* T10 */
static void bad_frame_on_get_leaves_no_half_removed_page(void)
{
	struct xen_sysctl_tmem_stats s;
	int i, round, kind, pool;

	for (round = 0; round < 4; round++) {
		for (kind = 0; kind < 2; kind++) {
			pool = new_pool(EPHEMERAL | kind);
			for (i = 0; i < 64; i++) {
				MUST_PUT(pool, i / 2, i, i + 1);
				CHECK_OP(op_with(GET, pool, i / 2, i,
						 ~0ULL >> 12), ==, -EFAULT);
			}
			s = stats();
			CHECK_OP(kind ? s.pers_pages : s.eph_pages, ==, 64);
			switch (round) {
			case 0:		/* a clean hit */
				for (i = 0; i < 64; i++)
					MUST_GET(pool, i / 2, i, i + 1);
				break;
			case 1:
				for (i = 0; i < 32; i++)
					CHECK_OP(flush_object(pool, i), ==, 1);
				break;
			case 2:
				while (stats().eph_pages)
					flush_kib(1 << 10);
				break;
			}
			CHECK_OP(destroy(pool), ==, 1);
			s = stats();
			CHECK_OP(s.eph_pages + s.pers_pages, ==, 0);
		}
	}
}

void use_object(void *arg)
{
	int pool = *(int *)arg;
	struct tmem_raw_op op = gen(PUT, pool, 1, 1);

	op.cmfn = frame[2];
	fill(2, 2);
	CHECK_OP(hyper(op), ==, 1);
	op.cmd = GET;
	CHECK_OP(hyper(op), ==, 1);
	CHECK(holds(2, 2), "wrong contents");
	CHECK_OP(hyper(gen(FLUSH_PAGE, pool, 1, 1)), ==, 1);
	CHECK_OP(hyper(gen(FLUSH_OBJECT, pool, 1, 1)), ==, 1);
}

/* T7: what failed on this vCPU must not block another one */
static void bad_frame_does_not_keep_a_lock(void)
{
	int i, pool = new_pool(EPHEMERAL);

	for (i = 0; i < 100; i++) {
		struct worker w;

		MUST_PUT(pool, 1, 1, 1);
		CHECK_OP(op_with(i & 1 ? GET : PUT, pool, 1, 1, ~0ULL >> 12),
			 ==, -EFAULT);
		w = start(1, use_object, &pool);
		finish(&w);
	}
}

/*
 * Xen has checked the page tables of a PV guest, so a get must not write to
 * them.  (It does not check those of an HVM guest, which this test would
 * crash.)
 */
static void get_into_page_table_is_refused(void)
{
	int i, kind, pool;
	uint64_t pgd = 0;
	struct worker w;

	SYS(ioctl(raw, TMEM_RAW_PGD, &pgd));
	for (kind = 0; kind < 2; kind++) {
		pool = new_pool(EPHEMERAL | kind);
		for (i = 0; i < 100; i++) {
			MUST_PUT(pool, 1, i, 0);
			CHECK_OP(op_with(GET, pool, 1, i, pgd), ==, -EFAULT);
			MUST_GET(pool, 1, i, 0);
		}
		/* No lock is kept, either */
		w = start(1, use_object, &pool);
		finish(&w);
		CHECK_OP(destroy(pool), ==, 1);
	}
}

/* A frame of the hypervisor, or of another domain, cannot be read by a put */
static void put_reads_only_own_frames(void)
{
	uint64_t mfn, end = max_mfn() + 64;
	long ours = 0, own = tot_pages();
	int pool = new_pool(EPHEMERAL);

	for (mfn = 0; mfn < end; mfn++) {
		long ret = op_with(PUT, pool, 1, 1, mfn);

		CHECK(ret == 1 || ret == -EFAULT, "%ld for frame %#lx", ret,
		      mfn);
		ours += ret == 1;
	}
	note("%ld of %ld frames could be read, the domain has %ld", ours,
	     (long)end, own);
	CHECK_OP(ours, >=, own);
	/* The few that Xen shares with a domain on purpose */
	CHECK_OP(ours, <=, own + 64);
	CHECK_OP(flush_page(pool, 1, 1), ==, 1);
}

/* An operation gives up its reference to the frame, however it ends */
static void frames_are_let_go(void)
{
	enum { NR = 64 };
	static xen_pfn_t mfns[NR];
	int i, kind, pool[2] = { new_pool(EPHEMERAL), new_pool(PERSISTENT) };
	long tot = tot_pages(), nr, ret;

	nr = settled_free_pages();
	CHECK_OP(take_memory(mfns, NR), ==, NR);
	for (i = 0; i < NR; i++) {
		for (kind = 0; kind < 2; kind++) {
			ret = op_with(GET, pool[kind], 1, i + 1, mfns[i]);
			CHECK(ret == 0 || ret == -EEMPTY, "a miss: %ld", ret);
			set_client(XEN_SYSCTL_TMEM_SET_CAP, i % 2 ? 0 : ~0ULL);
			CHECK_OP(op_with(PUT, pool[kind], 1, i + 1, mfns[i]),
				 ==, i % 2 ? -ENOMEM : 1);
			ret = op_with(GET, pool[kind], 1, i + 1, mfns[i]);
			CHECK_OP(ret == 1, ==, i % 2 == 0);
			flush_page(pool[kind], 1, i + 1);
		}
	}
	give_memory(mfns, NR);
	CHECK_OP(tot_pages(), ==, tot);
	CHECK_OP(settled_free_pages(), ==, nr);
}

void *const bad_pointers[BAD_POINTERS] = {
	NULL, (void *)1, (void *)0xfff, (void *)0x00007ffffffff000,
	(void *)0x0000800000000000,		/* not canonical */
	(void *)0x8000000000000000,
	(void *)0xffff7ffffffffff8,
	(void *)0xffff800000000000,		/* Xen's: machine to phys */
	(void *)0xffff82d040000000,		/* Xen's: its code */
	(void *)0xffff830000000000,		/* Xen's: all memory */
	(void *)0xffff87fffffffff8,
	(void *)0xffffffffffffe000,
	(void *)0xfffffffffffffff8, (void *)-1L,
};

void call_bad_pointers(void *arg)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(bad_pointers); i++) {
		struct tmem_raw_call c = { .at = (uintptr_t)bad_pointers[i],
					   .use_at = 1, .nr = *(int *)arg };

		CHECK(calls(&c) == -EFAULT, "%ld for an op at %p", (long)c.ret,
		      bad_pointers[i]);
	}
}

/* T8 */
static void bad_op_pointer_is_refused(void)
{
	int i, nr = 10000, pool = new_pool(EPHEMERAL);
	struct worker w[2];

	for (i = 0; i < 2; i++)
		w[i] = start(i, call_bad_pointers, &nr);
	for (i = 0; i < 2; i++)
		finish(&w[i]);
	MUST_PUT(pool, 1, 1, 1);
	MUST_GET(pool, 1, 1, 1);
}

/* T5, T9: no mapping and no reference leaks, and the log is not flooded */
static void million_failing_calls_are_silent(void)
{
	int pool = new_pool(EPHEMERAL);
	struct tmem_raw_call c[] = {
		{ .op = gen(PUT, pool, 1, 1), .nr = 300000 },
		{ .op = gen(GET, pool, 1, 1), .nr = 300000 },
		{ .op = gen(GET, pool + 1, 1, 1), .nr = 200000 },
		{ .op = gen(XCHG, pool, 1, 1), .nr = 100000 },
		{ .op = { .cmd = NEW_POOL, .flags = ~0u }, .nr = 50000 },
		{ .op = { .cmd = NEW_POOL, .flags = SHARED | PERSISTENT },
		  .nr = 50000 },
	};
	uint32_t before = console_bytes(), after;
	long i, free_before = free_pages();

	c[0].op.cmfn = c[1].op.cmfn = 0xf0;
	for (i = 0; i < ARRAY_SIZE(c); i++) {
		CHECK_OP(calls(&c[i]), <, 0);
		CHECK_OP(c[i].ones, ==, 0);
	}
	/* Xen logs these requests for a shared pool, but only now and then */
	for (i = 0; i < 10000; i++)
		CHECK_OP(destroy(try_pool(SHARED, i, i)), ==, 1);
	after = console_bytes();
	note("%u bytes in the log of the hypervisor", after - before);
	CHECK_OP(after - before, <, 8192);
	MUST_PUT(pool, 1, 1, 1);
	MUST_GET(pool, 1, 1, 1);
	CHECK_OP(labs(free_pages() - free_before), <, 64);
}

TESTS = {
	TEST(ON, bad_frames_are_refused),
	TEST(ON, bad_frame_on_get_leaves_no_half_removed_page),
	TEST(ON | PV | HVM, bad_frame_does_not_keep_a_lock),
	TEST(ON | PV, get_into_page_table_is_refused),
	TEST(ON, put_reads_only_own_frames),
	TEST(ON, frames_are_let_go),
	TEST(ON | PV | HVM, bad_op_pointer_is_refused),
	TEST(ON, million_failing_calls_are_silent),
};
