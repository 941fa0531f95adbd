// SPDX-License-Identifier: GPL-2.0
/*
 * tmem engine: its fuzzer.
 *
 * Any string of bytes is a program: a header of HEAD bytes, then operations of
 * OP bytes each, which call all of engine.h for a few clients, change limits
 * and make allocations fail.  Beside the engine runs a model, an array of what
 * was put where, and after each operation the two must agree:
 *
 * - A page that is found is the last one that was put there.
 * - What is persistent is there.  What is ephemeral is there, too, but for the
 *   oldest: the model has the engine's list of ephemeral pages, and drops from
 *   its head until it has as many as the engine.  So the order of eviction is
 *   checked, and a page cannot be missed by chance.
 * - All memory that was allocated is counted against a client, and no client is
 *   over a limit, unless it was lowered.
 * - Where nothing was to fail, nothing has failed.
 *
 * A pool that is destroyed step by step loses pages in an order that the model
 * does not know.  Until the pool is gone its client is fuzzy: an ephemeral page
 * may be there or not.  After that the model looks which of them are.  With
 * threads a client is fuzzy always.  There each thread has clients of its own,
 * and all share one, of which is known only what its pages say of themselves.
 *
 * The model is in fuzz_model.c, the operations are in fuzz_ops.c.
 *
 * Three front ends.  libFuzzer calls LLVMFuzzerTestOneInput().  Without it:
 *
 *   fuzz FILE...		run these, or all in these directories
 *   fuzz random SEED OPS	run random programs, of OPS operations in all
 *   fuzz threads SEED OPS	the same, by several threads at once
 *
 * They say "ok" or "not ok" as TAP does; the program that failed first is left
 * in fuzz-failed.
 */
#include <dirent.h>
#include <pthread.h>
#include "fuzz.h"

#define HEAD		4
#define OP		4
#define THREADS		4
#define PROGRAM		2048		/* bytes of a random one */

struct tme_host host;
unsigned long limit;
long shards_bytes;
static long ops_done;

void give_up(struct fuzz *f, const char *file, int line, const char *what)
{
	FILE *failed = fopen("fuzz-failed", "w");

	if (failed) {
		fwrite(f->data, 1, f->size, failed);
		fclose(failed);
	}
	printf("# %s:%d: %s, operation %ld\n", file, line, what, f->ops);
	printf("not ok - fuzz\n");
	fflush(stdout);
	abort();
}

/*
 * The hash is what matters for objects, so the program says what it is: random;
 * the same for all; a shard for each; the same shard for all
 */
static void set_key(int how)
{
	u64 one = how == 2 ? 1ull << 32 : 64ull << 32;
	unsigned int i;

	for (i = 0; i < 7; i++)
		host.key[i] = how ? 0 : (i + 1) * SEED_MUL;
	if (how > 1) {
		host.key[0] = one;
		host.key[3] = 4 * one;
		host.key[4] = 16 * one;
	}
}

static void many(struct fuzz *f, struct op *op, bool objects,
		 void (*func)(struct fuzz *f, struct op *op))
{
	u32 nr = objects && op->nr > OBJECTS ? OBJECTS : op->nr, n;
	u32 *what = objects ? &op->object : &op->index;

	/* Aligned, so that others may find it */
	*what &= ~(nr - 1);
	f->ops += nr - 1;
	for (n = 0; n < nr; n++, ++*what)
		func(f, op);
}

/* Operations on pages */
static void do_pages(struct fuzz *f, struct op *op)
{
	switch (op->code) {
	case 0 ... 8:
		do_put(f, op);
		break;
	case 9 ... 10:
		many(f, op, op->code == 10, do_put);
		break;
	case 11 ... 14:
		do_get(f, op);
		break;
	case 15 ... 16:
		many(f, op, op->code == 16, do_get);
		break;
	case 17:
		many(f, op, op->kind & 1, do_lookup);
		break;
	case 18:
		/* Now and then, or nothing would be there */
		if (!op->kind || op->c->fuzzy)
			do_destroy_pool(f, op);
		break;
	case 19 ... 20:
		do_flush(f, op);
		break;
	case 21:
		many(f, op, op->kind & 1, do_flush);
		break;
	case 22:
		do_flush_object(f, op);
		break;
	}
}

/* Operations on clients, pools, and the host */
static void do_others(struct fuzz *f, struct op *op)
{
	switch (op->code) {
	case 23:
		if (!op->c->client)
			client_start(f, op->c - f->client);
		else if (!(op->arg & 15) && !shared(f, op->c))
			client_stop(f, op->c);
		break;
	case 24 ... 25:
		do_new_pool(f, op);
		break;
	case 26:
		do_pool_state(f, op);
		break;
	case 27 ... 28:
		do_limits(f, op);
		break;
	case 29:
		do_evict(f, op);
		break;
	case 30:
		do_fault(f, op);
		break;
	case 31:
		check_client(f, op->c);
		break;
	}
}

static void do_op(struct fuzz *f, const u8 *b)
{
	static const u32 hostile[4] = { 16, 17, 0x80000000, -1u };
	int own = b[1] & 3;
	struct op op = {
		.code = b[0] & 31, .kind = b[0] >> 5, .arg = b[3],
		.c = &f->client[own],
		.pool = b[1] >> 2 & 3, .object = b[2] & 31, .index = b[3],
		.nr = 1u << (b[2] >> 5),
	};

	/* Few pools are there mostly */
	if (b[1] >> 4 == 15)
		op.pool = b[2] & 128 ? hostile[b[2] & 3] : b[2] & 15;
	if (!op.c->client && op.code < 23 && own < 2)
		op.code = 23;
	if (!op.c->client && op.code != 23)
		return;
	if (f->locked && (op.code >= 23 || op.code == 18))
		return;
	if (op.code <= 10 && op.kind >= ALL_KINDS)
		op.kind = NOISE;
	if (op.code < 23)
		do_pages(f, &op);
	else
		do_others(f, &op);
}

static void do_program(struct fuzz *f)
{
	bool was_locked, was_corrupt, was_short;
	long used[CLIENTS], chunks[2];
	size_t at;
	int i;

	for (at = HEAD; at + OP <= f->size; at += OP) {
		was_locked = f->locked;
		was_corrupt = f->corrupt;
		was_short = port_memory_short;
		for (i = 0; i < CLIENTS && !f->threaded; i++)
			used[i] = bytes_of(&f->client[i], 0) +
				  bytes_of(&f->client[i], 1);
		chunks[0] = atomic_long_read(&host.chunks[0]);
		chunks[1] = atomic_long_read(&host.chunks[1]);
		f->ops++;
		do_op(f, f->data + at);
		if (!f->threaded)
			check_memory(f, used, chunks,
				     &f->client[f->data[at + 1] & 3]);
		/* These are for one operation */
		if (was_locked) {
			spin_unlock(&host.lock);
			f->locked = false;
		}
		if (was_corrupt) {
			f->corrupt = false;
			port_corrupt = false;
		}
		if (was_short)
			port_memory_short = false;
	}
}

static void no_more_faults(struct fuzz *f)
{
	if (f->locked)
		spin_unlock(&host.lock);
	f->locked = false;
	f->corrupt = false;
	port_corrupt = false;
	port_memory_short = false;
	port_fail_at = 0;
	port_fail_every = 0;
	port_stop = NULL;
}

/* The header: the hash, the host's limit, and what is there from the start */
static void run(struct fuzz *f, const u8 *data, size_t size)
{
	static const u32 type[] = { 0, TME_POOL_PERSISTENT, TME_POOL_SHARED };
	int i, p;

	if (size < HEAD)
		return;
	f->data = data;
	f->size = size;
	f->fails = false;
	CHECK(!tme_host_init(&host));
	set_key(data[0] & 3);
	port_meta_free = (data[0] >> 2 & 15) == 15;
	limit = data[1] ? data[1] * 6 : ULONG_MAX;
	tme_host_set_limit(&host, limit);
	for (i = 0; i < 2; i++) {
		client_start(f, i);
		if (data[2 + i]) {
			f->client[i].cap = data[2 + i] * 6;
			tme_client_set_cap(&f->memory[i], data[2 + i] * 6);
		}
		tme_client_set_compress(&f->memory[i], data[0] >> (6 + i) & 1);
		for (p = 0; p < 3; p++)
			if (tme_new_pool(&f->memory[i], type[p]) == p)
				f->client[i].pool[p] = EPHEMERAL + p;
			else
				break;
	}
	do_program(f);
	no_more_faults(f);
	for (i = 0; i < CLIENTS; i++)
		if (f->client[i].client)
			client_stop(f, &f->client[i]);
	tme_host_destroy(&host);
	CHECK(!port_allocated && !port_bytes && !port_warnings);
	ops_done += f->ops;
	f->ops = 0;
}

/*
 * Front ends
 */

static struct fuzz *fuzz_new(void)
{
	struct fuzz *f = calloc(1, sizeof(*f));
	struct tme_client *client;

	f->memory = aligned_alloc(64, CLIENTS * sizeof(*f->memory));
	client = f->memory;
	if (shards_bytes)
		return f;
	pages_init();
	CHECK(!tme_host_init(&host));
	CHECK(!tme_client_init(&host, client));
	CHECK(!tme_new_pool(client, 0));
	shards_bytes = atomic_long_read(&client->used[0]);
	CHECK(!tme_client_destroy(client));
	tme_host_destroy(&host);
	return f;
}

#ifdef LIBFUZZER
static void say_operations(void)
{
	fprintf(stderr, "%ld operations\n", ops_done);
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	static struct fuzz *f;

	if (!f) {
		f = fuzz_new();
		atexit(say_operations);
	}
	run(f, data, size);
	return 0;
}
#else
static u64 next(u64 *state)
{
	*state = xorshift(*state);
	return *state * SEED_MUL >> 16;
}

/* The smaller the part of the handles that one uses, the more it finds there */
static void random_program(u8 *data, u64 *state)
{
	static const u8 pools[4] = { 0x05, 0x0b, 0x0d, 0xff };
	static const u8 masks[4] = { 1, 7, 31, 255 };
	u64 x = next(state);
	u8 where = pools[x & 3];
	u8 objects = 31 & masks[x >> 2 & 3], indexes = masks[x >> 4 & 3];
	u8 nr = x >> 8 & 0xe0;
	unsigned int i;

	/* Often without limits, often without compression */
	for (i = 0; i < HEAD; i++)
		data[i] = x >> (16 + i) & 1 ? 0 : next(state);
	for (; i < PROGRAM; i += OP) {
		x = next(state);
		data[i] = x;
		data[i + 1] = x >> 8 & where;
		data[i + 2] = (nr | objects) & x >> 16;
		data[i + 3] = x >> 24 & ((x & 31) <= 22 ? indexes : 255);
	}
}

static void fuzz_free(struct fuzz *f)
{
	free(f->memory);
	free(f);
}

static int nr_files;

static void run_file(struct fuzz *f, const char *name)
{
	char path[PATH_MAX];
	struct dirent *entry;
	static u8 data[1 << 20];
	FILE *file;
	DIR *dir;

	dir = opendir(name);
	while (dir && (entry = readdir(dir))) {
		snprintf(path, sizeof(path), "%s/%s", name, entry->d_name);
		if (entry->d_name[0] != '.')
			run_file(f, path);
	}
	if (dir) {
		closedir(dir);
		return;
	}
	file = fopen(name, "r");
	if (!file) {
		perror(name);
		exit(2);
	}
	run(f, data, fread(data, 1, sizeof(data), file));
	fclose(file);
	nr_files++;
}

struct thread {
	pthread_t id;
	struct fuzz *f;
	u64 seed;
	long ops;
};

static void *thread_main(void *arg)
{
	struct thread *t = arg;
	struct fuzz *f = t->f;
	u8 data[PROGRAM];
	int i;

	f->data = data;
	f->size = sizeof(data);
	while (f->ops < t->ops) {
		random_program(data, &t->seed);
		do_program(f);
	}
	for (i = 0; i < CLIENTS - 1; i++)
		if (f->client[i].client)
			client_stop(f, &f->client[i]);
	__atomic_add_fetch(&ops_done, f->ops, __ATOMIC_RELAXED);
	return NULL;
}

/* Several times: each begins with clients and pools that are new */
static void run_threads(struct fuzz *f, u64 seed, long ops)
{
	struct tme_client *last = &f->memory[CLIENTS - 1];
	struct thread thread[THREADS];
	int i;

	CHECK(!tme_host_init(&host));
	set_key(seed & 3);
	limit = 400;
	tme_host_set_limit(&host, limit);
	CHECK(!tme_client_init(&host, last));
	port_fail_every = seed % 2 ? 101 : 0;
	for (i = 0; i < THREADS; i++) {
		thread[i].f = fuzz_new();
		thread[i].f->threaded = true;
		thread[i].f->fails = true;
		thread[i].f->seq = i << 28;
		thread[i].f->client[CLIENTS - 1] = (struct model_client){
			.client = last, .cap = ULONG_MAX, .fuzzy = true,
		};
		thread[i].seed = seed * THREADS + i + 1;
		thread[i].ops = ops / THREADS;
		pthread_create(&thread[i].id, NULL, thread_main, &thread[i]);
	}
	for (i = 0; i < THREADS; i++) {
		pthread_join(thread[i].id, NULL);
		fuzz_free(thread[i].f);
	}
	port_fail_every = 0;
	while (tme_client_destroy(last) == -EAGAIN)
		;
	tme_host_destroy(&host);
	CHECK(!port_allocated && !port_bytes && !port_warnings);
}

int main(int argc, char **argv)
{
	struct fuzz *f = fuzz_new();
	bool random = argc == 4 && !strcmp(argv[1], "random");
	bool threads = argc == 4 && !strcmp(argv[1], "threads");
	u8 data[PROGRAM];
	long ops;
	u64 seed;
	int i;

	if (argc < 2) {
		fprintf(stderr, "usage: fuzz FILE...\n");
		fprintf(stderr, "       fuzz random|threads SEED OPS\n");
		return 2;
	}
	if (!random && !threads) {
		for (i = 1; i < argc; i++)
			run_file(f, argv[i]);
		fuzz_free(f);
		printf("ok 1 - fuzz_corpus (%s) # %d programs, ", SANITIZER,
		       nr_files);
		printf("%ld operations\n", ops_done);
		return 0;
	}
	seed = strtoull(argv[2], NULL, 0);
	ops = strtol(argv[3], NULL, 0);
	if (random) {
		seed = seed * SEED_MUL + 1;
		while (ops_done < ops) {
			random_program(data, &seed);
			run(f, data, sizeof(data));
		}
	} else {
		for (i = 0; i < 4; i++)
			run_threads(f, seed + i, ops / 4);
	}
	fuzz_free(f);
	printf("ok 1 - fuzz_%s (%s) # %ld operations from seed %s\n", argv[1],
	       SANITIZER, ops_done, argv[2]);
	return 0;
}
#endif
