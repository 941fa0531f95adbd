// SPDX-License-Identifier: GPL-2.0
/*
 * tmem engine: tests of pools and clients come and go, and calls are bounded.
 */
#include "test.h"

static void failed_init(void)
{
	int i;

	CHECK(!tme_host_init(&host));
	port_fail_at = port_allocs + 1;
	CHECK(tme_client_init(&host, &A) == -ENOMEM);
	port_fail_at = 0;
	CHECK(!tme_client_init(&host, &A));
	for (i = 0; i < 3; i++) {
		port_fail_at = port_allocs + 1;
		CHECK(tme_new_pool(&A, 0) == -ENOMEM);
		port_fail_at = 0;
	}
	tme_client_set_cap(&A, 1);
	CHECK(tme_new_pool(&A, 0) == -EDQUOT);
	tme_client_set_cap(&A, ULONG_MAX);
	CHECK(stats(&A).used_bytes == 0);
	CHECK(tme_new_pool(&A, 0) == 0);
	destroy(&A);
	tme_host_destroy(&host);
}

static void pool_ids(void)
{
	static const u32 hostile[] = {
		2, 15, 16, 17, 0x7fffffff, 0x80000000, -1u, -2u, -16u, 0x10001,
	};
	unsigned int i;
	u32 flags;
	int id;

	setup();
	for (i = 0; i < sizeof(hostile) / sizeof(*hostile); i++) {
		u32 p = hostile[i];

		CHECK(put(&A, p, 1, 1, 1, SAME) == -EINVAL);
		CHECK(get(&A, p, 1, 1, 1, SAME) == -EINVAL);
		CHECK(flush(&A, p, 1, 1) == -EINVAL);
		CHECK(flush_object(&A, p, 1) == -EINVAL);
		CHECK(tme_destroy_pool(&A, p) == -EINVAL);
	}
	for (flags = 2; flags; flags <<= 1) {
		CHECK(flags == 2 || tme_new_pool(&A, flags) == -EINVAL);
		CHECK(tme_new_pool(&A, flags | 1) == -EINVAL);
	}
	for (id = 2; id < TME_MAX_POOLS; id++)
		CHECK(tme_new_pool(&A, id & 1) == id);
	CHECK(tme_new_pool(&A, 0) == -ENOSPC);
	CHECK(tme_new_pool(&A, 1) == -ENOSPC);
	/* an id that is used again shows nothing of its past */
	for (i = 0; i < 100; i++) {
		id = rnd() % TME_MAX_POOLS;
		CHECK(!put(&A, id, 1, 1, 1, NOISE));
		CHECK(!put(&A, id, 2, 1, 1, NOISE));
		destroy_pool(&A, id);
		CHECK(put(&A, id, 1, 1, 1, SAME) == -EINVAL);
		CHECK(get(&A, id, 1, 1, 1, NOISE) == -EINVAL);
		CHECK(tme_destroy_pool(&A, id) == -EINVAL);
		CHECK(tme_new_pool(&A, i & 1) == id);
		CHECK(get(&A, id, 1, 1, 1, NOISE) == -ENOENT);
		CHECK(!put(&A, id, 1, 1, 2, NOISE));
		CHECK(!get(&A, id, 1, 1, 2, NOISE));
		CHECK(get(&A, id, 1, 1, 2, NOISE) == (i & 1 ? 0 : -ENOENT));
	}
	teardown();
}

/* Each call does something, none does much */
static void bounded_calls(void)
{
	static const u64 oid[3] = { 1, 0, ~1ull };
	const u64 n = 20000;
	u64 left, i;
	int what, pool, stop, err;

	for (what = 0; what < 3; what++) {
		for (stop = 0; stop < 2; stop++) {
			u64 most = stop ? 32 : 512 + 31;

			setup();
			pool = stop;
			for (i = 0; i < n; i++)
				CHECK(!put(&A, pool, what == 1 ? i : 1,
					   what == 1 ? 0 : i, i, SAME));
			port_stop = stop ? stop_always : NULL;
			stops = 0;
			left = n;
			do {
				struct tme_stats st;

				err = what == 0 ?
					tme_flush_object(&A, pool, oid) :
				      what == 1 ? tme_destroy_pool(&A, pool) :
						  tme_client_destroy(&A);
				if (what == 2 && !err)
					break;
				st = stats(&A);
				i = left - st.eph_pages - st.pers_pages;
				CHECK(i <= most && (i || !err));
				left -= i;
			} while (err == -EAGAIN && !failures);
			CHECK(!err);
			CHECK(what == 2 ? left <= most : !left);
			CHECK(!stop || stops >= (int)(n / 32) - 1);
			port_stop = NULL;
			if (what == 2)
				CHECK(!tme_client_init(&host, &A));
			teardown();
		}
	}
}

/* While a pool is dying no call finds it, and its id is not given out */
static void dying_pool(void)
{
	u64 i;

	setup();
	for (i = 0; i < 200; i++)
		CHECK(!put(&A, 1, i, 0, i, TEXT));
	port_stop = stop_always;
	CHECK(tme_destroy_pool(&A, 1) == -EAGAIN);
	port_stop = NULL;
	for (i = 0; i < 200; i++) {
		CHECK(get(&A, 1, i, 0, i, TEXT) == -EINVAL);
		CHECK(put(&A, 1, i, 0, i, TEXT) == -EINVAL);
		CHECK(flush(&A, 1, i, 0) == -EINVAL);
	}
	CHECK(tme_new_pool(&A, 0) == 2);
	destroy_pool(&A, 1);
	CHECK(tme_new_pool(&A, 0) == 1);
	CHECK(stats(&A).pers_pages == 0);
	teardown();
}

/*
 * Threads: four workers on two clients, and one thread each that evicts, that
 * makes and destroys pools, and that reads the numbers.  A page holds its
 * handle and a number k of the put, from which all its bytes follow.  In pool
 * 1, which is persistent, each worker has an object to itself, beside those of
 * the others, and knows what is in it.
 */
#define T_WORKERS	4
#define T_OPS		60000
#define T_OIDS		24
#define T_INDEXES	8
#define T_CONTENTS	9u

static struct tme_client t_client[2];
static int t_running;

static u64 t_seed(int c, int p, int o, u32 idx, u32 n)
{
	return (u64)c << 60 | (u64)p << 56 | (u64)o << 48 |
	       (u64)(idx & 0xff) << 40 | n;
}

/* A handle, and what its only user has put there: 0 if nothing, else k + 1 */
struct t_handle {
	int c, p, o;
	u32 idx;
	int *mine;		/* NULL: other threads use it, too */
};

/* Does the page hold some put to this handle? */
static bool t_is(const page_t *page, const struct t_handle *h)
{
	u64 seed = page_seed(page);
	u32 k = seed & 0xff;

	return k < T_CONTENTS && seed == t_seed(h->c, h->p, h->o, h->idx, k) &&
	       is(page, seed, k % KINDS);
}

static void t_put(const struct t_handle *h, u32 k)
{
	int err = put(&t_client[h->c], h->p, h->o, h->idx,
		      t_seed(h->c, h->p, h->o, h->idx, k), k % KINDS);

	CHECK(!err || err == -ENOMEM || err == -EDQUOT || err == -ENOSPC ||
	      (h->p == 2 && err == -EINVAL));
	if (h->mine)
		*h->mine = err ? 0 : k + 1;
}

/* Return: was a page there? */
static bool t_get(const struct t_handle *h)
{
	u64 oid[3] = { h->o, 0, ~(u64)h->o };
	page_t page;
	int err = tme_get(&t_client[h->c], h->p, oid, h->idx, &page);

	CHECK(!err || err == -ENOENT || (h->p == 2 && err == -EINVAL));
	CHECK(err || t_is(&page, h));
	if (h->mine) {
		u32 k = *h->mine - 1;

		CHECK(!err == !!*h->mine);
		CHECK(err || is(&page, t_seed(h->c, h->p, h->o, h->idx, k),
				k % KINDS));
	}
	return !err;
}

static void t_flush(const struct t_handle *h)
{
	int err = flush(&t_client[h->c], h->p, h->o, h->idx);

	if (h->mine) {
		CHECK(!err == !!*h->mine);
		*h->mine = 0;
	}
}

static void t_flush_object(const struct t_handle *h)
{
	u64 oid[3] = { h->o, 0, ~(u64)h->o };
	int err = tme_flush_object(&t_client[h->c], h->p, oid);

	CHECK(err != -EAGAIN || h->p == 2);
	if (h->mine)
		memset(h->mine - h->idx, 0, T_INDEXES * sizeof(*h->mine));
}

static void *t_worker(void *arg)
{
	int id = (long)arg, n;
	u64 x = id * 77777 + 1, hits = 0;
	int mine[2][T_INDEXES] = { { 0 } };

	for (n = 1; n <= T_OPS; n++) {
		struct t_handle h;

		x = xorshift(x);
		h.c = x & 1;
		h.o = (x >> 8) % T_OIDS;
		h.idx = (x >> 16) % T_INDEXES;
		h.p = (x >> 32) % 8 ? (x >> 40) & 1 : 2;
		h.mine = NULL;
		if (h.p == 1) {
			h.o = 100 + id;
			h.mine = &mine[h.c][h.idx];
		}
		switch ((x >> 48) % 8) {
		case 0 ... 3:
			t_put(&h, (x >> 24) % T_CONTENTS);
			break;
		case 4 ... 5:
			hits += t_get(&h);
			break;
		case 6:
			t_flush(&h);
			break;
		case 7:
			if ((x >> 52) % 8 == 0)
				t_flush_object(&h);
			break;
		}
	}
	CHECK(hits > 1000);
	__atomic_sub_fetch(&t_running, 1, __ATOMIC_RELEASE);
	return NULL;
}

static void *t_evictor(void *arg)
{
	while (__atomic_load_n((int *)arg, __ATOMIC_ACQUIRE)) {
		tme_evict(&host, 5, NULL);
		sched_yield();
	}
	return NULL;
}

static void *t_pools(void *arg)
{
	int c, n, err;

	for (n = 0; __atomic_load_n(&t_running, __ATOMIC_ACQUIRE); n++) {
		c = n & 1;
		while ((err = tme_destroy_pool(&t_client[c], 2)) == -EAGAIN)
			;
		CHECK(!err);
		while ((err = tme_new_pool(&t_client[c], n >> 1 & 1)) < 0)
			CHECK(err == -ENOMEM || err == -EDQUOT);
		CHECK(err == 2);
		tme_client_set_compress(&t_client[c], n >> 2 & 1);
		sched_yield();
	}
	CHECK(n > 10);
	return NULL;
}

static void *t_stats(void *arg)
{
	struct tme_stats st;
	u64 n = 0;

	while (__atomic_load_n(&t_running, __ATOMIC_ACQUIRE)) {
		tme_client_stats(&t_client[n++ & 1], &st);
		/* each worker may be about to find that it has to evict */
		CHECK(st.used_bytes <= (320 + 8 * T_WORKERS) * PAGE_SIZE);
		sched_yield();
	}
	return NULL;
}

static void threads(void)
{
	pthread_t worker[T_WORKERS], evictor, pools, reader;
	int evicting = 1, c, p;
	u64 evicted = 0;
	long i;

	CHECK(!tme_host_init(&host));
	tme_host_set_limit(&host, 320);
	for (c = 0; c < 2; c++) {
		CHECK(!tme_client_init(&host, &t_client[c]));
		tme_client_set_cap(&t_client[c], c ? 128 : ULONG_MAX);
		for (p = 0; p < 3; p++)
			CHECK(tme_new_pool(&t_client[c], p & 1) == p);
	}
	t_running = T_WORKERS;
	for (i = 0; i < T_WORKERS; i++)
		pthread_create(&worker[i], NULL, t_worker, (void *)i);
	pthread_create(&pools, NULL, t_pools, NULL);
	pthread_create(&reader, NULL, t_stats, NULL);
	pthread_create(&evictor, NULL, t_evictor, &evicting);
	for (i = 0; i < T_WORKERS; i++)
		pthread_join(worker[i], NULL);
	pthread_join(pools, NULL);
	pthread_join(reader, NULL);

	/* the evictor still runs while its victims are destroyed */
	for (c = 0; c < 2; c++) {
		struct tme_stats st;

		for (i = 0; i < 200; i++)
			put(&t_client[c], 0, i, 0, i, NOISE);
		tme_client_stats(&t_client[c], &st);
		evicted += st.evicted;
		destroy(&t_client[c]);
	}
	__atomic_store_n(&evicting, 0, __ATOMIC_RELEASE);
	pthread_join(evictor, NULL);
	CHECK(evicted > 1000);
	tme_host_destroy(&host);
}

static int pool_lives;		/* of t_pool_life(), so far */

/* Make a pool, put to it, and destroy it, and one of the other thread */
static void pool_life(int n, bool wait)
{
	int err, seen;

	/* the other thread may have destroyed the one made here */
	err = tme_new_pool(&A, n & 1);
	CHECK(err == 2 || err == 3);
	/* Until it must have found the pool.  This orders no memory access */
	seen = READ_ONCE(pool_lives);
	while (wait && READ_ONCE(pool_lives) < seen + 4)
		sched_yield();
	put(&A, 2, n & 3, n, n, SAME);
	put(&A, 3, n & 3, n, n, SAME);
	tme_destroy_pool(&A, err);
	err = tme_destroy_pool(&A, 2 + (n >> 1 & 1));
	CHECK(!err || err == -EAGAIN || err == -EINVAL);
}

static void *t_pool_life(void *arg)
{
	while (READ_ONCE(*(int *)arg)) {
		pool_life(pool_lives, false);
		WRITE_ONCE(pool_lives, pool_lives + 1);
	}
	return NULL;
}

/* A thread that destroys a pool of another thread finds all of it made */
static void pools_come_and_go(void)
{
	pthread_t thread;
	int running = 1, n;

	setup();
	pthread_create(&thread, NULL, t_pool_life, &running);
	for (n = 0; n < 2000; n++)
		pool_life(n, n % 80 == 0);
	WRITE_ONCE(running, 0);
	pthread_join(thread, NULL);
	teardown();
}

static void *t_putter(void *arg)
{
	static const u64 oid[3];
	page_t page;
	u32 n;

	fill(&page, 1, NOISE);
	for (n = 0; __atomic_load_n((int *)arg, __ATOMIC_ACQUIRE); n++)
		tme_put(&A, 2, oid, n & 7, &page);
	return NULL;
}

/* How many pages A has, while it puts */
static u64 pages_of_a(void)
{
	struct tme_stats st;

	tme_client_stats(&A, &st);
	return st.eph_pages + st.pers_pages;
}

static int next_pool;		/* flags of the pool to come; -1: none comes */

static void change_pool(void)
{
	port_writing = NULL;
	destroy_pool(&A, 2);
	if (next_pool >= 0)
		CHECK(tme_new_pool(&A, next_pool) == 2);
}

/*
 * A put whose pool is destroyed before it has copied the page leaves no page,
 * neither in a slot without a pool nor in a pool of the other kind
 */
static void put_knows_its_pool(void)
{
	int pers, comes;

	setup();
	tme_client_set_compress(&A, true);
	for (pers = 0; pers < 2; pers++) {
		for (comes = 0; comes < 2; comes++) {
			CHECK(tme_new_pool(&A, pers) == 2);
			next_pool = comes ? !pers : -1;
			port_writing = change_pool;
			CHECK(put(&A, 2, 1, 1, 1, TEXT) == -EINVAL);
			CHECK(!port_writing);
			CHECK(!pages_of_a());
			if (comes)
				destroy_pool(&A, 2);
		}
	}
	teardown();
}

/* The same with another thread: here the put may be anywhere */
static void pool_changes_beside_puts(void)
{
	pthread_t putter;
	int putting = 1, n;

	setup();
	CHECK(tme_new_pool(&A, 0) == 2);
	pthread_create(&putter, NULL, t_putter, &putting);
	for (n = 0; n < 20000 && !failures; n++) {
		destroy_pool(&A, 2);
		CHECK(!pages_of_a());
		CHECK(tme_new_pool(&A, n & 1) == 2);
		if (n & 1) {
			sched_yield();
			CHECK(!tme_evictable(&host));
		}
	}
	__atomic_store_n(&putting, 0, __ATOMIC_RELEASE);
	pthread_join(putter, NULL);
	teardown();
}

/* Clients come and go while others evict from them */
static void *t_client_life(void *arg)
{
	struct tme_client *client = malloc(sizeof(*client));
	int n, i, err;

	for (n = 0; n < 100; n++) {
		CHECK(!tme_client_init(&host, client));
		while ((err = tme_new_pool(client, 0)) == -ENOMEM)
			sched_yield();
		CHECK(!err);
		for (i = 0; i < 300; i++)
			CHECK(put(client, 0, i & 7, i, i, NOISE) != -EINVAL);
		destroy(client);
		/* the sanitizer, or a crash, tells if it is used now */
		memset(client, 0x5a, sizeof(*client));
	}
	free(client);
	__atomic_sub_fetch(&t_running, 1, __ATOMIC_RELEASE);
	return NULL;
}

static void clients_come_and_go(void)
{
	pthread_t thread[3], evictor;
	int evicting = 1;
	long i;

	CHECK(!tme_host_init(&host));
	tme_host_set_limit(&host, 512);
	for (i = 0; i < 3; i++)
		pthread_create(&thread[i], NULL, t_client_life, (void *)i);
	pthread_create(&evictor, NULL, t_evictor, &evicting);
	for (i = 0; i < 3; i++)
		pthread_join(thread[i], NULL);
	__atomic_store_n(&evicting, 0, __ATOMIC_RELEASE);
	pthread_join(evictor, NULL);
	tme_host_destroy(&host);
}

const struct test client_tests[] = {
	T(failed_init),
	T(pool_ids),
	T(bounded_calls),
	T(dying_pool),
	T(threads),
	T(pools_come_and_go),
	T(put_knows_its_pool),
	T(pool_changes_beside_puts),
	T(clients_come_and_go),
	{}
};
