// SPDX-License-Identifier: GPL-2.0
/*
 * tmem engine: its benchmark, at native speed.
 *
 * One row for each property that the engine is to have: what is wanted, what
 * was measured, PASS or MISS.  Rows without a target are there to be read.
 *
 * Method.  What is compared is measured in the same run, in turns, ROUNDS
 * times; the medians count.  Time is the thread's CPU time, so that a busy
 * machine disturbs less.  All memory is touched before it is measured and comes
 * in large pages, as in a kernel's direct map.  "Cold": each pass goes in
 * random order over N pages, several times what the caches hold, or the caches
 * are wiped before; each copy reads and writes memory.  The baseline of put +
 * get is a plain copy of each page to a random place of another such area, and
 * back.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include "engine.h"

#define ROUNDS	7
#define N	49152u			/* pages of a pass: 192 MiB */
#define OBJECT	1024u			/* pages of an object */
#define LARGE	3000000u
#define SMALL	10000u

static int misses;

static void row(const char *what, const char *target, bool pass,
		const char *fmt, ...)
{
	char measured[80];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(measured, sizeof(measured), fmt, ap);
	va_end(ap);
	printf("%-49s %-10s %-26s %s\n", what, target, measured,
	       !*target ? "" : pass ? "PASS" : "MISS");
	misses += *target && !pass;
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

static u64 rnd(void)
{
	static __thread u64 x = 88172645463325252ull;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return x;
}

static int cmp(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *v)
{
	qsort(v, ROUNDS, sizeof(*v), cmp);
	return v[ROUNDS / 2];
}

/* What cannot be measured is no miss: say why, and end */
static void __attribute__((noreturn)) give_up(const char *fmt, ...)
{
	va_list ap;

	fflush(stdout);
	fprintf(stderr, "bench: ");
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "\n");
	exit(1);
}

static void *large_pages(size_t size)
{
	void *p = aligned_alloc(2ul << 20, (size + (2ul << 20) - 1) &
				~((2ul << 20) - 1));

	if (!p)
		give_up("no memory: %zu MiB more are needed", size >> 20);
	madvise(p, size, MADV_HUGEPAGE);
	return memset(p, 1, size);
}

static void fill(char *page, bool text)
{
	u64 *w = (u64 *)page;
	unsigned int i;

	for (i = 0; i < PAGE_SIZE / 8; i++)
		w[i] = text && i % 4 ? 0x6574207365676170 : rnd();
}

static u32 *permutation(u32 n)
{
	u32 *p = malloc(n * sizeof(*p));
	u32 i, j;

	for (i = 0; i < n; i++) {
		j = rnd() % (i + 1);
		p[i] = p[j];
		p[j] = i;
	}
	return p;
}

static struct tme_host host;

static void client_init(struct tme_client *client, u32 flags)
{
	if (tme_client_init(&host, client) || tme_new_pool(client, flags))
		give_up("no memory for a client and its pool");
}

static void client_destroy(struct tme_client *client)
{
	while (tme_client_destroy(client))
		;
}

static void put(struct tme_client *client, u64 o, u32 index, const void *src)
{
	u64 oid[3] = { o };
	int err = tme_put(client, 0, oid, index, src);

	if (err)
		give_up("page %u of object %lu: error %d", index,
			(unsigned long)o, -err);
}

static void get(struct tme_client *client, u64 o, u32 index, void *dst)
{
	u64 oid[3] = { o };

	if (tme_get(client, 0, oid, index, dst))
		give_up("page %u of object %lu is lost", index,
			(unsigned long)o);
}

/*
 * Put and get of N pages, against plain copies
 */

struct job {
	char *page, *store;		/* N pages each */
	u32 *order[3];			/* of puts, gets, places in the store */
	struct tme_client *client;
	u64 first;			/* object */
	pthread_barrier_t *start;
	double seconds;			/* for N times put and get */
};

static void job_init(struct job *job, struct tme_client *client, u64 first,
		     bool text)
{
	u32 i;

	job->page = large_pages(N * PAGE_SIZE);
	job->store = large_pages(N * PAGE_SIZE);
	for (i = 0; i < N; i++)
		fill(job->page + i * PAGE_SIZE, text);
	for (i = 0; i < 3; i++)
		job->order[i] = permutation(N);
	job->client = client;
	job->first = first;
	job->start = NULL;
}

static void job_free(struct job *job)
{
	int i;

	free(job->page);
	free(job->store);
	for (i = 0; i < 3; i++)
		free(job->order[i]);
}

static void run_engine(struct job *job)
{
	u32 i, j;

	for (i = 0; i < N; i++) {
		j = job->order[0][i];
		put(job->client, job->first + j / OBJECT, j % OBJECT,
		    job->page + j * PAGE_SIZE);
	}
	for (i = 0; i < N; i++) {
		j = job->order[1][i];
		get(job->client, job->first + j / OBJECT, j % OBJECT,
		    job->page + j * PAGE_SIZE);
	}
}

static void run_copies(struct job *job)
{
	u32 i, j;

	for (i = 0; i < N; i++) {
		j = job->order[0][i];
		memcpy(job->store + job->order[2][j] * PAGE_SIZE,
		       job->page + j * PAGE_SIZE, PAGE_SIZE);
	}
	for (i = 0; i < N; i++) {
		j = job->order[1][i];
		memcpy(job->page + j * PAGE_SIZE,
		       job->store + job->order[2][j] * PAGE_SIZE, PAGE_SIZE);
	}
}

static double timed(void (*run)(struct job *), struct job *job)
{
	double start = now();

	run(job);
	return now() - start;
}

static void put_get(void)
{
	static const struct {
		const char *what, *target;
		bool text, compress;
		u32 flags;
	} kind[] = {
		{ "put+get, incompressible pages, of two plain copies",
		  ">= 70 %", false, false, 0 },
		{ "  the same, persistent pool (get leaves the page)",
		  "", false, false, TME_POOL_PERSISTENT },
		{ "  the same, compression tried in vain",
		  "", false, true, 0 },
		{ "  compressible pages (LZ4 takes most of the time)",
		  "", true, true, 0 },
	};
	double plain[ROUNDS], engine[ROUNDS], p, e;
	struct tme_client client;
	struct job job;
	unsigned int k;
	int i;

	for (k = 0; k < sizeof(kind) / sizeof(*kind); k++) {
		client_init(&client, kind[k].flags);
		tme_client_set_compress(&client, kind[k].compress);
		job_init(&job, &client, 0, kind[k].text);
		run_engine(&job);
		for (i = 0; i < ROUNDS; i++) {
			plain[i] = timed(run_copies, &job);
			engine[i] = timed(run_engine, &job);
		}
		p = median(plain);
		e = median(engine);
		row(kind[k].what, kind[k].target, p / e >= .7,
		    "%3.0f %% (%.0f of %.0f ns)", 100 * p / e, p / N * 1e9,
		    e / N * 1e9);
		job_free(&job);
		client_destroy(&client);
	}
}

/*
 * Two threads against one
 */

static void *thread_engine(void *arg)
{
	struct job *job = arg;

	pthread_barrier_wait(job->start);
	job->seconds = timed(run_engine, job);
	return NULL;
}

static void *thread_copies(void *arg)
{
	struct job *job = arg;

	pthread_barrier_wait(job->start);
	job->seconds = timed(run_copies, job);
	return NULL;
}

/* Return: the time of the slower of @n threads */
static double run_threads(void *(*func)(void *), struct job *job, int n)
{
	pthread_barrier_t start;
	pthread_t thread[2];
	double most = 0;
	int i;

	pthread_barrier_init(&start, NULL, n);
	for (i = 0; i < n; i++) {
		job[i].start = &start;
		pthread_create(&thread[i], NULL, func, &job[i]);
	}
	for (i = 0; i < n; i++) {
		pthread_join(thread[i], NULL);
		if (job[i].seconds > most)
			most = job[i].seconds;
	}
	return most;
}

static void two_threads(void)
{
	static const char * const what[] = {
		"two threads, a client each, of one thread",
		"two threads, objects of one ephemeral pool",
		"two threads, objects of one persistent pool",
		"  two threads that only copy, of one",
	};
	double one[ROUNDS], two[ROUNDS], o, t;
	struct tme_client client[2];
	struct job job[2];
	int i, k;

	for (k = 0; k < 4; k++) {
		void *(*func)(void *) = k == 3 ? thread_copies : thread_engine;

		for (i = 0; i < 2; i++) {
			client_init(&client[i],
				    k == 2 ? TME_POOL_PERSISTENT : 0);
			job_init(&job[i], &client[k ? 0 : i], i * 1000000,
				 false);
		}
		run_threads(func, job, 2);
		for (i = 0; i < ROUNDS; i++) {
			one[i] = run_threads(func, job, 1);
			two[i] = run_threads(func, job, 2);
		}
		o = median(one);
		t = median(two);
		row(what[k], k == 3 ? "" : ">= 1.8x", 2 * o / t >= 1.8,
		    "%.2fx", 2 * o / t);
		for (i = 0; i < 2; i++) {
			job_free(&job[i]);
			client_destroy(&client[i]);
		}
	}
}

/*
 * Size
 */

static u64 meta(struct tme_client *client)
{
	struct tme_stats stats;

	tme_client_stats(client, &stats);
	return stats.meta_bytes;
}

#define WIPE	(128ul << 20)

/* Fill the caches with something else */
static void wipe(char *area)
{
	unsigned long i;

	for (i = 0; i < WIPE; i += 64)
		area[i]++;
}

/*
 * What 10^4 pages and what LARGE cost.  The caches are wiped before each BATCH
 * pages, which are taken in runs, as read-ahead does it, from random places.
 */
#define BATCH	1024u

struct churn {
	struct tme_client *client;	/* get and put each page; or ... */
	char *area;			/* ... copy it out and in */
	u32 n;				/* number of pages */
};

static double churn(const struct churn *churn, u32 run, char *page,
		    char *wiped)
{
	const int batches = 32;
	double start, total = 0;
	u32 b, i, j = 0;

	for (b = 0; b < batches; b++) {
		wipe(wiped);
		start = now();
		for (i = 0; i < BATCH; i++) {
			j = i % run ? j + 1 : rnd() % (churn->n - run);
			if (churn->client) {
				get(churn->client, j / OBJECT, j % OBJECT,
				    page);
				put(churn->client, j / OBJECT, j % OBJECT,
				    page);
			} else {
				memcpy(page, churn->area + j * PAGE_SIZE,
				       PAGE_SIZE);
				memcpy(churn->area + j * PAGE_SIZE, page,
				       PAGE_SIZE);
			}
		}
		total += now() - start;
	}
	return total / batches / BATCH * 1e9;
}

/* By how much does the larger size cost more? */
static void growth(const char *what, const char *target,
		   const struct churn churns[2], u32 run, char *page,
		   char *wiped)
{
	double cost[2][ROUNDS], small, large;
	int r, i;

	for (r = 0; r < ROUNDS; r++)
		for (i = 0; i < 2; i++)
			cost[i][r] = churn(&churns[i], run, page, wiped);
	small = median(cost[0]);
	large = median(cost[1]);
	row(what, target, large / small <= 1.5, "%.2fx (%.0f, %.0f ns)",
	    large / small, large, small);
}

/* Pages that can be had without swapping, the page cache's included */
static u64 pages_available(void)
{
	unsigned long kib = 0;
	char line[128];
	FILE *file = fopen("/proc/meminfo", "r");

	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, "MemAvailable: %lu", &kib) == 1)
			break;
	if (file)
		fclose(file);
	if (!kib)
		give_up("/proc/meminfo does not say what memory is available");
	return kib / (PAGE_SIZE / 1024);
}

/* The smallest size at which growth and eviction are worth measuring */
#define LEAST	1000000u

static u32 pages_that_fit(void)
{
	u64 fit = pages_available() * 9 / 10;

	if (fit > LARGE)
		return LARGE;
	if (fit < LEAST)
		give_up("%lu MiB of memory are available, %lu are needed",
			(unsigned long)(fit * 10 / 9 >> 8),
			(unsigned long)(LEAST * 10ul / 9 >> 8));
	printf("# only %lu pages are available: growth is measured to there\n",
	       (unsigned long)fit);
	return fit;
}

/*
 * All pages of @client go.  Return: how long the longest call of @step took, in
 * seconds; 1 if one did nothing.
 */
static double walk(struct tme_client *client, int (*step)(struct tme_client *),
		   double *total, int *calls)
{
	bool idle = false;
	struct tme_stats stats;
	double most = 0, t;
	u64 left, before;
	int err;

	*total = *calls = 0;
	tme_client_stats(client, &stats);
	before = stats.eph_pages;
	do {
		t = now();
		err = step(client);
		t = now() - t;
		*total += t;
		++*calls;
		if (t > most)
			most = t;
		tme_client_stats(client, &stats);
		left = stats.eph_pages;
		idle = idle || (left == before && left);
		before = left;
	} while (err == -EAGAIN);
	if (err || left)
		give_up("error %d, %lu pages are left", -err,
			(unsigned long)left);
	return idle ? 1 : most;
}

static int step_flush(struct tme_client *client)
{
	static const u64 oid[3] = { 1ull << 40 };

	return tme_flush_object(client, 0, oid);
}

static int step_destroy(struct tme_client *client)
{
	return tme_destroy_pool(client, 0);
}

/*
 * The longest call that it takes to drop @n pages, each in an object of its own
 * or all in one.  The median of ROUNDS: a host that takes the CPU away for a
 * moment is no work of the call.
 */
static void longest_call(const char *what, u32 n, const char *page)
{
	bool destroy = !strcmp(what, "destroy");
	double most[ROUNDS], total, m;
	struct tme_client client;
	char name[64];
	int r, calls;
	u32 i;

	for (r = 0; r < ROUNDS; r++) {
		client_init(&client, 0);
		for (i = 0; i < n; i++)
			put(&client, destroy ? i : 1ull << 40, i, page);
		most[r] = walk(&client, destroy ? step_destroy : step_flush,
			       &total, &calls);
		client_destroy(&client);
	}
	m = median(most);
	snprintf(name, sizeof(name), "longest call, %s of %u", what, n);
	row(name, "<= 1 ms", m <= .001, "%.2f ms of %.0f, %d calls", m * 1e3,
	    total * 1e3, calls);
}

static void populate(struct tme_client *client, u32 n, const char *page)
{
	u32 i;

	client_init(client, 0);
	for (i = 0; i < n; i++)
		put(client, i / OBJECT, i % OBJECT, page);
}

/*
 * How the cost of a page grows with the number of pages.  Leaves two clients
 * populated
 */
static void size_growth(struct tme_client client[2], u32 n, char *page)
{
	struct churn churns[2] = { { .n = SMALL }, { .n = n } };
	char *wiped = large_pages(WIPE), name[64];
	int r;

	/* What the machine's memory does on its own, then the engine's, ... */
	churns[0].area = large_pages(n * PAGE_SIZE);
	churns[1].area = churns[0].area;
	growth("  two plain copies, of runs of pages, grow by", "", churns, 32,
	       page, wiped);
	growth("  two plain copies, of random pages, grow by", "", churns, 1,
	       page, wiped);
	free(churns[0].area);

	for (r = 0; r < 2; r++) {
		populate(&client[r], churns[r].n, page);
		churns[r].client = &client[r];
	}
	growth("  get+put of same-filled pages, no copy, grows by", "", churns,
	       32, page, wiped);
	for (r = 0; r < 2; r++)
		client_destroy(&client[r]);

	/* ... and both together */
	fill(page, false);
	for (r = 0; r < 2; r++)
		populate(&client[r], churns[r].n, page);
	snprintf(name, sizeof(name), "get+put at %u pages, of at %u, runs", n,
		 SMALL);
	growth(name, "<= 1.5x", churns, 32, page, wiped);
	growth("  the same, single random pages", "", churns, 1, page, wiped);
	free(wiped);
}

/* Eviction: the same cost per page for few and for many */
static void size_evict(struct tme_client client[2])
{
	double cost[ROUNDS], best = 1e9, worst = 0, t;
	struct tme_stats stats[2];
	u32 i;
	int r;

	for (i = 1000; i <= 100000; i *= 10) {
		for (r = 0; r < ROUNDS; r++) {
			t = now();
			if (tme_evict(&host, i, NULL) != i)
				give_up("there are not %u pages to evict", i);
			cost[r] = (now() - t) / i * 1e9;
		}
		t = median(cost);
		best = t < best ? t : best;
		worst = t > worst ? t : worst;
	}
	row("evict 10^3, 10^4, 10^5: slowest, of fastest, page", "<= 2x",
	    worst <= 2 * best, "%.2fx (%.0f, %.0f ns)", worst / best, worst,
	    best);
	for (r = 0; r < 2; r++)
		tme_client_stats(&client[r], &stats[r]);
	row("  pages evicted from the smaller client", "0",
	    !stats[0].evicted && stats[1].evicted, "%lu of %lu",
	    (unsigned long)stats[0].evicted,
	    (unsigned long)(stats[0].evicted + stats[1].evicted));
}

static void size(u32 n)
{
	static struct tme_client client[2];	/* SMALL and large */
	char *page = large_pages(PAGE_SIZE);
	double per[2];
	u64 base;
	u32 i;

	size_growth(client, n, page);
	per[0] = (double)meta(&client[1]) / n;
	size_evict(client);
	client_destroy(&client[0]);
	client_destroy(&client[1]);

	client_init(&client[0], 0);
	base = meta(&client[0]);
	for (i = 0; i < LEAST; i++)
		put(&client[0], i, i, page);
	per[1] = (double)(meta(&client[0]) - base) / LEAST;
	row("metadata per page, pages that share an object", "<= 64 B",
	    per[0] <= 64, "%.1f B", per[0]);
	row("metadata per page, one page per object", "<= 160 B",
	    per[1] <= 160, "%.1f B", per[1]);
	client_destroy(&client[0]);
	longest_call("destroy", LEAST, page);
	longest_call("flush object", LEAST, page);
	free(page);
}

/*
 * Many clients: a put at the limit, which evicts a page, and tme_freeable().
 * One client puts, and has the same number of pages however many others there
 * are.  The others are idle and have OTHERS pages each.  By the weight of the
 * first, that is as much as they should have: so they compete to be evicted
 * from.
 */
#define FULL	16000u			/* pages of the client that puts */
#define OTHERS	8u

struct full {
	struct tme_client *client;
	int nr;
	u32 next;			/* page to put */
};

static void full_init(struct full *full, int nr, char *page)
{
	struct tme_client *other;
	u32 *order = permutation(FULL);
	int i;
	u32 n;

	full->nr = nr;
	full->client = aligned_alloc(64, nr * sizeof(*full->client));
	if (!full->client)
		give_up("no memory for %d clients", nr);
	for (i = 0; i < nr; i++)
		client_init(&full->client[i], 0);
	/* Twice: what is freed in random order is taken in random order */
	for (n = 0; n < FULL; n++)
		put(&full->client[0], n / OBJECT, n % OBJECT, page);
	for (n = 0; n < FULL; n++)
		get(&full->client[0], order[n] / OBJECT, order[n] % OBJECT,
		    page);
	for (n = 0; n < FULL; n++)
		put(&full->client[0], n / OBJECT, n % OBJECT, page);
	free(order);
	for (i = 1; i < nr; i++)
		for (n = 0; n < OTHERS; n++)
			put(&full->client[i], 0, n, page);
	other = &full->client[nr - 1];
	tme_client_set_weight(&full->client[0], TME_WEIGHT_DEFAULT *
			      tme_client_frames(&full->client[0], false) /
			      tme_client_frames(other, false));
	tme_host_set_limit(&host, 8 * (atomic_long_read(&host.chunks[0]) +
				       atomic_long_read(&host.chunks[1])));
	full->next = FULL;
}

/* Return: ns of a put; what is freeable is asked for @asks times after each */
static double full_puts(struct full *full, int asks, const char *page)
{
	static volatile unsigned long sink;
	double start = now();
	int i, n;

	for (n = 0; n < 20000; n++, full->next++) {
		put(&full->client[0], full->next / OBJECT, full->next % OBJECT,
		    page);
		for (i = 0; i < asks; i++)
			sink += tme_freeable(&host);
	}
	return (now() - start) / n * 1e9;
}

static void full_pool(void)
{
	static const int nr[] = { 1, 10, 100, 1000 };
	double cost[2][ROUNDS], base = 0, puts, ask;
	char *page = large_pages(PAGE_SIZE), name[64];
	struct full full;
	unsigned int k;
	int i, r;

	fill(page, false);
	for (k = 0; k < sizeof(nr) / sizeof(*nr); k++) {
		full_init(&full, nr[k], page);
		for (r = 0; r < ROUNDS; r++)
			for (i = 0; i < 2; i++)
				cost[i][r] = full_puts(&full, i * 100, page);
		/* Not measured in turns: what disturbs one may not the other */
		median(cost[0]);
		median(cost[1]);
		puts = cost[0][0];
		ask = (cost[1][0] - puts) / 100;
		base = base ?: puts;
		snprintf(name, sizeof(name), "put at a full pool, %d client%s",
			 nr[k], nr[k] > 1 ? "s, of 1" : "");
		row(name, k ? "<= 1.1x" : "", puts <= 1.1 * base,
		    "%.2fx (%.0f ns)", puts / base, puts);
		snprintf(name, sizeof(name), "  what is freeable, %d client%s",
			 nr[k], nr[k] > 1 ? "s" : "");
		row(name, "", true, "%.1f ns", ask);
		tme_host_set_limit(&host, ULONG_MAX);
		for (i = 0; i < nr[k]; i++)
			client_destroy(&full.client[i]);
		free(full.client);
	}
	free(page);
}

int main(void)
{
	u32 n;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (tme_host_init(&host))
		give_up("no memory for a host");
	n = pages_that_fit();
	printf("%-49s %-10s %s\n", "property", "target", "measured");
	put_get();
	two_threads();
	full_pool();
	size(n);
	tme_host_destroy(&host);
	printf("%d missed\n", misses);
	return !!misses;
}
