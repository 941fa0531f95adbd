// SPDX-License-Identifier: GPL-2.0
/*
 * tmem engine: the operations of its fuzzer, each on the engine and on the
 * model; see fuzz.c.
 */
#include "fuzz.h"

/* What a put leaves of its room, if it takes 15 nodes and 8 for the hash */
#define ROOM		(2 * (long)PAGE_SIZE - 23 * 136 - 96)

bool shared(struct fuzz *f, const struct model_client *c)
{
	return f->threaded && c == &f->client[CLIENTS - 1];
}

/*
 * Does the model say what an operation on @pool does?  Not where other threads
 * work, too.  Where there is no such pool, @err is all that is to be checked.
 */
static bool is_known(struct fuzz *f, const struct model_client *c, u32 pool,
		     int err)
{
	if (shared(f, c))
		return false;
	CHECK(has_pool(c, pool) || err == -EINVAL);
	return has_pool(c, pool);
}

/* May a page that was put there be gone, and the model not know yet? */
static bool may_be_gone(const struct model_client *c, u32 pool)
{
	return c->fuzzy && c->pool[pool] != PERSISTENT;
}

static void check_page(struct fuzz *f, const page_t *page, u32 nr, u64 seed)
{
	u64 says = page_seed(page);

	CHECK(seed ? says == seed :
		     (says >> 3 & ((1 << HANDLE_BITS) - 1)) == nr);
	CHECK(is(page, says, says & 7));
}

void do_put(struct fuzz *f, struct op *op)
{
	struct model_client *c = op->c;
	bool dup, may_fail;
	page_t page;
	u64 seed;
	int err;
	u32 nr;

	if (op->pool >= TME_MAX_POOLS) {
		fill(&page, 1, SAME);
		CHECK(tme_put(c->client, op->pool, oid_of(op->object),
			      index_of(op->index), &page) == -EINVAL);
		return;
	}
	nr = handle(f, c, op->pool, op->object, op->index);
	f->seq++;
	seed = (u64)f->seq << (HANDLE_BITS + 3) | nr << 3 | op->kind;
	fill(&page, seed, op->kind);
	err = tme_put(c->client, op->pool, oid_of(op->object),
		      index_of(op->index), &page);
	if (shared(f, c)) {
		CHECK(!err || err == -EINVAL || err == -ENOMEM ||
		      err == -EDQUOT || err == -ENOSPC);
		return;
	}
	if (!is_known(f, c, op->pool, err))
		return;
	dup = f->page[nr].seed;
	may_fail = f->fails || c->cap != ULONG_MAX || limit != ULONG_MAX;
	CHECK(!err || (may_fail && (err == -ENOMEM || err == -EDQUOT ||
				    (dup && err == -ENOSPC))));
	CHECK(err || f->threaded || c->cap > LONG_MAX / PAGE_SIZE ||
	      bytes_of(c, 0) + bytes_of(c, 1) + ROOM <=
			(long)(c->cap * PAGE_SIZE));
	c->puts++;
	c->put_fails += !!err;
	if (dup) {
		model_del(f, c, nr);
		c->replaced++;
	}
	if (!err)
		model_add(f, c, nr, seed);
}

void do_get(struct fuzz *f, struct op *op)
{
	struct model_client *c = op->c;
	page_t page;
	u64 seed;
	int err;
	u32 nr;

	err = tme_get(c->client, op->pool, oid_of(op->object),
		      index_of(op->index), &page);
	if (op->pool >= TME_MAX_POOLS) {
		CHECK(err == -EINVAL);
		return;
	}
	nr = handle(f, c, op->pool, op->object, op->index);
	if (shared(f, c)) {
		CHECK(!err || err == -ENOENT || err == -EINVAL);
		if (!err)
			check_page(f, &page, nr, 0);
		return;
	}
	if (!is_known(f, c, op->pool, err))
		return;
	c->gets++;
	seed = f->page[nr].seed;
	if (!seed) {
		CHECK(err == -ENOENT);
		return;
	}
	if (err == -ENOENT) {
		/* evicted; so are all that are older, see model_settle() */
		CHECK(may_be_gone(c, op->pool));
		model_del(f, c, nr);
		c->gone++;
		return;
	}
	c->hits++;
	if (f->corrupt && err == -EIO)
		CHECK(__atomic_exchange_n(&port_warnings, 0,
					  __ATOMIC_RELAXED) == 1);
	else
		CHECK(!err);
	if (!err)
		check_page(f, &page, nr, seed);
	if (c->pool[op->pool] == EPHEMERAL) {
		model_del(f, c, nr);
	} else if (c->pool[op->pool] == SHARED) {
		model_unlist(f, &f->page[nr]);
		model_list(f, c, &f->page[nr]);
	}
}

void do_lookup(struct fuzz *f, struct op *op)
{
	struct model_client *c = op->c;
	int err = tme_lookup(c->client, op->pool, oid_of(op->object),
			     index_of(op->index));
	u64 seed;

	if (!is_known(f, c, op->pool, err))
		return;
	c->gets += !!err;
	seed = f->page[handle(f, c, op->pool, op->object, op->index)].seed;
	CHECK(seed || err == -ENOENT);
	CHECK(!seed || !err || may_be_gone(c, op->pool));
}

void do_flush(struct fuzz *f, struct op *op)
{
	struct model_client *c = op->c;
	int err = tme_flush_page(c->client, op->pool, oid_of(op->object),
				 index_of(op->index));
	u32 nr;

	if (!is_known(f, c, op->pool, err))
		return;
	nr = handle(f, c, op->pool, op->object, op->index);
	if (!f->page[nr].seed) {
		CHECK(err == -ENOENT);
		return;
	}
	CHECK(!err || may_be_gone(c, op->pool));
	model_del(f, c, nr);
	c->flushed++;
	c->gone++;
}

void do_flush_object(struct fuzz *f, struct op *op)
{
	struct model_client *c = op->c;
	int err, calls = 0;
	u32 n;

	while ((err = tme_flush_object(c->client, op->pool,
				       oid_of(op->object))) == -EAGAIN)
		CHECK(shared(f, c) || ++calls <= INDEXES / 32);
	if (!is_known(f, c, op->pool, err))
		return;
	n = model_del_object(f, c, op->pool, op->object);
	c->flushed += n;
	c->gone += n;
	CHECK(err == (n ? 0 : -ENOENT) ||
	      (n && err == -ENOENT && may_be_gone(c, op->pool)));
}

void do_new_pool(struct fuzz *f, struct op *op)
{
	static const int type[] = { EPHEMERAL, PERSISTENT, SHARED };
	struct model_client *c = op->c;
	u32 flags = op->kind < 6 ? op->kind % 3 :
		    op->kind == 6 ? 3 : op->arg << 2;
	int err = tme_new_pool(c->client, flags), id;

	if (flags > 2) {
		CHECK(err == -EINVAL);
		return;
	}
	if (shared(f, c)) {
		CHECK(err < TME_MAX_POOLS && err != -EINVAL);
		return;
	}
	for (id = 0; id < TME_MAX_POOLS && c->pool[id] != NO_POOL; id++)
		;
	if (id == TME_MAX_POOLS) {
		CHECK(err == -ENOSPC);
	} else if (err >= 0) {
		CHECK(err == id);
		c->pool[id] = type[flags];
	} else {
		CHECK(f->fails || c->cap != ULONG_MAX || limit != ULONG_MAX);
		CHECK(err == -ENOMEM || err == -EDQUOT);
	}
}

/* One step of it */
void do_destroy_pool(struct fuzz *f, struct op *op)
{
	struct model_client *c = op->c;
	int err = tme_destroy_pool(c->client, op->pool);
	u32 n;

	if (shared(f, c)) {
		CHECK(!err || err == -EAGAIN || err == -EINVAL);
		return;
	}
	if (op->pool >= TME_MAX_POOLS || c->pool[op->pool] == NO_POOL) {
		CHECK(err == -EINVAL);
		return;
	}
	CHECK(!err || err == -EAGAIN);
	if (c->pool[op->pool] != DYING) {
		n = model_del_pool(f, c, op->pool);
		CHECK(!err || n);
		c->flushed += n;
		c->gone += n;
		c->pool[op->pool] = DYING;
		if (err)
			c->fuzzy = true;
		c->was_fuzzy |= c->fuzzy;
	}
	if (err)
		return;
	c->pool[op->pool] = NO_POOL;
	if (c->fuzzy && !f->threaded)
		model_settle(f, c);
}

void do_pool_state(struct fuzz *f, struct op *op)
{
	static const int flags[] = { -EINVAL, 0, TME_POOL_PERSISTENT,
				     TME_POOL_SHARED, -EINVAL };
	struct model_client *c = op->c;
	int got = tme_pool_flags(c->client, op->pool), object;
	bool empty = tme_pool_empty(c->client, op->pool);
	u32 n = 0;

	if (shared(f, c))
		return;
	if (op->pool >= TME_MAX_POOLS) {
		CHECK(got == -EINVAL && empty);
		return;
	}
	CHECK(got == flags[c->pool[op->pool]]);
	for (object = 0; object < OBJECTS; object++)
		n += c->nr[op->pool][object];
	CHECK(empty == !n || c->fuzzy);
}

void client_start(struct fuzz *f, int i)
{
	struct model_client *c = &f->client[i];
	struct model_page *list = list_of(f, c);
	int err = tme_client_init(&host, &f->memory[i]);

	CHECK(!err || (err == -ENOMEM && f->fails));
	if (err)
		return;
	memset(c, 0, sizeof(*c));
	c->client = &f->memory[i];
	c->cap = ULONG_MAX;
	c->fuzzy = f->threaded;
	list->next = HANDLES + i;
	list->prev = HANDLES + i;
}

void client_stop(struct fuzz *f, struct model_client *c)
{
	u32 pool, nr, end;
	int err, calls = 0;

	/* All that is persistent is still there, and right */
	for (pool = 0; pool < TME_MAX_POOLS; pool++) {
		if (c->pool[pool] != PERSISTENT || !c->pers)
			continue;
		nr = handle(f, c, pool, 0, 0);
		for (end = nr + OBJECTS * INDEXES; nr < end; nr++) {
			struct op op = {
				.c = c, .pool = pool, .index = nr % INDEXES,
				.object = nr / INDEXES % OBJECTS,
			};

			if (!c->nr[pool][op.object])
				nr |= INDEXES - 1;
			else if (f->page[nr].seed)
				do_get(f, &op);
		}
	}
	check_client(f, c);
	while ((err = tme_client_destroy(c->client)) == -EAGAIN)
		CHECK(++calls <= HANDLES / CLIENTS / 32 || f->threaded);
	CHECK(!err);
	for (pool = 0; pool < TME_MAX_POOLS; pool++)
		model_del_pool(f, c, pool);
	CHECK(!c->eph && !c->pers);
	memset(c->client, 0x5a, sizeof(*c->client));
	c->client = NULL;
}

void do_evict(struct fuzz *f, struct op *op)
{
	unsigned long sum = 0, mem = 0, max, n;
	long bytes = 0, before = READ_ONCE(port_bytes);
	int i;

	n = tme_evictable(&host);
	for (i = 0; i < CLIENTS && !f->threaded; i++) {
		struct tme_client *client = f->client[i].client;

		sum += client ? client->eph_pages : 0;
		mem += client ? bytes_of(&f->client[i], 0) / PAGE_SIZE : 0;
	}
	CHECK(f->threaded || n == sum);
	CHECK(tme_freeable(&host) <= mem || f->threaded);
	max = op->kind < 6 ? op->arg % 8 : op->arg;
	n = tme_evict(&host, max, op->kind ? &bytes : NULL);
	CHECK(n <= max);
	if (f->threaded)
		return;
	CHECK(n <= sum);
	/* Chains of objects may be merged, which can take nodes */
	CHECK(before - port_bytes + (long)n * 1088 >= bytes);
}

static bool stop_always(void)
{
	return true;
}

/* No other thread may be there: these are plain variables */
void do_fault(struct fuzz *f, struct op *op)
{
	if (f->threaded)
		return;
	switch (op->kind) {
	case 0:
	case 1:
		port_fail_at = port_allocs + 1 + op->arg % 32;
		break;
	case 2:
		port_fail_every = op->arg < 64 ? op->arg : 0;
		break;
	case 3:
		port_stop = op->arg % 2 ? stop_always : NULL;
		return;
	case 4:
		port_memory_short = true;
		break;
	case 5:
		f->corrupt = true;
		port_corrupt = true;
		return;
	case 6:
		f->locked = true;
		spin_lock(&host.lock);
		return;
	default:
		port_fail_at = 0;
		port_fail_every = 0;
		port_stop = NULL;
		f->fails = false;
		return;
	}
	f->fails = true;
}

void do_limits(struct fuzz *f, struct op *op)
{
	unsigned long frames = op->arg % 4 ? ULONG_MAX : op->arg * 4ul;

	switch (op->kind) {
	case 0:
	case 1:
		op->c->cap = frames;
		tme_client_set_cap(op->c->client, frames);
		break;
	case 2:
	case 3:
		__atomic_store_n(&limit, frames, __ATOMIC_RELAXED);
		tme_host_set_limit(&host, frames);
		break;
	case 4:
		tme_client_set_weight(op->c->client, op->arg + 1);
		break;
	case 5:
		op->c->min = op->arg / 4;
		tme_client_set_min(op->c->client, op->arg / 4);
		break;
	default:
		tme_client_set_compress(op->c->client, op->kind & 1);
		break;
	}
}
