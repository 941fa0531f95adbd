// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of self-ballooning, included by xen-selfballoon.c: what a domain
 * wants, from what it has found.
 */

#include <kunit/test.h>

#define CEILING		MIB(384)
#define FLOOR		MIB(88)
#define NEED		MIB(120)

static void selfballoon_test_init(struct selfballoon *b,
				  struct selfballoon_look *look)
{
	*b = (struct selfballoon){
		.ceiling = CEILING,
		.floor = FLOOR,
	};
	*look = (struct selfballoon_look){
		.current_pages = CEILING,
		.need = NEED,
	};
}

static void surplus_is_given_up_while_nobody_waits(struct kunit *test)
{
	struct selfballoon_look look;
	struct selfballoon b;

	selfballoon_test_init(&b, &look);
	KUNIT_EXPECT_EQ(test, NEED, selfballoon_want(&b, &look));
	KUNIT_EXPECT_EQ(test, 0, b.trim);

	look.stall = SELFBALLOON_STALL;
	KUNIT_EXPECT_EQ(test, CEILING, selfballoon_want(&b, &look));
	KUNIT_EXPECT_EQ(test, 0, b.trim);

	/* What is read again now and then is no reason */
	look.stall = 0;
	look.missed = CEILING / SELFBALLOON_NOISE;
	KUNIT_EXPECT_EQ(test, NEED, selfballoon_want(&b, &look));
	look.missed++;
	KUNIT_EXPECT_EQ(test, CEILING, selfballoon_want(&b, &look));
	KUNIT_EXPECT_EQ(test, look.missed, b.trim);
}

static void it_grows_by_all_that_is_missing(struct kunit *test)
{
	struct selfballoon_look look;
	struct selfballoon b;

	selfballoon_test_init(&b, &look);
	look.current_pages = MIB(100);
	KUNIT_EXPECT_EQ(test, NEED, selfballoon_want(&b, &look));

	/* What was dropped too much comes on top */
	look.missed = MIB(10);
	KUNIT_EXPECT_EQ(test, NEED + MIB(10), selfballoon_want(&b, &look));
	look.stall = SELFBALLOON_PRESSURE;
	KUNIT_EXPECT_EQ(test, NEED + MIB(20) + MIB(100) / 64,
			selfballoon_want(&b, &look));
	look.missed = 0;
	KUNIT_EXPECT_EQ(test, NEED + MIB(20) + 2 * (MIB(100) / 64),
			selfballoon_want(&b, &look));
}

static void shortage_takes_all_that_is_allowed(struct kunit *test)
{
	struct selfballoon_look look;
	struct selfballoon b;

	selfballoon_test_init(&b, &look);
	look.current_pages = MIB(100);
	look.short_of_memory = true;
	KUNIT_EXPECT_EQ(test, CEILING, selfballoon_want(&b, &look));
	KUNIT_EXPECT_EQ(test, CEILING - NEED, b.trim);

	/* Nor does a need that is larger make a debt of it */
	look.need = CEILING + MIB(100);
	KUNIT_EXPECT_EQ(test, CEILING, selfballoon_want(&b, &look));
	KUNIT_EXPECT_EQ(test, 0, b.trim);
}

static void trim_decays_while_nobody_waits(struct kunit *test)
{
	struct selfballoon_look look;
	unsigned long trim = MIB(64);
	struct selfballoon b;
	int looks;

	selfballoon_test_init(&b, &look);
	b.trim = trim;
	look.stall = SELFBALLOON_STALL;
	selfballoon_want(&b, &look);
	KUNIT_EXPECT_EQ(test, trim, b.trim);

	look.stall = 0;
	for (looks = 0; b.trim && looks < 1000; looks++)
		selfballoon_want(&b, &look);
	KUNIT_EXPECT_GT(test, looks, 32);
	KUNIT_EXPECT_LT(test, looks, 500);
	KUNIT_EXPECT_EQ(test, NEED, selfballoon_want(&b, &look));
}

/* A file that is larger than all memory, or a cgroup at its own limit */
static void what_more_memory_does_not_cure_takes_no_more(struct kunit *test)
{
	struct selfballoon_look look;
	struct selfballoon b;
	int looks;

	selfballoon_test_init(&b, &look);
	look.current_pages = MIB(150);
	look.missed = MIB(5);
	for (looks = 0; looks < 100; looks++)
		selfballoon_want(&b, &look);
	KUNIT_EXPECT_EQ(test, MIB(5) * SELFBALLOON_FUTILE, b.trim);
	/* Nor is it given up while that goes on */
	look.need = MIB(100);
	KUNIT_EXPECT_EQ(test, MIB(150), selfballoon_want(&b, &look));

	look.missed = 0;
	selfballoon_want(&b, &look);
	look.missed = MIB(5);
	KUNIT_EXPECT_LT(test, b.trim, MIB(5) * SELFBALLOON_FUTILE);
	selfballoon_want(&b, &look);
	KUNIT_EXPECT_GT(test, b.trim, MIB(5) * SELFBALLOON_FUTILE);
}

static void it_stays_between_floor_and_ceiling(struct kunit *test)
{
	struct selfballoon_look look;
	struct selfballoon b;

	selfballoon_test_init(&b, &look);
	look.need = MIB(10);
	KUNIT_EXPECT_EQ(test, FLOOR, selfballoon_want(&b, &look));
	look.need = ULONG_MAX / 2;
	KUNIT_EXPECT_EQ(test, CEILING, selfballoon_want(&b, &look));

	/* Whoever sets the ceiling has the last word */
	b.ceiling = FLOOR - 1;
	KUNIT_EXPECT_EQ(test, FLOOR - 1, selfballoon_want(&b, &look));
	look.need = MIB(10);
	KUNIT_EXPECT_EQ(test, FLOOR - 1, selfballoon_want(&b, &look));
}

static void no_size_has_a_floor_above_it(struct kunit *test)
{
	unsigned long pages, last = 0;

	for (pages = MIB(32); pages < MIB(64 << 10); pages += MIB(16)) {
		KUNIT_EXPECT_LE(test, selfballoon_floor(pages), pages);
		KUNIT_EXPECT_GE(test, selfballoon_floor(pages), last);
		last = selfballoon_floor(pages);
	}
}

static struct kunit_case selfballoon_cases[] = {
	KUNIT_CASE(surplus_is_given_up_while_nobody_waits),
	KUNIT_CASE(it_grows_by_all_that_is_missing),
	KUNIT_CASE(shortage_takes_all_that_is_allowed),
	KUNIT_CASE(trim_decays_while_nobody_waits),
	KUNIT_CASE(what_more_memory_does_not_cure_takes_no_more),
	KUNIT_CASE(it_stays_between_floor_and_ceiling),
	KUNIT_CASE(no_size_has_a_floor_above_it),
	{}
};

static struct kunit_suite selfballoon_suite = {
	.name = "xen_selfballoon",
	.test_cases = selfballoon_cases,
};

kunit_test_suite(selfballoon_suite);
