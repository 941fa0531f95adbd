// SPDX-License-Identifier: GPL-2.0
/*
 * tmem engine: KUnit tests, for what user space cannot show: that the engine
 * works on this kernel's allocators, locks and compressor.
 */
#include <kunit/test.h>
#include <linux/module.h>
#include <linux/random.h>
#include "engine.h"

#define NOISE_STEP	0x9e3779b97f4a7c15ull

enum kind { SAME, TEXT, NOISE, KINDS };		/* one word, lz4, raw */
enum { EPH, PERS };				/* the pools of a client */

struct fixture {
	struct tme_host host;
	struct tme_client client[2];
	u64 page[PAGE_SIZE / sizeof(u64)];
	u64 want[PAGE_SIZE / sizeof(u64)];
};

static void fill(u64 *page, u64 seed, enum kind kind)
{
	u64 x = seed * NOISE_STEP + 1;
	unsigned int i;

	for (i = 0; i < PAGE_SIZE / sizeof(u64); i++) {
		if (kind == NOISE || (kind == TEXT && i % 64 == 0)) {
			x ^= x << 13;
			x ^= x >> 7;
			x ^= x << 17;
		}
		page[i] = x;
	}
}

static int put(struct fixture *f, int c, u32 pool, u64 o, u32 index, u64 seed,
	       enum kind kind)
{
	u64 oid[3] = { o, 0, ~o };

	fill(f->page, seed, kind);
	return tme_put(&f->client[c], pool, oid, index, f->page);
}

/* Return: 0 if it was there and right; -EILSEQ if it was wrong */
static int get(struct fixture *f, int c, u32 pool, u64 o, u32 index, u64 seed,
	       enum kind kind)
{
	u64 oid[3] = { o, 0, ~o };
	int err;

	err = tme_get(&f->client[c], pool, oid, index, f->page);
	if (err)
		return err;
	fill(f->want, seed, kind);
	return memcmp(f->page, f->want, PAGE_SIZE) ? -EILSEQ : 0;
}

static int flush(struct fixture *f, int c, u32 pool, u64 o, u32 index)
{
	u64 oid[3] = { o, 0, ~o };

	return tme_flush_page(&f->client[c], pool, oid, index);
}

static int flush_object(struct fixture *f, int c, u32 pool, u64 o)
{
	u64 oid[3] = { o, 0, ~o };

	return tme_flush_object(&f->client[c], pool, oid);
}

static struct tme_stats stats(struct kunit *test, int c)
{
	struct fixture *f = test->priv;
	struct tme_stats st;

	tme_client_stats(&f->client[c], &st);
	/* Every byte is one that is known of */
	KUNIT_EXPECT_EQ(test, st.used_bytes, st.meta_bytes +
			(st.raw_pages + st.slot_frames) * PAGE_SIZE);
	return st;
}

static int engine_test_init(struct kunit *test)
{
	struct fixture *f = kunit_kzalloc(test, sizeof(*f), GFP_KERNEL);
	int c;

	KUNIT_ASSERT_NOT_NULL(test, f);
	KUNIT_ASSERT_EQ(test, tme_host_init(&f->host), 0);
	for (c = 0; c < 2; c++) {
		KUNIT_ASSERT_EQ(test, tme_client_init(&f->host, &f->client[c]),
				0);
		KUNIT_ASSERT_EQ(test, tme_new_pool(&f->client[c], 0), EPH);
		KUNIT_ASSERT_EQ(test, tme_new_pool(&f->client[c],
						   TME_POOL_PERSISTENT), PERS);
	}
	test->priv = f;
	return 0;
}

/* Warns, which fails the run, if a byte is still counted */
static void engine_test_exit(struct kunit *test)
{
	struct fixture *f = test->priv;
	int c;

	if (!f)
		return;
	for (c = 0; c < 2; c++)
		while (tme_client_destroy(&f->client[c]) == -EAGAIN)
			cond_resched();
	KUNIT_EXPECT_EQ(test, atomic_long_read(&f->host.chunks[0]), 0);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&f->host.chunks[1]), 0);
	tme_host_destroy(&f->host);
}

/* A page comes back as it was; an ephemeral get removes it */
static void put_get_flush(struct kunit *test)
{
	struct fixture *f = test->priv;
	int on, pool, kind;

	for (on = 0; on < 2; on++) {
		tme_client_set_compress(&f->client[0], on);
		for (pool = EPH; pool <= PERS; pool++) {
			for (kind = 0; kind < KINDS; kind++) {
				int left = pool == PERS ? 0 : -ENOENT;

				KUNIT_EXPECT_EQ(test, 0,
						put(f, 0, pool, 1, 2, 3, kind));
				KUNIT_EXPECT_EQ(test, -ENOENT,
						get(f, 0, pool, 1, 3, 3, kind));
				KUNIT_EXPECT_EQ(test, -ENOENT,
						get(f, 0, pool, 2, 2, 3, kind));
				KUNIT_EXPECT_EQ(test, -ENOENT,
						get(f, 1, pool, 1, 2, 3, kind));
				KUNIT_EXPECT_EQ(test, 0,
						get(f, 0, pool, 1, 2, 3, kind));
				KUNIT_EXPECT_EQ(test, left,
						get(f, 0, pool, 1, 2, 3, kind));
				KUNIT_EXPECT_EQ(test, left,
						flush(f, 0, pool, 1, 2));
				KUNIT_EXPECT_EQ(test, -ENOENT,
						get(f, 0, pool, 1, 2, 3, kind));
			}
		}
	}
}

static void duplicate_put_replaces(struct kunit *test)
{
	struct fixture *f = test->priv;
	int i;

	tme_client_set_compress(&f->client[0], true);
	for (i = 0; i < 50; i++) {
		KUNIT_EXPECT_EQ(test, 0, put(f, 0, i & 1, 1, 1, i, i % KINDS));
		KUNIT_EXPECT_EQ(test, 0,
				put(f, 0, i & 1, 1, 1, i + 1, i / 5 % KINDS));
		KUNIT_EXPECT_EQ(test, 0,
				get(f, 0, i & 1, 1, 1, i + 1, i / 5 % KINDS));
	}
	KUNIT_EXPECT_EQ(test, stats(test, 0).eph_pages, 0);
	KUNIT_EXPECT_EQ(test, stats(test, 0).pers_pages, 1);
}

static void failed_put_removes_old(struct kunit *test)
{
	struct fixture *f = test->priv;

	KUNIT_EXPECT_EQ(test, 0, put(f, 0, PERS, 1, 1, 1, NOISE));
	tme_client_set_cap(&f->client[0], 1);
	KUNIT_EXPECT_EQ(test, -ENOSPC, put(f, 0, PERS, 1, 1, 2, NOISE));
	KUNIT_EXPECT_EQ(test, -ENOENT, get(f, 0, PERS, 1, 1, 1, NOISE));
	KUNIT_EXPECT_EQ(test, stats(test, 0).pers_pages, 0);
	KUNIT_EXPECT_EQ(test, stats(test, 0).put_fails, 1);
}

static void same_filled_and_compressed(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct tme_stats st;
	int i;

	for (i = 0; i < 500; i++)
		KUNIT_EXPECT_EQ(test, 0, put(f, 0, PERS, 1, i, i, SAME));
	st = stats(test, 0);
	KUNIT_EXPECT_EQ(test, st.raw_pages + st.slot_frames, 0);
	tme_client_set_compress(&f->client[0], true);
	for (i = 0; i < 500; i++)
		KUNIT_EXPECT_EQ(test, 0, put(f, 0, PERS, 2, i, i, TEXT));
	st = stats(test, 0);
	KUNIT_EXPECT_EQ(test, st.lz4_pages, 500);
	KUNIT_EXPECT_GT(test, st.slot_frames, 0);
	KUNIT_EXPECT_LT(test, st.slot_frames, 250);
	for (i = 0; i < 500; i++) {
		KUNIT_EXPECT_EQ(test, 0, get(f, 0, PERS, 1, i, i, SAME));
		KUNIT_EXPECT_EQ(test, 0, get(f, 0, PERS, 2, i, i, TEXT));
	}
	for (i = 0; i < 500; i++)
		KUNIT_EXPECT_EQ(test, 0, flush(f, 0, PERS, 2, i));
	KUNIT_EXPECT_EQ(test, stats(test, 0).slot_frames, 0);
}

static void index_extremes(struct kunit *test)
{
	static const u32 index[] = {
		0, 1, 63, 64, 4095, 4096, 0x3ffff, 0x40000, 0x3fffffff,
		0x40000000, 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff,
	};
	struct fixture *f = test->priv;
	u64 meta;
	int i;

	KUNIT_EXPECT_EQ(test, 0, put(f, 0, PERS, 1, 7, 7, SAME));
	meta = stats(test, 0).meta_bytes;
	KUNIT_EXPECT_EQ(test, 0, flush(f, 0, PERS, 1, 7));

	for (i = 0; i < ARRAY_SIZE(index); i++)
		KUNIT_EXPECT_EQ(test, 0, put(f, 0, PERS, 1, index[i], i, SAME));
	for (i = 0; i < ARRAY_SIZE(index); i++)
		KUNIT_EXPECT_EQ(test, 0, get(f, 0, PERS, 1, index[i], i, SAME));
	for (i = 0; i < ARRAY_SIZE(index) - 1; i++)
		KUNIT_EXPECT_EQ(test, 0, flush(f, 0, PERS, 1, index[i]));
	/* A lone page needs no node, whatever its index */
	KUNIT_EXPECT_EQ(test, stats(test, 0).meta_bytes, meta);
	KUNIT_EXPECT_EQ(test, 0, get(f, 0, PERS, 1, index[i], i, SAME));
}

static void hash_growth(struct kunit *test)
{
	struct fixture *f = test->priv;
	u64 meta = stats(test, 0).meta_bytes;
	int i, bad = 0;

	for (i = 0; i < 20000; i++)
		bad += !!put(f, 0, PERS, i, i, i, SAME);
	KUNIT_EXPECT_EQ(test, bad, 0);
	for (i = 0; i < 20000; i++)
		bad += !!get(f, 0, PERS, i, i, i, SAME);
	KUNIT_EXPECT_EQ(test, bad, 0);
	KUNIT_EXPECT_LE(test, stats(test, 0).meta_bytes - meta, 160 * 20000);
	for (i = 0; i < 20000; i++)
		bad += !!flush(f, 0, PERS, i, i);
	KUNIT_EXPECT_EQ(test, bad, 0);
	KUNIT_EXPECT_EQ(test, stats(test, 0).meta_bytes, meta);
}

static void pool_ids(struct kunit *test)
{
	static const u32 hostile[] = { 2, 15, 16, 0x7fffffff, -1u, -16u };
	struct fixture *f = test->priv;
	int i, err;

	for (i = 0; i < ARRAY_SIZE(hostile); i++) {
		u32 p = hostile[i];

		KUNIT_EXPECT_EQ(test, -EINVAL, put(f, 0, p, 1, 1, 1, SAME));
		KUNIT_EXPECT_EQ(test, -EINVAL, get(f, 0, p, 1, 1, 1, SAME));
		KUNIT_EXPECT_EQ(test, -EINVAL, flush(f, 0, p, 1, 1));
		KUNIT_EXPECT_EQ(test, -EINVAL, flush_object(f, 0, p, 1));
		KUNIT_EXPECT_EQ(test, -EINVAL,
				tme_destroy_pool(&f->client[0], p));
	}
	KUNIT_EXPECT_EQ(test, -EINVAL,
			tme_new_pool(&f->client[0],
				     TME_POOL_PERSISTENT | TME_POOL_SHARED));
	for (i = 2; i < TME_MAX_POOLS; i++)
		KUNIT_EXPECT_EQ(test, i, tme_new_pool(&f->client[0], 0));
	KUNIT_EXPECT_EQ(test, -ENOSPC, tme_new_pool(&f->client[0], 0));

	KUNIT_EXPECT_EQ(test, 0, put(f, 0, 5, 1, 1, 1, SAME));
	do {
		err = tme_destroy_pool(&f->client[0], 5);
	} while (err == -EAGAIN);
	KUNIT_EXPECT_EQ(test, 0, err);
	KUNIT_EXPECT_EQ(test, -EINVAL, get(f, 0, 5, 1, 1, 1, SAME));
	KUNIT_EXPECT_EQ(test, 5, tme_new_pool(&f->client[0], 0));
	KUNIT_EXPECT_EQ(test, -ENOENT, get(f, 0, 5, 1, 1, 1, SAME));
}

static void bounded_calls(struct kunit *test)
{
	struct fixture *f = test->priv;
	u64 left = 5000, now;
	int i, err, calls = 0;

	for (i = 0; i < 5000; i++)
		KUNIT_EXPECT_EQ(test, 0, put(f, 0, EPH, 1, i, i, SAME));
	do {
		err = flush_object(f, 0, EPH, 1);
		now = stats(test, 0).eph_pages;
		KUNIT_ASSERT_LT(test, now, left);
		KUNIT_ASSERT_LE(test, left - now, 512);
		left = now;
		calls++;
	} while (err == -EAGAIN);
	KUNIT_EXPECT_EQ(test, 0, err);
	KUNIT_EXPECT_EQ(test, left, 0);
	KUNIT_EXPECT_GE(test, calls, 10);
	KUNIT_EXPECT_EQ(test, -ENOENT, flush_object(f, 0, EPH, 1));
}

static void cap_is_hard(struct kunit *test)
{
	struct fixture *f = test->priv;
	u64 bytes = 200 * PAGE_SIZE;
	int i, held;

	tme_client_set_cap(&f->client[0], 200);
	for (i = 0; i < 400; i++) {
		KUNIT_EXPECT_EQ(test, 0, put(f, 0, EPH, 1, i, i, NOISE));
		KUNIT_EXPECT_LE(test, stats(test, 0).used_bytes, bytes);
	}
	KUNIT_EXPECT_GT(test, stats(test, 0).eph_pages, 150);
	/* Persistent pages push them out, then are refused */
	for (held = 0; !put(f, 0, PERS, 1, held, held, NOISE); held++) {
		KUNIT_EXPECT_LE(test, stats(test, 0).used_bytes, bytes);
		KUNIT_ASSERT_LT(test, held, 200);
	}
	KUNIT_EXPECT_GT(test, held, 150);
	KUNIT_EXPECT_EQ(test, stats(test, 0).eph_pages, 0);
	for (i = 0; i < held; i++)
		KUNIT_EXPECT_EQ(test, 0, get(f, 0, PERS, 1, i, i, NOISE));
	KUNIT_EXPECT_EQ(test, -ENOENT, get(f, 0, PERS, 1, i, i, NOISE));
}

static void evicts_the_right_client(struct kunit *test)
{
	struct fixture *f = test->priv;
	int i;

	for (i = 0; i < 300; i++) {
		KUNIT_EXPECT_EQ(test, 0, put(f, 0, EPH, i % 5, i, i, SAME));
		KUNIT_EXPECT_EQ(test, 0, put(f, 0, PERS, i % 5, i, i, SAME));
		if (i < 100)
			KUNIT_EXPECT_EQ(test, 0,
					put(f, 1, EPH, i % 5, i, i, SAME));
	}
	KUNIT_EXPECT_EQ(test, tme_evictable(&f->host), 400);
	for (i = 0; i < 100; )
		i += tme_evict(&f->host, 100 - i, NULL);
	KUNIT_EXPECT_EQ(test, stats(test, 1).eph_pages, 100);
	/* In the order of their puts */
	for (i = 0; i < 300; i++) {
		KUNIT_EXPECT_EQ(test, i < 100 ? -ENOENT : 0,
				get(f, 0, EPH, i % 5, i, i, SAME));
		KUNIT_EXPECT_EQ(test, 0, get(f, 0, PERS, i % 5, i, i, SAME));
	}
}

static struct kunit_case engine_cases[] = {
	KUNIT_CASE(put_get_flush),
	KUNIT_CASE(duplicate_put_replaces),
	KUNIT_CASE(failed_put_removes_old),
	KUNIT_CASE(same_filled_and_compressed),
	KUNIT_CASE(index_extremes),
	KUNIT_CASE(hash_growth),
	KUNIT_CASE(pool_ids),
	KUNIT_CASE(bounded_calls),
	KUNIT_CASE(cap_is_hard),
	KUNIT_CASE(evicts_the_right_client),
	{}
};

static struct kunit_suite engine_suite = {
	.name = "tmem_engine",
	.init = engine_test_init,
	.exit = engine_test_exit,
	.test_cases = engine_cases,
};

kunit_test_suite(engine_suite);

MODULE_DESCRIPTION("KUnit tests of the transcendent memory engine");
MODULE_LICENSE("GPL");
