// SPDX-License-Identifier: GPL-2.0
/*
 * Persistent pages: they count against max_pages, and never stay behind
 */
#include "abi_test.h"

/* Put pages until one is refused.  Return: how many Xen took */
long fill_up(int pool, uint64_t obj, long *err)
{
	struct tmem_raw_op op = gen(PUT, pool, obj, 0);
	long nr = 0, n;

	do {
		op.index = nr;
		n = hyper_many(op, 64);
		nr += n;
	} while (n == 64);
	op.index = nr;
	*err = hyper(op);
	return nr;
}

static void persistent_pages_stay_below_max_pages(void)
{
	long nr, err, room = max_pages() - tot_pages();
	int pool = new_pool(PERSISTENT), eph = new_pool(EPHEMERAL);
	struct xen_sysctl_tmem_stats s;
	static xen_pfn_t mfn;

	CHECK(room > 1000 && room < MANY, "no good max_pages: %ld above %ld",
	      room, tot_pages());
	fill(0, 1);
	nr = fill_up(pool, 1, &err);
	CHECK_OP(err, ==, -ENOMEM);
	s = stats();
	note("%ld pages in a room of %ld; %ld bytes with metadata", nr, room,
	     (long)s.pers_bytes);
	CHECK_OP(s.pers_pages, ==, nr);
	CHECK_OP((s.pers_bytes + PAGE - 1) / PAGE, <=, room);
	/* At most 2 %, and one step of the metadata, is lost */
	CHECK_OP(nr, >=, room * 98 / 100 - 16);

	/* The sum counts: the domain gets no own memory, either (T11) */
	CHECK_OP(take_memory(&mfn, 1), ==, 0);
	CHECK_OP(tot_pages(), ==, max_pages() - room);
	MUST_PUT(eph, 1, 1, 2);
	MUST_GET(eph, 1, 1, 2);
	MUST_GET(pool, 1, nr - 1, 1);
	CHECK_OP(flush_object(pool, 1), ==, 1);
	CHECK_OP(take_memory(&mfn, 1), ==, 1);
	give_memory(&mfn, 1);
	CHECK_OP(stats().pers_bytes, ==, 0);
}

/* Also for a put that takes no more memory */
static void lowered_max_pages_counts_for_every_put(void)
{
	long max = max_pages(), ret[3];
	int i, pool = new_pool(PERSISTENT);

	for (i = 0; i < 100; i++)
		MUST_PUT(pool, 1, i, 1);
	set_max_pages(tot_pages() + 50);
	for (i = 0; i < 3; i++)
		ret[i] = put(pool, 1, i, 2);
	set_max_pages(max);
	for (i = 0; i < 3; i++) {
		CHECK_OP(ret[i], ==, -ENOMEM);
		MUST_MISS(pool, 1, i);
	}
	MUST_GET(pool, 1, 3, 1);
	MUST_PUT(pool, 1, 3, 2);
}

/* T18 */
static void failed_duplicate_put_leaves_nothing(void)
{
	int i, failed = 0, pool = new_pool(PERSISTENT);
	long err;

	/* They take no frame, and no page that takes one finds room */
	for (i = 0; i < 3; i++)
		MUST_PUT(pool, 2, i, 0);
	fill(0, 1);
	fill_up(pool, 1, &err);
	for (i = 0; i < 3; i++) {
		if (put(pool, 2, i, 3) == 1)
			continue;	/* less than a page of room was left */
		failed++;
		MUST_MISS(pool, 2, i);
	}
	CHECK_OP(failed, >=, 2);

	/* The same, because of the cap */
	CHECK_OP(flush_object(pool, 1), ==, 1);
	MUST_PUT(pool, 2, 1, 3);
	set_client(XEN_SYSCTL_TMEM_SET_CAP, 4);
	CHECK_OP(put(pool, 2, 1, 4), <, 0);
	set_client(XEN_SYSCTL_TMEM_SET_CAP, ~0ULL);
	MUST_MISS(pool, 2, 1);
	MUST_PUT(pool, 2, 1, 5);
	MUST_GET(pool, 2, 1, 5);
}

/* T11: the domain cannot name a frame that holds metadata or data */
static void stored_pages_are_not_the_domains_own(void)
{
	uint64_t mfn, end = max_mfn() + 1;
	int pool = new_pool(PERSISTENT), probe = new_pool(EPHEMERAL);
	long before = 0, after = 0, tot = tot_pages();

	for (mfn = 0; mfn < end; mfn++)
		before += op_with(PUT, probe, 1, 1, mfn) == 1;
	fill(0, 1);
	CHECK_OP(hyper_many(gen(PUT, pool, 1, 0), 5000), ==, 5000);
	for (mfn = 0; mfn < end; mfn++)
		after += op_with(PUT, probe, 1, 1, mfn) == 1;
	CHECK_OP(after, ==, before);
	CHECK_OP(tot_pages(), ==, tot);
}

/*
 * Nothing of tmem goes with a domain that is saved.  While the only copy of a
 * page is in tmem, the domain's suspend is cancelled, as a toolstack could do,
 * and the domain runs on.
 */
static void suspend_with_persistent_pages_is_cancelled(void)
{
	struct sched_shutdown *shutdown = shared_page;
	int i, pool = new_pool(PERSISTENT);

	for (i = 0; i < 2; i++) {
		MUST_PUT(pool, 1, 1, i);	/* 0: takes no frame */
		*shutdown = (struct sched_shutdown){
			.reason = SHUTDOWN_suspend };
		CHECK_OP(xen_call(__HYPERVISOR_sched_op, SCHEDOP_shutdown,
				  (uintptr_t)shutdown), ==, 1);
		MUST_GET(pool, 1, 1, i);
	}
}

TESTS = {
	TEST(ON, persistent_pages_stay_below_max_pages),
	TEST(ON, lowered_max_pages_counts_for_every_put),
	TEST(ON, failed_duplicate_put_leaves_nothing),
	TEST(ON, stored_pages_are_not_the_domains_own),
	TEST(PV | HVM, suspend_with_persistent_pages_is_cancelled),
};
