// SPDX-License-Identifier: GPL-2.0
/*
 * tmem engine: eviction, whose page goes when memory is needed.
 *
 * A put that finds its client over its cap evicts from this client.  One that
 * finds the host over its limit evicts from the client most above its share.
 * Each client has a list of its ephemeral pages in the order they were put,
 * with its own lock inside the shards' locks.  Eviction goes the other way,
 * from the list to the shard, see tme_evict_one().
 *
 * Nothing that is done often looks at all clients: the last victim competes
 * with a few others in turn (tme_choose()), and many puts take the same one.
 * Many CPUs may be putting at the limit: one that finds another choosing takes
 * the victim of before, without the lock (tme_pick_last()).
 */
#include "internal.h"

#define TME_LOOKS		4	/* at clients, to choose one */
/* Evictions for one put: a chunk of pages that repeat a word is 670 */
#define TME_PUT_EVICTS		1024

/*
 * Is the client dry?  A client whose evicted pages free no memory, because they
 * lie scattered over part-full slabs, is dry and ranks last.  The mark lasts
 * one round: until another client yields memory, or all are dry.
 *
 * All dry clients have to be known, or two of them would take turns.  And the
 * mark must not last longer, or to be dry would be to be safe.
 */
static bool tme_dry(struct tme_client *client)
{
	u32 round = READ_ONCE(client->host->dry);

	return round % 2 && READ_ONCE(client->dry) == round;
}

/**
 * enum tme_rank - what tme_excess() returns, the client with most being evicted
 *		   from first
 * @TME_NOTHING: nothing can be taken from the client
 * @TME_DRY: it has pages, but is dry
 * @TME_EXCESS: at least this: it has pages that should free memory
 */
enum tme_rank { TME_NOTHING, TME_DRY, TME_EXCESS };

/*
 * How much ephemeral memory the client has for its weight.  The client that has
 * most is evicted from, so under contention the clients come to hold memory in
 * proportion to their weights.  What counts is the memory, not the number of
 * pages: a page that repeats one word takes nearly none.
 */
static u64 tme_excess(struct tme_client *client)
{
	/* It may be below 0 for a moment */
	long used = atomic_long_read(&client->used[0]);

	if (!READ_ONCE(client->eph_pages) || used <= 0 ||
	    (unsigned long)used / PAGE_SIZE <= READ_ONCE(client->min))
		return TME_NOTHING;
	if (tme_dry(client))
		return TME_DRY;
	return TME_EXCESS +
	       (u64)used * TME_WEIGHT_DEFAULT / READ_ONCE(client->weight);
}

struct tme_choice {
	struct tme_client *client;	/* NULL: there is none to evict from */
	u64 excess;			/* of @client */
};

static void tme_consider(struct tme_choice *best, struct tme_client *client)
{
	u64 excess;

	if (!client || client == best->client)
		return;
	excess = tme_excess(client);
	if (excess > best->excess) {
		best->client = client;
		best->excess = excess;
	}
}

/* The next one in turn of the host's clients, of which there is one at least */
static struct tme_client *tme_next(struct tme_host *host)
{
	host->hand = host->hand->next;
	if (host->hand == &host->clients)
		host->hand = host->hand->next;
	return list_entry(host->hand, struct tme_client, node);
}

/*
 * Choose the client to evict from.
 *
 * To look at all clients takes too long where there are many.  So the last
 * victim competes with the next TME_LOOKS clients only, and with @own, the
 * client that wants the memory; NULL if none does.  The client that has most is
 * found before the hand has gone round, and stays the victim until another one
 * has more.  A client grows by its own puts, and these look at it, so mostly
 * it is found at once.
 *
 * Where none of them has a page that gives memory, the hand goes on.  Once it
 * has been round in vain, the host is barren: puts do not search again before
 * some client has got more.
 *
 * Return: NULL when no client has a page.
 */
static struct tme_client *tme_choose(struct tme_host *host,
				     struct tme_client *own)
{
	struct tme_choice best = { .excess = TME_NOTHING };
	unsigned int looks;

	lockdep_assert_held(&host->lock);
	tme_consider(&best, host->victim);
	tme_consider(&best, own);
	for (looks = 0; looks < host->nr_clients; looks++) {
		if (looks >= TME_LOOKS &&
		    (best.excess > TME_DRY || (own && READ_ONCE(host->barren))))
			break;
		tme_consider(&best, tme_next(host));
	}
	/* All are dry: the one that has most comes first again */
	if (best.excess == TME_DRY && looks == host->nr_clients)
		WRITE_ONCE(host->dry, READ_ONCE(host->dry) + 1);
	WRITE_ONCE(host->barren, !best.client);
	/* Made by another CPU perhaps: pairs with tme_pick_last() */
	smp_store_release(&host->victim, best.client);
	return best.client;
}

/*
 * The client that was chosen last, or @own, whichever has more; NULL: neither
 * has a page.  host->lock is not held: a client that is going away has to wait
 * for this look, see tme_wait_for_pickers().
 */
static struct tme_client *tme_pick_last(struct tme_host *host,
					struct tme_client *own)
{
	atomic_long_t *picking = &own->picking[READ_ONCE(host->phase) & 1];
	struct tme_choice best = { .excess = TME_NOTHING };

	/* Ordered: pairs with the one in tme_wait_for_pickers() */
	atomic_long_add_return(1, picking);
	/* Pairs with the release in tme_choose() */
	tme_consider(&best, smp_load_acquire(&host->victim));
	tme_consider(&best, own);
	if (best.client)
		atomic_long_inc(&best.client->evictors);
	/* Ordered, as above: the client has its evictor before this */
	atomic_long_add_return(-1, picking);
	return best.client;
}

/* Wait until no put counts in @phase */
static void tme_wait_for_phase(struct tme_host *host, u32 phase)
{
	struct tme_client *client;

	lockdep_assert_held(&host->lock);
	list_for_each_entry(client, &host->clients, node)
		while (atomic_long_add_return(0, &client->picking[phase & 1]))
			cpu_relax();
}

/*
 * A client is not the victim any more.  Wait until no put is left in
 * tme_pick_last() that has seen it there.  A put that is not counted yet when
 * we look sees the new victim.  As in SRCU: first wait for those that took long
 * to count after an earlier turn of the phase, then for those of this phase.
 * New ones count in the other, so neither takes longer than one look of each
 * CPU.
 */
void tme_wait_for_pickers(struct tme_host *host)
{
	u32 phase = host->phase;

	tme_wait_for_phase(host, phase + 1);
	/* A put that counts in the new phase sees the new victim */
	smp_store_release(&host->phase, phase + 1);
	tme_wait_for_phase(host, phase);
}

/* The more clients there are, the more puts take the same */
static struct tme_client *tme_pick_locked(struct tme_host *host,
					  struct tme_client *own)
{
	struct tme_client *victim = host->victim;

	lockdep_assert_held(&host->lock);
	if (host->quota && victim && tme_excess(victim) > TME_DRY) {
		host->quota--;
	} else {
		victim = tme_choose(host, own);
		host->quota = host->nr_clients / TME_LOOKS;
		if (host->quota > TME_BATCH)
			host->quota = TME_BATCH;
	}
	if (victim)
		atomic_long_inc(&victim->evictors);
	return victim;
}

/*
 * Choose a client to evict from for @client's put, and keep it from going away
 * until tme_unpick().  Return: NULL when no client has a page, or when that is
 * not known yet, because another CPU is choosing.
 */
static struct tme_client *tme_pick(struct tme_client *client)
{
	struct tme_host *host = client->host;
	struct tme_client *victim;

	if (!spin_trylock(&host->lock))
		return tme_pick_last(host, client);
	victim = tme_pick_locked(host, client);
	spin_unlock(&host->lock);
	return victim;
}

/* Evicting from @victim has given back @bytes */
static void tme_unpick(struct tme_client *victim, long bytes)
{
	struct tme_host *host = victim->host;
	u32 round = READ_ONCE(host->dry), next = round;

	if (bytes <= 0) {
		next |= 1;
		WRITE_ONCE(victim->dry, next);
	} else if (round % 2) {
		next++;
	}
	if (next != round)
		WRITE_ONCE(host->dry, next);
	/* Ordered: pairs with the one in tme_client_destroy() */
	atomic_long_add_return(-1, &victim->evictors);
}

/* Where the client's oldest page is; NULL when it has none */
static struct tme_shard *tme_oldest_shard(struct tme_client *client)
{
	struct tme_page *page;

	lockdep_assert_held(&client->lru_lock);
	if (list_empty(&client->lru))
		return NULL;
	page = list_entry(client->lru.next, struct tme_page, lru);
	return page->object->shard;
}

/*
 * Evict the client's oldest ephemeral page, and add the memory that this gave
 * back to @bytes, if not NULL.  A client is not brought below its minimum, but
 * by a put of its @own.
 *
 * shard->lock is taken before lru_lock, so with lru_lock held it may only be
 * trylocked.  If it is busy, wait for it without lru_lock, and then look
 * whether the oldest page is still in this shard.  So a client that keeps its
 * shards busy does not keep its pages.  The shard is memory of the client's,
 * which stays (tme_pick()).
 *
 * Return: false when the client has no page, or when its oldest page was in
 * another shard TME_BATCH times.
 */
static bool tme_evict_one(struct tme_client *client, bool own, long *bytes)
{
	struct tme_shard *shard, *next;
	struct tme_page *page;
	long freed;
	int tries;

	if (!own && tme_excess(client) == TME_NOTHING)
		return false;
	spin_lock(&client->lru_lock);
	shard = tme_oldest_shard(client);
	if (shard && spin_trylock(&shard->lock))
		goto found;
	for (tries = 0; shard && tries < TME_BATCH; tries++) {
		spin_unlock(&client->lru_lock);
		spin_lock(&shard->lock);
		spin_lock(&client->lru_lock);
		next = tme_oldest_shard(client);
		if (next == shard)
			goto found;
		spin_unlock(&shard->lock);
		shard = next;
	}
	spin_unlock(&client->lru_lock);
	return false;

found:
	page = list_entry(client->lru.next, struct tme_page, lru);
	list_del(&page->lru);
	WRITE_ONCE(client->eph_pages, client->eph_pages - 1);
	spin_unlock(&client->lru_lock);
	tme_page_count(shard, page, -1);
	tme_page_erase(page, tme_page_place(page));
	shard->stats.evicted++;
	spin_unlock(&shard->lock);
	freed = tme_page_free(client, page);
	if (bytes)
		*bytes += freed;
	return true;
}

/* What tme_make_room() does when there is too little: @err says of what */
int tme_evict_for(struct tme_client *client, bool pers, long room, int err)
{
	struct tme_client *victim = NULL;
	long bytes = 0;
	int work;

	for (work = 0; err && work < TME_PUT_EVICTS; work++,
	     err = tme_lacks_room(client, pers, room)) {
		if (err == -EDQUOT) {
			if (!tme_evict_one(client, true, NULL) &&
			    !READ_ONCE(client->eph_pages))
				break;
			continue;
		}
		/* Which client is most above its share changes with time */
		if (victim && !(work % TME_BATCH)) {
			tme_unpick(victim, bytes);
			victim = NULL;
			bytes = 0;
		}
		if (!victim)
			victim = tme_pick(client);
		if (!victim && READ_ONCE(client->host->barren))
			break;
		if (!victim)
			cpu_relax();
		if (!victim || !tme_evict_one(victim, false, &bytes))
			work |= TME_BATCH - 1;	/* look for another */
	}
	if (victim)
		tme_unpick(victim, bytes);
	/* Linux may have compacted the slots, which is not counted yet */
	if (err && (tme_charge_slots(client, false) |
		    tme_charge_slots(client, true)))
		err = tme_lacks_room(client, pers, room);
	return err;
}

/**
 * tme_evict() - drop ephemeral pages
 * @host: the machine
 * @nr: how many pages at most
 * @bytes: how much memory that gave back is added here; may be NULL
 *
 * Takes them from the client most above its share at that time, as far as that
 * is known (tme_choose()), the oldest first.  If this gives no memory, or no
 * page, the next ones are another client's.
 *
 * Return: how many it dropped; fewer than @nr when there are no more, when
 * others dropped them first TME_BATCH times, or when the port said to stop.
 */
unsigned long tme_evict(struct tme_host *host, unsigned long nr, long *bytes)
{
	unsigned long done = 0, last;
	int vain = 0;

	while (done < nr && vain < TME_BATCH) {
		struct tme_client *victim;
		long freed = 0;

		spin_lock(&host->lock);
		victim = tme_choose(host, NULL);
		if (victim)
			atomic_long_inc(&victim->evictors);
		spin_unlock(&host->lock);
		if (!victim)
			break;
		last = done;
		while (done < nr && done - last < TME_BATCH &&
		       tme_evict_one(victim, false, &freed))
			done++;
		if (bytes)
			*bytes += freed;
		tme_unpick(victim, freed);
		/* Others were faster: try the next client */
		if (done == last)
			vain++;
		else if (tme_port_should_stop())
			break;
	}
	return done;
}
EXPORT_SYMBOL_GPL(tme_evict);

/**
 * tme_evictable() - how many pages tme_evict() could drop
 * @host: the machine
 *
 * Return: the number of ephemeral pages, which may change at any time.
 */
unsigned long tme_evictable(struct tme_host *host)
{
	struct tme_client *client;
	unsigned long nr = 0;

	spin_lock(&host->lock);
	list_for_each_entry(client, &host->clients, node)
		nr += READ_ONCE(client->eph_pages);
	spin_unlock(&host->lock);
	return nr;
}
EXPORT_SYMBOL_GPL(tme_evictable);
