// SPDX-License-Identifier: GPL-2.0
/*
 * Well-formed calls, with values that a correct guest may use, or a little
 * beyond these; and what all calls return where there is no tmem
 */
#include "abi_test.h"

/* All of the handle, and nothing but the handle, names a page */
static void handle_is_pool_oid_and_index(void)
{
	const struct tmem_raw_op base = {
		.cmd = PUT, .oid = { ~0ULL, 1, 1ULL << 63 }, .index = ~0u };
	struct tmem_raw_op op[6];
	int i, pool = new_pool(PERSISTENT), other = new_pool(PERSISTENT);

	for (i = 0; i < 6; i++) {
		op[i] = base;
		op[i].pool_id = pool;
		op[i].cmfn = frame[i];
	}
	op[1].pool_id = other;
	op[2].oid[0] ^= 1ULL << 63;
	op[3].oid[1] ^= 1ULL << 32;
	op[4].oid[2] ^= 1;
	op[5].index ^= 1u << 31;
	for (i = 0; i < 6; i++) {
		fill(i, i + 1);
		CHECK_OP(hyper(op[i]), ==, 1);
	}
	CHECK_OP(stats().pers_pages, ==, 6);
	for (i = 0; i < 6; i++) {
		fill(i, JUNK);
		op[i].cmd = GET;
		CHECK_OP(hyper(op[i]), ==, 1);
		CHECK(holds(i, i + 1), "handle %d has another's page", i);
	}
	/* What is not in the handle does not matter (T6) */
	for (i = 0; i < 8; i++) {
		static const uint32_t odd[] = { 0, 1, 4095, 4096, 4097,
						0xfffff000, 0xffffffff, 2048 };

		op[0].cmd = PUT;
		op[0].tmem_offset = odd[i];
		op[0].pfn_offset = odd[(i + 3) % 8];
		op[0].len = odd[(i + 5) % 8];
		fill(0, 50 + i);
		CHECK_OP(hyper(op[0]), ==, 1);
		op[0].cmd = GET;
		op[0].tmem_offset = odd[(i + 1) % 8];
		fill(0, JUNK);
		CHECK_OP(hyper(op[0]), ==, 1);
		CHECK(holds(0, 50 + i), "offset or length has an effect");
	}
}

/* Xen reads these bytes, not one less or more */
static void op_is_56_bytes(void)
{
	struct tmem_raw_op op = { .cmd = NEW_POOL, .flags = EPHEMERAL };
	char *end = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	int i;

	CHECK(end != MAP_FAILED, "no memory");
	end += PAGE;
	SYS(munmap(end, PAGE));
	memcpy(end - 56, &op, 56);
	CHECK_OP(hyper_at(end - 56), ==, 0);
	CHECK(!memcmp(end - 56, &op, 56), "the op was written to");
	for (i = 1; i <= 56; i++) {
		memmove(end - 56 + i, &op, 56 - i);
		CHECK_OP(hyper_at(end - 56 + i), ==, -EFAULT);
	}
	CHECK_OP(destroy(0), ==, 1);
	CHECK_OP(destroy(0), ==, 0);
}

/* T1, T29: old commands, privileged ones, and numbers that are no command */
static void other_commands_do_nothing(void)
{
	static const uint32_t privileged[] = { CONTROL, AUTH, RESTORE_NEW };
	static const uint32_t unknown[] = { NEW_PAGE, READ, WRITE, XCHG, 11,
		24, 100, 103, 0x7fffffff, 0x80000000, 0x80000001, 0xffffffff };
	struct xen_sysctl_tmem_stats before, after;
	int i, pool = new_pool(PERSISTENT);

	MUST_PUT(pool, 1, 1, 1);
	before = stats();
	for (i = 0; i < ARRAY_SIZE(privileged); i++) {
		CHECK_OP(hyper(gen(privileged[i], pool, 1, 1)), ==,
			 -EOPNOTSUPP);
		CHECK_OP(hyper(gen(privileged[i], -1, 1, 1)), ==,
			 -EOPNOTSUPP);
	}
	for (i = 0; i < ARRAY_SIZE(unknown); i++) {
		CHECK_OP(hyper(gen(unknown[i], pool, 1, 1)), ==, -ENOSYS);
		CHECK_OP(hyper(gen(unknown[i], pool, 1, 2)), ==, -ENOSYS);
		/* The pool is checked first */
		CHECK_OP(hyper(gen(unknown[i], pool + 1, 1, 1)), ==, -ENODEV);
	}
	after = stats();
	CHECK(!memcmp(&before, &after, sizeof(before)),
	      "something has changed");
	MUST_GET(pool, 1, 1, 1);
	MUST_MISS(pool, 1, 2);
}

/* T32, and a failed attempt does not use up an id (T14) */
static void reserved_pool_flags_are_refused(void)
{
	int i;

	for (i = 2; i < 32; i++)	/* reserved, page size, version */
		CHECK(try_pool(EPHEMERAL ^ 1u << i, 0, 0) == -EPERM,
		      "bit %d is accepted", i);
	CHECK_OP(try_pool(PERSISTENT | SHARED, 1, 2), ==, -EPERM);
	CHECK_OP(try_pool(0, 0, 0), ==, -EPERM);
	CHECK_OP(try_pool(~0u, 0, 0), ==, -EPERM);
	for (i = 0; i < MAX_POOLS; i++)
		CHECK_OP(new_pool(i & 1 ? PERSISTENT : EPHEMERAL), ==, i);
}

/* T2, T32.  An id out of range must not become that of pool 0, which exists */
static void check_pool_ids(void)
{
	static const int ids[] = { 1, 15, 16, 17, 31, 64, 255, 256, 65536,
		0x7fffffff, -1, -2, -16, -65536, -0x7fffffff - 1 };
	static const int cmds[] = { PUT, GET, FLUSH_PAGE, FLUSH_OBJECT };
	int i, j;

	MUST_PUT(0, 1, 1, 1);
	for (i = 0; i < ARRAY_SIZE(ids); i++) {
		for (j = 0; j < ARRAY_SIZE(cmds); j++) {
			CHECK_OP(hyper(gen(cmds[j], ids[i], 1, 1)), ==,
				 -ENODEV);
			CHECK_OP(op_with(cmds[j], ids[i], 1, 1, ~0ULL >> 12),
				 ==, -ENODEV);
		}
		CHECK_OP(destroy(ids[i]), ==, 0);
	}
	MUST_GET(0, 1, 1, 1);
}

static void pool_ids_are_checked(void)
{
	CHECK_OP(new_pool(PERSISTENT), ==, 0);
	check_pool_ids();
}

/* Xen looks for a shared pool before the engine sees the id */
static void bad_pool_id_is_no_shared_pool(void)
{
	CHECK_OP(authorise(0x6964, 1, true), ==, 0);
	CHECK_OP(try_pool(SHARED, 0x6964, 1), ==, 0);
	check_pool_ids();
}

/* An id is the lowest free one.  The 17th pool is refused, without effect */
static void seventeenth_pool_is_refused(void)
{
	int i;

	for (i = 0; i < MAX_POOLS; i++)
		CHECK_OP(new_pool(EPHEMERAL), ==, i);
	CHECK_OP(try_pool(EPHEMERAL, 0, 0), ==, -EPERM);
	CHECK_OP(try_pool(PERSISTENT, 0, 0), ==, -EPERM);
	CHECK_OP(destroy(11), ==, 1);
	CHECK_OP(destroy(7), ==, 1);
	CHECK_OP(new_pool(PERSISTENT), ==, 7);
	CHECK_OP(new_pool(PERSISTENT), ==, 11);
	CHECK_OP(try_pool(PERSISTENT, 0, 0), ==, -EPERM);
	CHECK_OP(put(16, 1, 1, 1), ==, -ENODEV);
}

/* T31: what a kernel does that finds the pools of an earlier one */
static void pools_of_earlier_kernel_can_be_dropped(void)
{
	int i, round;

	for (round = 0; round < 2 * MAX_POOLS; round++) {
		for (i = 0; i < MAX_POOLS; i++)
			destroy(i);
		for (i = 0; i < 3; i++)
			MUST_PUT(new_pool(i & 1 ? PERSISTENT : EPHEMERAL), 1,
				 1, round + 1);
	}
	CHECK_OP(stats().eph_pages, ==, 2);
	CHECK_OP(stats().pers_pages, ==, 1);
}

/* T14: to know a uuid, or to guess one, is not enough */
static void shared_pool_without_authority_is_private(void)
{
	long a = try_pool(SHARED, 0x1234, 0x5678);
	long b = try_pool(SHARED, 0x1234, 0x5678);
	int i;

	CHECK_OP(a, ==, 0);
	CHECK_OP(b, ==, 1);
	MUST_PUT(a, 1, 1, 1);
	MUST_MISS(b, 1, 1);
	MUST_GET(a, 1, 1, 1);
	MUST_MISS(a, 1, 1);	/* exclusive, as in any private pool */
	CHECK_OP(try_pool(SHARED, ~0ULL, ~0ULL), ==, 2);
	for (i = 3; i < MAX_POOLS; i++)
		CHECK_OP(try_pool(SHARED, i, i), ==, i);
	CHECK_OP(try_pool(SHARED, 99, 99), ==, -EPERM);
	CHECK_OP(shared_pages(), ==, -ENOENT);
}

/* T14: a failure in the middle leaves no id that leads to freed memory */
static void seventeenth_shared_pool_is_refused(void)
{
	int i;

	CHECK_OP(authorise(~0ULL, ~0ULL, true), ==, -EINVAL);
	for (i = 0; i < MAX_POOLS; i++)
		CHECK_OP(authorise(i, ~i, true), ==, 0);
	CHECK_OP(authorise(3, ~3, true), ==, 0);
	CHECK_OP(authorise(99, 99, true), ==, -ENOSPC);
	for (i = 0; i < MAX_POOLS; i++)
		CHECK_OP(try_pool(SHARED, i, ~i), ==, i);
	for (i = 0; i < 100; i++)
		CHECK_OP(try_pool(SHARED, i % MAX_POOLS, ~(i % MAX_POOLS)), ==,
			 -EPERM);
	CHECK_OP(put(MAX_POOLS, 1, 1, 1), ==, -ENODEV);
	for (i = 0; i < MAX_POOLS; i++)
		MUST_PUT(i, 1, 1, i + 1);
	for (i = 0; i < MAX_POOLS; i++) {
		MUST_GET(i, 1, 1, i + 1);
		CHECK_OP(destroy(i), ==, 1);
		CHECK_OP(put(i, 1, 1, 1), ==, -ENODEV);
	}
	CHECK_OP(shared_pages(), ==, -ENOENT);
}

/* T14, T19: several users, all in this domain */
static void shared_pool_is_one_pool_for_all_users(void)
{
	int i;

	CHECK_OP(authorise(1, 2, true), ==, 0);
	for (i = 0; i < 3; i++)
		CHECK_OP(try_pool(SHARED, 1, 2), ==, i);
	CHECK_OP(try_pool(SHARED, 2, 1), ==, 3);	/* another one */
	MUST_PUT(0, 1, 1, 1);
	MUST_GET(1, 1, 1, 1);
	MUST_GET(2, 1, 1, 1);		/* a get leaves it */
	MUST_MISS(3, 1, 1);
	MUST_PUT(1, 1, 1, 2);
	MUST_GET(0, 1, 1, 2);
	CHECK_OP(flush_page(2, 1, 1), ==, 1);
	MUST_MISS(0, 1, 1);
	MUST_PUT(0, 1, 1, 3);
	CHECK_OP(put(1, 1, 1, 4), ==, 1);
	CHECK_OP(op_with(PUT, 2, 1, 1, ~0ULL >> 12), ==, -EFAULT);
	MUST_MISS(0, 1, 1);

	/* A user that leaves takes nothing along; the rest can be evicted */
	for (i = 0; i < 100; i++)
		MUST_PUT(0, i % 10, i, i + 1);
	CHECK_OP(destroy(0), ==, 1);
	CHECK_OP(get(0, 1, 1), ==, -ENODEV);
	CHECK_OP(shared_pages(), ==, 100);
	for (i = 0; i < 100; i++)
		MUST_GET(1, i % 10, i, i + 1);
	while (shared_pages())
		flush_kib(1 << 10);
	MUST_MISS(1, 1, 1);

	/* Without authority a user stays, but does not join again */
	CHECK_OP(authorise(1, 2, false), ==, 0);
	CHECK_OP(authorise(1, 2, false), ==, -ENOENT);
	MUST_PUT(1, 1, 1, 5);
	MUST_GET(2, 1, 1, 5);
	CHECK_OP(try_pool(SHARED, 1, 2), ==, 0);
	MUST_MISS(0, 1, 1);

	/* The pool goes with its last user */
	CHECK_OP(destroy(1), ==, 1);
	MUST_GET(2, 1, 1, 5);
	CHECK_OP(destroy(2), ==, 1);
	CHECK_OP(shared_pages(), ==, -ENOENT);
	CHECK_OP(authorise(1, 2, true), ==, 0);
	CHECK_OP(try_pool(SHARED, 1, 2), ==, 1);
	CHECK_OP(get(1, 1, 1), ==, -EEMPTY);
}

static void shared_pool_has_settings_of_its_own(void)
{
	struct xen_sysctl_tmem_op op, set = {
		.cmd = XEN_SYSCTL_TMEM_OP_SET,
		.flags = XEN_SYSCTL_TMEM_SHARED | XEN_SYSCTL_TMEM_COMPRESS,
		.mask = XEN_SYSCTL_TMEM_SET_WEIGHT | XEN_SYSCTL_TMEM_SET_CAP |
			XEN_SYSCTL_TMEM_SET_MIN | XEN_SYSCTL_TMEM_SET_COMPRESS,
		.weight = 7, .cap = 4096, .min = 400, .uuid = { 1, 2 } };
	unsigned int i;

	CHECK_OP(control(&set), ==, -ENOENT);
	CHECK_OP(authorise(1, 2, true), ==, 0);
	CHECK_OP(try_pool(SHARED, 1, 2), ==, 0);
	CHECK_OP(control(&set), ==, 0);
	CHECK_OP(get_shared(1, 2, &op), ==, 0);
	CHECK_OP(op.weight, ==, 7);
	CHECK_OP(op.cap, ==, 4096);
	CHECK_OP(op.min, ==, 400);
	CHECK_OP(op.flags, ==, set.flags);
	for (i = 0; i < WORDS; i++)
		page[0][i] = i / 16;
	CHECK_OP(hyper(gen(PUT, 0, 1, 1)), ==, 1);
	CHECK_OP(shared_stats(1, 2).lz4_pages, ==, 1);
	fill(0, JUNK);
	CHECK_OP(hyper(gen(GET, 0, 1, 1)), ==, 1);
	for (i = 0; i < WORDS; i++)
		CHECK(page[0][i] == i / 16, "wrong contents");
	fill(0, 1);
	hyper_many(gen(PUT, 0, 2, 0), 2000);
	CHECK_OP(shared_stats(1, 2).evicted, >, 900);
	CHECK_OP(shared_stats(1, 2).used_bytes, <=, 4096 << 10);

	/* The settings go with the pool */
	CHECK_OP(destroy(0), ==, 1);
	CHECK_OP(try_pool(SHARED, 1, 2), ==, 0);
	CHECK_OP(get_shared(1, 2, &op), ==, 0);
	CHECK_OP(op.weight, ==, 100);
	CHECK(op.cap == ~0ULL && !op.min, "settings of an older pool");
}

/* The caller is frozen, not the pool */
static void frozen_domain_adds_nothing_to_shared_pool(void)
{
	CHECK_OP(authorise(1, 2, true), ==, 0);
	CHECK_OP(try_pool(SHARED, 1, 2), ==, 0);
	MUST_PUT(0, 1, 1, 1);
	CHECK_OP(control_cmd(XEN_SYSCTL_TMEM_OP_FREEZE, 0), ==, 0);
	CHECK_OP(put(0, 1, 2, 1), ==, -EFROZEN);
	MUST_PUT(0, 1, 1, 2);
	MUST_GET(0, 1, 1, 2);
	CHECK_OP(flush_page(0, 1, 1), ==, -EFROZEN);
	MUST_MISS(0, 1, 1);
	CHECK_OP(control_cmd(XEN_SYSCTL_TMEM_OP_THAW, 0), ==, 0);
	MUST_PUT(0, 1, 2, 1);
}

/* T20: a shared pool is one more client, as heavy as any other */
static void shared_pool_has_a_share(void)
{
	long kib;
	int i;

	CHECK_OP(authorise(1, 2, true), ==, 0);
	CHECK_OP(try_pool(SHARED, 1, 2), ==, 0);
	CHECK_OP(try_pool(SHARED, 1, 2), ==, 1);
	CHECK_OP(new_pool(EPHEMERAL), ==, 2);
	fill(0, 2);
	CHECK_OP(hyper_many(gen(PUT, 0, 1, 0), 3000), ==, 3000);
	CHECK_OP(hyper_many(gen(PUT, 2, 1, 0), 1000), ==, 1000);
	for (kib = 0; kib < 4000; kib += flush_kib(4000 - kib))
		;
	CHECK_OP(stats().eph_pages, ==, 1000);
	CHECK_OP(shared_stats(1, 2).evicted, >=, 900);
	/* The pool does not belong to the user that made it, and now leaves */
	CHECK_OP(destroy(0), ==, 1);
	for (i = 0; i < 2; i++)
		for (kib = 0; kib < 4000; kib += flush_kib(4000 - kib))
			;
	note("shared %lu, private %lu", shared_stats(1, 2).eph_pages,
	     stats().eph_pages);
	CHECK_OP(shared_stats(1, 2).eph_pages, <, 1050);
}

static void destroyed_pool_is_gone(void)
{
	int kind, i, pool;

	for (kind = 0; kind < 2; kind++) {
		pool = new_pool(EPHEMERAL | kind);
		for (i = 0; i < 100; i++)
			MUST_PUT(pool, i % 10, i, i + 1);
		CHECK_OP(destroy(pool), ==, 1);
		CHECK_OP(destroy(pool), ==, 0);
		CHECK_OP(get(pool, 1, 1), ==, -ENODEV);
		CHECK_OP(put(pool, 1, 1, 1), ==, -ENODEV);
		CHECK_OP(flush_page(pool, 1, 1), ==, -ENODEV);
		CHECK_OP(flush_object(pool, 1), ==, -ENODEV);
		CHECK_OP(new_pool(EPHEMERAL | kind), ==, pool);
		for (i = 0; i < 100; i++)
			CHECK_OP(get(pool, i % 10, i), ==, -EEMPTY);
		CHECK_OP(destroy(pool), ==, 1);
	}
}

static void ephemeral_get_is_exclusive(void)
{
	int pool = new_pool(EPHEMERAL);

	CHECK_OP(get(pool, 1, 1), ==, -EEMPTY);
	MUST_PUT(pool, 1, 1, 1);
	MUST_PUT(pool, 1, 2, 2);
	CHECK_OP(get(pool, 1, 3), ==, 0);
	CHECK_OP(get(pool, 2, 1), ==, 0);
	MUST_GET(pool, 1, 1, 1);
	CHECK_OP(get(pool, 1, 1), ==, 0);
	MUST_GET(pool, 1, 2, 2);
	CHECK_OP(get(pool, 1, 2), ==, -EEMPTY);
}

static void persistent_get_leaves_the_page(void)
{
	int i, pool = new_pool(PERSISTENT);

	CHECK_OP(get(pool, 1, 1), ==, -EEMPTY);
	MUST_PUT(pool, 1, 1, 1);
	for (i = 0; i < 3; i++)
		MUST_GET(pool, 1, 1, 1);
	CHECK_OP(get(pool, 1, 2), ==, 0);
	CHECK_OP(flush_page(pool, 1, 1), ==, 1);
	CHECK_OP(get(pool, 1, 1), ==, -EEMPTY);
}

static void second_put_is_the_one_that_is_got(void)
{
	int kind, i, pool;

	for (kind = 0; kind < 2; kind++) {
		pool = new_pool(EPHEMERAL | kind);
		/* 0 is a page that repeats one word, which takes no frame */
		for (i = 9; i >= 0; i--)
			MUST_PUT(pool, 1, 1, i % 5);
		MUST_GET(pool, 1, 1, 0);
		MUST_PUT(pool, 1, 1, 0);
		MUST_PUT(pool, 1, 1, 7);
		MUST_GET(pool, 1, 1, 7);
		CHECK_OP(destroy(pool), ==, 1);
	}
}

static void flushes_take_what_they_name(void)
{
	int kind, pool;

	for (kind = 0; kind < 2; kind++) {
		pool = new_pool(EPHEMERAL | kind);
		CHECK_OP(flush_page(pool, 1, 1), ==, 1);
		CHECK_OP(flush_object(pool, 1), ==, 1);
		MUST_PUT(pool, 1, 0, 10);
		MUST_PUT(pool, 1, 1, 11);
		MUST_PUT(pool, 1, ~0u, 12);
		MUST_PUT(pool, 2, 1, 21);
		CHECK_OP(flush_page(pool, 1, 1), ==, 1);
		CHECK_OP(flush_page(pool, 1, 1), ==, 1);
		MUST_MISS(pool, 1, 1);
		CHECK_OP(flush_object(pool, 3), ==, 1);
		MUST_PUT(pool, 1, 1, 13);
		MUST_GET(pool, 1, ~0u, 12);
		MUST_PUT(pool, 1, ~0u, 12);
		CHECK_OP(flush_object(pool, 1), ==, 1);
		CHECK_OP(flush_object(pool, 1), ==, 1);
		MUST_MISS(pool, 1, 0);
		MUST_MISS(pool, 1, 1);
		MUST_MISS(pool, 1, ~0u);
		MUST_GET(pool, 2, 1, 21);
		CHECK_OP(destroy(pool), ==, 1);
	}
}

/* The hypercall within another one, also when Xen has to continue it later */
static void works_in_multicall(void)
{
	struct multicall_entry *call = shared_page;
	struct tmem_raw_op *op = shared_page + 1024;
	int i, pool = new_pool(EPHEMERAL);

	CHECK_OP(hyper_many(gen(PUT, pool, 1, 0), 20000), ==, 20000);
	fill(1, 5);
	op[0] = gen(FLUSH_OBJECT, pool, 1, 0);
	op[1] = gen(PUT, pool, 2, 0);
	op[1].cmfn = frame[1];
	op[2] = gen(GET, pool, 2, 0);
	op[3] = gen(GET, pool, 1, 0);
	op[4] = gen(DESTROY_POOL, pool, 0, 0);
	for (i = 0; i < 5; i++)
		call[i] = (struct multicall_entry){
			.op = __HYPERVISOR_tmem_op,
			.args = { (uintptr_t)&op[i] } };
	CHECK_OP(xen_call(__HYPERVISOR_multicall, (uintptr_t)call, 5), ==, 0);
	CHECK_OP((int)call[0].result, ==, 1);
	CHECK_OP((int)call[1].result, ==, 1);
	CHECK_OP((int)call[2].result, ==, 1);
	CHECK(holds(0, 5), "wrong contents");
	CHECK_OP((int)call[3].result, ==, -EEMPTY);
	CHECK_OP((int)call[4].result, ==, 1);
}

static void check_all_are(long want)
{
	int cmd, pool;

	for (cmd = 0; cmd < 128; cmd++)
		for (pool = -1; pool < 17; pool++)
			CHECK(hyper(gen(cmd, pool, 1, 1)) == want,
			      "command %d, pool %d", cmd, pool);
	CHECK_OP(try_pool(EPHEMERAL, 0, 0), ==, want);
	CHECK_OP(try_pool(PERSISTENT, 0, 0), ==, want);
	CHECK_OP(hyper_at(NULL), ==, want);
}

static void without_the_option_all_is_enodev(void)
{
	check_all_are(-ENODEV);
	CHECK_OP(control_cmd(XEN_SYSCTL_TMEM_OP_GET, 0), ==, -ENODEV);
	CHECK_OP(control_cmd(XEN_SYSCTL_TMEM_OP_FLUSH, 0), ==, -ENODEV);
}

static void on_stock_xen_all_is_enosys(void)
{
	check_all_are(-ENOSYS);
	CHECK_OP(control_cmd(XEN_SYSCTL_TMEM_OP_GET, 0), ==, -ENOSYS);
}

TESTS = {
	TEST(ON, handle_is_pool_oid_and_index),
	TEST(ON | PV | HVM, op_is_56_bytes),
	TEST(ON, other_commands_do_nothing),
	TEST(ON | PV | HVM, reserved_pool_flags_are_refused),
	TEST(ON | PV | HVM, pool_ids_are_checked),
	TEST(ON, bad_pool_id_is_no_shared_pool),
	TEST(ON | PV | HVM, seventeenth_pool_is_refused),
	TEST(ON, pools_of_earlier_kernel_can_be_dropped),
	TEST(ON, shared_pool_without_authority_is_private),
	TEST(ON, seventeenth_shared_pool_is_refused),
	TEST(ON, shared_pool_is_one_pool_for_all_users),
	TEST(ON, shared_pool_has_settings_of_its_own),
	TEST(ON, frozen_domain_adds_nothing_to_shared_pool),
	TEST(ON, shared_pool_has_a_share),
	TEST(ON | PV | HVM, destroyed_pool_is_gone),
	TEST(ON | PV | HVM, ephemeral_get_is_exclusive),
	TEST(ON | PV | HVM, persistent_get_leaves_the_page),
	TEST(ON | PV | HVM, second_put_is_the_one_that_is_got),
	TEST(ON | PV | HVM, flushes_take_what_they_name),
	TEST(ON | PV | HVM, works_in_multicall),
	TEST(OFF, without_the_option_all_is_enodev),
	TEST(NONE, on_stock_xen_all_is_enosys),
};
