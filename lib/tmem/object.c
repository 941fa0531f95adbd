// SPDX-License-Identifier: GPL-2.0
/*
 * tmem engine: objects, in the hash table of a shard, and the end of pages.
 *
 * The hash is keyed (tme_hash()), but a client can learn of the key, by timing
 * calls for ids of its choice.  So a chain of objects has a bound: a put of a
 * new object fails where TME_CHAIN_MAX others share its bucket, and buckets are
 * not merged beyond it.
 *
 * The table grows by linear hashing: each insertion that finds more objects
 * than buckets splits one bucket, and each removal that finds less than half as
 * many merges one.  Nothing is ever rehashed at large.  The buckets are kept in
 * a sparse array (index.c), so an empty bucket takes no memory, and "the number
 * of buckets" is only a number.
 */
#include "internal.h"

/*
 * Make @chain what is in a bucket; NULL: nothing.  Return: 0 or -ENOMEM, but
 * only where something comes into a bucket that is empty.
 */
int tme_bucket_set(struct tme_shard *shard, u32 bucket,
		   struct tme_object *chain)
{
	struct tme_index *ix = &shard->bucket;
	struct tme_place place = tme_index_find(ix, bucket);

	lockdep_assert_held(&shard->lock);
	if (!tme_entry(place))
		return chain ? tme_index_insert(ix, place, shard, bucket, chain)
			     : 0;
	if (chain)
		*place.slot = chain;
	else
		tme_index_erase(ix, place, shard, bucket);
	return 0;
}

/* Linear hashing: split the next bucket; if memory is short, another time */
void tme_hash_grow(struct tme_shard *shard)
{
	u32 mask = shard->buckets > shard->mask ? 2 * shard->mask + 1 :
						  shard->mask;
	u32 to = shard->buckets, from = to & (mask >> 1);
	struct tme_object *chain = tme_index_get(&shard->bucket, from);
	struct tme_object *obj, *stay = NULL, *move = NULL;

	for (obj = chain; obj; obj = obj->next)
		if ((obj->hash / TME_SHARDS & mask) == to)
			break;
	if (tme_bucket_set(shard, to, obj))
		return;

	if (obj) {
		while ((obj = chain)) {
			struct tme_object **head =
				(obj->hash / TME_SHARDS & mask) == to ? &move :
									&stay;

			chain = obj->next;
			obj->next = *head;
			*head = obj;
		}
		tme_bucket_set(shard, to, move);
		tme_bucket_set(shard, from, stay);
	}
	shard->mask = mask;
	shard->buckets++;
}

/*
 * Linear hashing: merge the last bucket; not now if that takes memory that is
 * short, or makes a chain too long
 */
static void tme_hash_shrink(struct tme_shard *shard)
{
	u32 from = shard->buckets - 1, to = from & (shard->mask >> 1);
	struct tme_object *chain = tme_index_get(&shard->bucket, from);
	struct tme_object *obj = tme_index_get(&shard->bucket, to);

	if (tme_chain_length(chain) + tme_chain_length(obj) > TME_CHAIN_MAX)
		return;
	if (chain && obj) {
		while (obj->next)
			obj = obj->next;
		obj->next = chain;
	} else if (chain && tme_bucket_set(shard, to, chain)) {
		return;
	}
	tme_bucket_set(shard, from, NULL);
	shard->buckets--;
	if (shard->buckets == (shard->mask >> 1) + 1)
		shard->mask >>= 1;
}

/* The last page of @obj is gone */
void tme_object_free(struct tme_object *obj)
{
	struct tme_shard *shard = obj->shard;
	u32 bucket = tme_bucket(shard, obj->hash);
	struct tme_object *prev = tme_index_get(&shard->bucket, bucket);

	lockdep_assert_held(&shard->lock);
	if (prev != obj) {
		while (prev->next != obj)
			prev = prev->next;
		prev->next = obj->next;
	} else {
		tme_bucket_set(shard, bucket, obj->next);
	}
	tme_meta_free(shard, PORT_OBJECT, sizeof(*obj), obj);
	if (!--shard->nr)
		atomic_long_add(-1, &shard->pool->shards_used);
	if (shard->nr < shard->buckets / 2)
		tme_hash_shrink(shard);
}

/* Unlink up to @nr pages of @obj.  Return: how many; @obj may be gone */
u32 tme_object_reap(struct tme_object *obj, struct list_head *list, u32 nr)
{
	struct tme_shard *shard = obj->shard;
	u32 n = 0, all = obj->pages.nr < nr ? obj->pages.nr : nr;

	for (; n < all; n++) {
		struct tme_page *page = tme_index_first(&obj->pages);

		tme_page_unlink(page, tme_page_place(page));
		list_add_tail(&page->lru, list);
	}
	shard->stats.flushed += n;
	return n;
}

/* As __tme_page_free(), where that is not most of the work */
long tme_page_free(struct tme_client *client, struct tme_page *page)
{
	return __tme_page_free(client, page);
}
