// SPDX-License-Identifier: GPL-2.0
/*
 * tmem engine: tests of whose page is evicted, and which.
 */
#include <time.h>
#include <unistd.h>
#include "test.h"

static void evicts_the_right_client(void)
{
	const u64 limit = 1024;
	u64 i, n;

	setup();
	tme_host_set_limit(&host, limit);
	for (i = 0; i < 300; i++)
		CHECK(!put(&B, 0, i, 0, i, NOISE));
	/* A takes the rest and then evicts from itself only */
	for (i = 0; i < 2000; i++)
		CHECK(!put(&A, 0, i, 0, i, NOISE));
	CHECK(stats(&B).eph_pages == 300);
	n = stats(&A).eph_pages;
	CHECK(n > 600 && n + 300 < limit);
	/* B grows at the expense of A, until they have the same */
	for (i = 300; i < 2000; i++)
		CHECK(!put(&B, 0, i, 0, i, NOISE));
	n = stats(&B).eph_pages - stats(&A).eph_pages;
	CHECK(n + 40 <= 80);
	CHECK(stats(&B).used_bytes + stats(&A).used_bytes <=
	      limit * PAGE_SIZE);
	/* persistent pages push out all ephemeral ones of other clients */
	for (i = 0; !put(&B, 1, i, 0, i, NOISE); i++)
		CHECK(i < limit);
	CHECK(i > limit * 9 / 10);
	CHECK(stats(&A).eph_pages + stats(&B).eph_pages == 0);
	CHECK(stats(&B).pers_pages == i);
	/* what A still puts takes the place of its own pages */
	for (n = 0; n < 100; n++)
		put(&A, 0, n, 1, n, NOISE);
	CHECK(stats(&A).eph_pages <= 16);
	CHECK(stats(&B).pers_pages == i);
	CHECK(stats(&B).used_bytes + stats(&A).used_bytes <=
	      limit * PAGE_SIZE);
	while (i--)
		CHECK(!get(&B, 1, i, 0, i, NOISE));
	teardown();
}

/*
 * Pages that repeat a word take next to nothing.  A client that has many of
 * them is not the one to evict from.  Where they are the oldest, many of them
 * have to go to make room: no put may fail for that.
 */
static void tiny_pages_starve_nobody(void)
{
	const u64 limit = 2000, tiny = 40000;
	u64 i, n, bytes;
	long freed = 0;

	setup();
	tme_host_set_limit(&host, limit);
	for (n = 0; n < tiny; n++)
		CHECK(!put(&A, 0, n / 64, n % 64, n, SAME));
	for (i = 0; i < 1200; i++)
		CHECK(!put(&B, 0, i / 64, i % 64, i, NOISE));
	for (i = 0; i < 800; i++) {
		CHECK(!put(&B, 1, i / 64, i % 64, i, NOISE));
		CHECK(!put(&A, 0, n / 64, n % 64, n, SAME));
		n++;
	}
	CHECK(stats(&A).eph_pages == n);
	CHECK(stats(&B).evicted > 400);

	/* A has to evict its own oldest, for B has no page that could go */
	for (i = 0; i < 1200 / 64 + 1; i++)
		flush_object(&B, 0, i);
	for (i = 0; i < 900; i++)
		CHECK(!put(&A, 1, i / 64, i % 64, i, NOISE));
	for (i = 0; i < 900; i++)
		CHECK(!get(&A, 1, i / 64, i % 64, i, NOISE));

	/* what eviction says that it gave back is free again */
	bytes = stats(&A).used_bytes;
	n = tme_evict(&host, 1000, &freed);
	CHECK(n && freed > 0);
	CHECK(bytes - stats(&A).used_bytes >= (u64)freed);
	CHECK(tme_client_frames(&A, true) ==
	      (stats(&A).pers_bytes + PAGE_SIZE - 1) / PAGE_SIZE);
	CHECK(stats(&A).pers_bytes > 900 * PAGE_SIZE &&
	      stats(&A).pers_bytes < 950 * PAGE_SIZE);
	teardown();
}

/*
 * Clients whose oldest pages give no memory, as if they lay scattered in slabs,
 * must not hide the one whose pages do.  But they are evicted from, too.
 */
static void dry_clients_hide_nobody(void)
{
	static struct tme_client C;
	long freed = 0;
	u64 i, n;

	setup();
	port_meta_free = true;
	CHECK(!tme_client_init(&host, &C));
	CHECK(tme_new_pool(&C, 0) == 0);
	for (i = 0; i < 10000; i++) {
		CHECK(!put(&A, 0, 0, i, i, SAME));
		CHECK(!put(&B, 0, 0, i, i, SAME));
	}
	for (i = 0; i < 600; i++) {
		CHECK(!put(&A, 0, 1, i, i, NOISE));
		CHECK(!put(&B, 0, 1, i, i, NOISE));
		if (i < 500)
			CHECK(!put(&C, 0, 1, i, i, NOISE));
	}
	CHECK(tme_evict(&host, 96, &freed) == 96);
	CHECK(freed == 32 * (long)PAGE_SIZE);
	n = stats(&C).evicted;
	CHECK(n == 32);
	CHECK(tme_evict(&host, 960, &freed) == 960);
	n = stats(&C).evicted;
	CHECK(n == 352);
	CHECK(stats(&A).evicted == 352 && stats(&B).evicted == 352);
	/* no other client is left: evict what gives nothing, then the rest */
	while (flush_object(&C, 0, 1) == -EAGAIN)
		;
	freed = 0;
	CHECK(tme_evict(&host, 19500, &freed) == 19500);
	CHECK(freed > 0);
	destroy(&C);
	destroy(&A);
	destroy(&B);
	tme_host_destroy(&host);
	port_meta_free = false;
}

/* Memory is shared in proportion to weights, not to puts */
static void weights_share_memory(void)
{
	const u64 limit = 4096;
	u64 i, a, b;

	setup();
	tme_host_set_limit(&host, limit);
	tme_client_set_weight(&A, 50);
	tme_client_set_weight(&B, 150);
	for (i = 0; i < 40000; i++) {
		CHECK(!put(&A, 0, i / 64, i % 64, i, NOISE));
		if (i % 4 == 0)
			CHECK(!put(&B, 0, i / 64, i % 64, i, NOISE));
	}
	a = eph_bytes(&A);
	b = eph_bytes(&B);
	CHECK(a + b > (limit - 40) * PAGE_SIZE);
	CHECK(b * 100 > a * 297 && b * 100 < a * 303);
	/* and again after the weights have changed */
	tme_client_set_weight(&A, 150);
	tme_client_set_weight(&B, 50);
	for (i = 0; i < 20000; i++) {
		CHECK(!put(&A, 0, i / 64, i % 64, i, NOISE));
		CHECK(!put(&B, 0, i / 64, i % 64, i, NOISE));
	}
	CHECK(eph_bytes(&A) * 100 > eph_bytes(&B) * 297);
	teardown();
}

/* No other client takes a client's minimum, but its own puts go on */
static void minimum_is_kept(void)
{
	u64 i, n;

	setup();
	tme_host_set_limit(&host, 1000);
	tme_client_set_min(&A, 300);
	tme_client_set_weight(&A, 1);
	for (i = 0; i < 800; i++)
		CHECK(!put(&A, 0, i / 64, i % 64, i, NOISE));
	for (i = 0; i < 5000; i++)
		CHECK(!put(&B, 0, i / 64, i % 64, i, NOISE));
	n = eph_bytes(&A) / PAGE_SIZE;
	CHECK(n >= 299 && n <= 302);
	/* ... and it does not count as freeable */
	CHECK(tme_freeable(&host) <= n - 300 + eph_bytes(&B) / PAGE_SIZE);
	CHECK(tme_freeable(&host) >= 650);
	for (i = 0; !put(&B, 1, i / 64, i % 64, i, NOISE); i++)
		;
	CHECK(i > 600 && i < 700);
	CHECK(eph_bytes(&A) / PAGE_SIZE >= 299);
	CHECK(tme_evict(&host, 1000, NULL) <= 1);
	/* its own puts go on, in the place of its own pages */
	for (i = n = 0; i < 100; i++)
		n += !put(&A, 0, 1000, i, i, NOISE);
	CHECK(n > 90);
	CHECK(eph_bytes(&A) / PAGE_SIZE >= 299);
	CHECK(eph_bytes(&A) / PAGE_SIZE <= 310);
	tme_client_set_min(&A, 0);
	for (i = 0; i < 100; i++)
		CHECK(!put(&A, 0, 1000, i, i, NOISE));
	teardown();
}

static void evict_order(void)
{
	u64 i;

	setup();
	for (i = 0; i < 1000; i++) {
		CHECK(!put(&A, 0, i % 10, i, i, TEXT));
		CHECK(!put(&A, 1, i % 10, i, i, TEXT));
		if (i < 400)
			CHECK(!put(&B, 0, i % 10, i, i, TEXT));
	}
	CHECK(tme_evictable(&host) == 1400);
	CHECK(tme_evict(&host, 0, NULL) == 0);
	CHECK(tme_evict(&host, 1, NULL) == 1);
	/* a page that is put again moves to the end */
	CHECK(!put(&A, 0, 1, 1, 1001, TEXT));
	CHECK(tme_evict(&host, 498, NULL) == 498);
	CHECK(stats(&A).evicted == 499 && stats(&B).evicted == 0);
	for (i = 0; i < 1000; i++) {
		CHECK(!get(&A, 1, i % 10, i, i, TEXT));
		CHECK(get(&A, 0, i % 10, i, i == 1 ? 1001 : i, TEXT) ==
		      (i >= 500 || i == 1 ? 0 : -ENOENT));
	}
	/* the last ones, then none */
	CHECK(tme_evict(&host, 1000, NULL) == 400);
	CHECK(tme_evict(&host, 1000, NULL) == 0);
	CHECK(tme_evictable(&host) == 0);
	for (i = 0; i < 100; i++)
		CHECK(!put(&A, 0, 0, i, i, SAME));
	port_stop = stop_always;
	CHECK(tme_evict(&host, 100, NULL) == 32);
	port_stop = NULL;
	teardown();
}

static int reading;		/* 1: a reader waits here; 2: it may go on */

static void read_slowly(void)
{
	__atomic_store_n(&reading, 1, __ATOMIC_SEQ_CST);
	while (__atomic_load_n(&reading, __ATOMIC_SEQ_CST) == 1)
		sched_yield();
}

static void *t_slow_reader(void *arg)
{
	CHECK(!get(&A, 2, 1, 1, 1, TEXT));
	return NULL;
}

static void *t_evict_one(void *arg)
{
	*(unsigned long *)arg = tme_evict(&host, 1, NULL);
	return NULL;
}

/* A client that keeps using a shard does not keep its pages */
static void busy_shard_is_waited_for(void)
{
	pthread_t reader, evictor;
	unsigned long evicted;

	setup();
	CHECK(tme_new_pool(&A, TME_POOL_SHARED) == 2);
	tme_client_set_compress(&A, true);
	CHECK(!put(&A, 2, 1, 1, 1, TEXT));
	reading = 0;
	port_reading = read_slowly;
	pthread_create(&reader, NULL, t_slow_reader, NULL);
	while (!__atomic_load_n(&reading, __ATOMIC_SEQ_CST))
		sched_yield();
	pthread_create(&evictor, NULL, t_evict_one, &evicted);
	usleep(20000);
	__atomic_store_n(&reading, 2, __ATOMIC_SEQ_CST);
	pthread_join(reader, NULL);
	pthread_join(evictor, NULL);
	port_reading = NULL;
	CHECK(evicted == 1);
	CHECK(get(&A, 2, 1, 1, 1, TEXT) == -ENOENT);
	teardown();
}

static void *t_keeps_busy(void *arg)
{
	static const u64 oid[3] = { 1, 0, ~1ull };

	while (__atomic_load_n((int *)arg, __ATOMIC_ACQUIRE))
		CHECK(tme_lookup(&A, 0, oid, 1 << 20) == -ENOENT);
	return NULL;
}

/* A client whose shard is never free for long loses pages as any other */
static void busy_client_is_evicted(void)
{
	pthread_t thread[4];
	int busy = 1, i, got = 0;

	setup();
	for (i = 0; i < 2000; i++)
		CHECK(!put(&A, 0, 1, i, i, SAME));
	CHECK(!put(&B, 0, 1, 1, 1, SAME));
	for (i = 0; i < 4; i++)
		pthread_create(&thread[i], NULL, t_keeps_busy, &busy);
	for (i = 0; i < 1000; i++)
		got += tme_evict(&host, 1, NULL);
	__atomic_store_n(&busy, 0, __ATOMIC_RELEASE);
	for (i = 0; i < 4; i++)
		pthread_join(thread[i], NULL);
	CHECK(got == 1000);
	CHECK(stats(&A).evicted == 1000);
	teardown();
}

/* Whatever its weight, a client's pages can be evicted */
static void weight_hides_no_memory(void)
{
	u64 i;

	setup();
	tme_client_set_weight(&A, UINT_MAX);
	for (i = 0; i < 100; i++)
		CHECK(!put(&A, 0, 0, i, i, NOISE));
	CHECK(tme_evict(&host, 40, NULL) == 40);
	/* ... and it does not rank with dry clients */
	for (i = 0; i < 100; i++)
		CHECK(!put(&B, 0, 0, i, i, SAME));
	tme_host_set_limit(&host, 100);
	for (i = 0; i < 100; i++)
		CHECK(!put(&B, 1, 0, i, i, NOISE) || i > 60);
	CHECK(stats(&A).eph_pages == 0);
	teardown();
}

static volatile unsigned long sink;

static void ask_freeable(struct tme_client *c, int n)
{
	sink += tme_freeable(&host);
}

static page_t noise;

static void put_at_limit(struct tme_client *c, int n)
{
	u64 oid[3] = { 1 };

	CHECK(!tme_put(&c[0], 0, oid, n, &noise));
}

static void put_in_vain(struct tme_client *c, int n)
{
	CHECK(put(&c[0], 1, n / 64, n % 64, n, NOISE));
}

/* How often it reads a counter, in a hundred calls */
static unsigned long reads_of(void (*func)(struct tme_client *c, int n),
			      struct tme_client *c, int n)
{
	unsigned long before = port_reads;
	int i;

	for (i = 0; i < n; i++)
		func(c, i);
	return (port_reads - before) * 100 / n;
}

/*
 * Nothing that is done often looks at all clients: neither tme_freeable(),
 * which the heap calls under its lock, nor a put at the limit, nor one that
 * finds nothing to evict.  If they did, the factors would be hundreds.
 */
#define MANY	1000

static void clients_cost_nothing(void)
{
	static const int nr[2] = { 2, MANY };
	unsigned long ask[2], full[2], vain[2];
	struct tme_client *c;
	int i, n;

	fill(&noise, 1, NOISE);
	for (i = 0; i < 2; i++) {
		CHECK(!tme_host_init(&host));
		c = many_clients(nr[i]);
		for (n = 0; n < nr[i]; n++)
			CHECK(!put(&c[n], 0, 1, 1, n, NOISE));
		for (n = 0; n < 4000; n++)
			CHECK(!put(&c[0], 0, n / 64, n % 64, n, NOISE));
		ask[i] = reads_of(ask_freeable, c, 1000);
		/* as much as they have, and a little more */
		tme_host_set_limit(&host, host_frames() + 4);
		full[i] = reads_of(put_at_limit, c, 18000);
		tme_host_set_limit(&host, 10);
		for (n = 0; n < nr[i]; n++)
			tme_client_set_min(&c[n], 100000);
		put(&c[0], 1, 0, 0, 0, NOISE);
		vain[i] = reads_of(put_in_vain, c, 18000);
		destroy_many(c, nr[i]);
		tme_host_destroy(&host);
	}
	printf("# %d and %d clients, reads in 100 calls: freeable %lu, %lu, ",
	       nr[0], nr[1], ask[0], ask[1]);
	printf("put %lu, %lu, in vain %lu, %lu\n", full[0], full[1], vain[0],
	       vain[1]);
	CHECK(ask[0] && full[0] && vain[0]);
	CHECK(ask[1] <= ask[0]);
	CHECK(full[1] <= 2 * full[0]);
	CHECK(vain[1] <= 2 * vain[0]);
}

/*
 * A put's search that was in vain does not hide pages from tme_evict(): neither
 * a client's first page, nor one that takes it over its minimum without taking
 * a chunk more, of which the host does not know
 */
static void last_page_is_found(void)
{
	struct tme_client *c;
	int i, minimum;

	CHECK(!tme_host_init(&host));
	c = many_clients(20);
	for (minimum = 0; minimum < 2; minimum++) {
		for (i = 0; i < 20 && minimum; i++) {
			CHECK(!put(&c[i], 0, 1, 1, 1, NOISE));
			CHECK(!put(&c[i], 0, 1, 2, 2, NOISE));
			tme_client_set_min(&c[i],
					   tme_client_frames(&c[i], false));
		}
		for (i = 0; i < 20; i++) {
			tme_host_set_limit(&host, 10);
			CHECK(put(&c[0], 1, 1, 1, 1, NOISE));
			tme_host_set_limit(&host, ULONG_MAX);
			CHECK(host.barren);
			CHECK(!put(&c[i], 0, 1, 3, 3, NOISE));
			CHECK(!minimum || !put(&c[i], 0, 1, 4, 4, NOISE));
			CHECK(host.barren == minimum);
			CHECK(tme_evict(&host, 1, NULL) == 1);
			CHECK(tme_evict(&host, 1, NULL) == 0);
		}
	}
	destroy_many(c, 20);
	tme_host_destroy(&host);
}

#define SHARERS		16

static struct tme_client *sharers;

static void *t_sharer(void *arg)
{
	struct tme_client *client = &sharers[(long)arg];
	u64 oid[3] = { 1 }, seed;
	page_t page;
	u32 n;

	for (n = 0; n < 12000; n++) {
		seed = (u64)(long)arg << 32 | n;
		fill(&page, seed, NOISE);
		CHECK(!tme_put(client, 0, oid, n, &page));
		sched_yield();
	}
	return NULL;
}

/*
 * Weights hold with as many CPUs as there are clients, too, and against one
 * that does nothing but have much
 */
static void weights_hold_for_threads(void)
{
	const u64 limit = 16384;
	pthread_t thread[SHARERS];
	u64 hog, light = 0, heavy = 0, fair;
	long i;

	CHECK(!tme_host_init(&host));
	tme_host_set_limit(&host, limit);
	sharers = many_clients(SHARERS + 1);
	for (i = 0; i < SHARERS; i++)
		tme_client_set_weight(&sharers[i], i % 2 ? 300 : 100);
	for (i = 0; i < (long)limit; i++)
		CHECK(!put(&sharers[SHARERS], 0, i / 64, i % 64, i, NOISE));
	for (i = 0; i < SHARERS; i++)
		pthread_create(&thread[i], NULL, t_sharer, (void *)i);
	for (i = 0; i < SHARERS; i++)
		pthread_join(thread[i], NULL);
	hog = eph_bytes(&sharers[SHARERS]) / PAGE_SIZE;
	for (i = 0; i < SHARERS; i++)
		*(i % 2 ? &heavy : &light) +=
			eph_bytes(&sharers[i]) / PAGE_SIZE;
	fair = (light + heavy + hog) / (SHARERS / 2 * 4 + 1);
	printf("# of %lu: %lu light, %lu heavy, %lu idle, whose share is %lu\n",
	       limit, light, heavy, hog, fair);
	CHECK(light + heavy + hog > limit * 9 / 10);
	CHECK(hog * 10 <= fair * 11);
	CHECK(heavy * 10 >= light * 27 && heavy * 10 <= light * 33);
	destroy_many(sharers, SHARERS + 1);
	tme_host_destroy(&host);
}

/* A put that cannot choose, as another is choosing, takes the last victim */
static void busy_host_has_a_victim(void)
{
	u64 i;

	setup();
	for (i = 0; i < 1000; i++)
		CHECK(!put(&A, 0, 0, i, i, NOISE));
	tme_host_set_limit(&host, host_frames());
	for (i = 0; i < 16; i++)
		CHECK(!put(&B, 1, 0, i, i, NOISE));
	spin_lock(&host.lock);
	for (; i < 400; i++)
		CHECK(!put(&B, 1, 0, i, i, NOISE));
	/* ... unless the client that puts has more */
	for (i = 0; i < 600; i++)
		CHECK(!put(&B, 0, 0, i, i, NOISE));
	spin_unlock(&host.lock);
	CHECK(stats(&B).eph_pages + 32 >= stats(&A).eph_pages);
	CHECK(stats(&B).eph_pages <= stats(&A).eph_pages + 32);
	CHECK(stats(&B).pers_pages == 400);
	teardown();
}

static void *t_persistent(void *arg)
{
	struct tme_client *client = &sharers[(long)arg];
	u64 oid[3] = { 1 };
	page_t page;
	u32 n;

	fill(&page, (long)arg, NOISE);
	for (n = 0; n < 300; n++) {
		CHECK(!tme_put(client, 1, oid, n, &page));
		sched_yield();
	}
	return NULL;
}

/* As long as any client has a page to evict, no put fails */
static void puts_find_who_has_pages(void)
{
	pthread_t thread[SHARERS];
	struct tme_client *rich;
	long i;

	CHECK(!tme_host_init(&host));
	sharers = many_clients(SHARERS + 200);
	rich = &sharers[SHARERS + 100];
	for (i = 0; i < SHARERS; i++) {
		tme_client_set_min(&sharers[i], i % 2 * 1000);
		CHECK(!put(&sharers[i], 0, 1, 1, 1, NOISE));
	}
	for (i = 0; i < 7000; i++)
		CHECK(!put(rich, 0, i / 64, i % 64, i, NOISE));
	tme_host_set_limit(&host, host_frames());
	for (i = 0; i < SHARERS; i++)
		pthread_create(&thread[i], NULL, t_persistent, (void *)i);
	for (i = 0; i < SHARERS; i++)
		pthread_join(thread[i], NULL);
	for (i = 0; i < SHARERS; i++)
		CHECK(stats(&sharers[i]).pers_pages == 300);
	destroy_many(sharers, SHARERS + 200);
	tme_host_destroy(&host);
}

const struct test evict_tests[] = {
	T(evicts_the_right_client),
	T(tiny_pages_starve_nobody),
	T(dry_clients_hide_nobody),
	T(weights_share_memory),
	T(minimum_is_kept),
	T(evict_order),
	T(busy_shard_is_waited_for),
	T(busy_client_is_evicted),
	T(weight_hides_no_memory),
	T(clients_cost_nothing),
	T(last_page_is_found),
	T(weights_hold_for_threads),
	T(busy_host_has_a_victim),
	T(puts_find_who_has_pages),
	{}
};
