/* SPDX-License-Identifier: GPL-2.0 */
/*
 * tmem engine: a sparse array from u32 to pointer, see index.c.
 */
#ifndef TME_INDEX_H
#define TME_INDEX_H

#include "engine.h"

#define TME_NODE_SHIFT	4
#define TME_NODE_SLOTS	16u	/* 1 << TME_NODE_SHIFT */

/* A node of the tree; @slot holds nodes where @shift > 0, else entries */
struct tme_node {
	void *slot[TME_NODE_SLOTS];
	u8 shift;	/* bits of the key below this node */
	u8 used;	/* slots that are not NULL, never 0 between calls */
};

/**
 * struct tme_index - a sparse array; all zero when empty
 * @root: the top node; the entry itself when it is the only one
 * @nr: number of entries
 * @lone: key of the only entry, when @nr is 1
 */
struct tme_index {
	void *root;
	u32 nr;
	u32 lone;
};

/**
 * struct tme_place - where the entry of a key is, or would be
 * @slot: NULL when the tree has no place for the key
 * @leaf: the node that has @slot; NULL when that is the root, or NULL
 *
 * Good until the index changes.
 */
struct tme_place {
	void **slot;
	struct tme_node *leaf;
};

/* Where nodes come from: account.c, which counts them against the owner */
struct tme_node *tme_node_alloc(struct tme_shard *owner);
void tme_node_free(struct tme_shard *owner, struct tme_node *node);

void *tme_index_first(struct tme_index *ix);
int tme_index_grow(struct tme_index *ix, struct tme_shard *owner, u32 key,
		   void *entry);
void tme_index_prune(struct tme_index *ix, struct tme_shard *owner, u32 key);

static inline u32 tme_slot(const struct tme_node *node, u32 key)
{
	return (key >> node->shift) & (TME_NODE_SLOTS - 1);
}

/* Does a tree below @node have a place for @key? */
static inline bool tme_node_covers(const struct tme_node *node, u32 key)
{
	return !((key >> node->shift) >> TME_NODE_SHIFT);
}

/*
 * The rest is in this file, as it is most of what a put, get or flush does in
 * an index, and cheaper than the calls.  Each of them looks for a page once.
 */

/**
 * tme_index_find() - look for a key
 * @ix: index
 * @key: any
 *
 * Return: its place, for the functions below.
 */
static inline struct tme_place tme_index_find(struct tme_index *ix, u32 key)
{
	const struct tme_place none = {};
	struct tme_node *node = ix->root;
	void **slot;
	u32 i;

	if (ix->nr < 2)
		return ix->lone == key ?
		       (struct tme_place){ .slot = &ix->root } : none;
	i = key >> node->shift;
	if (i >= TME_NODE_SLOTS)
		return none;
	i = tme_clamp(i, TME_NODE_SLOTS);
	for (;;) {
		slot = &node->slot[i];
		if (!node->shift)
			return (struct tme_place){ .slot = slot, .leaf = node };
		if (!*slot)
			return none;
		node = *slot;
		i = tme_slot(node, key);
	}
}

/* The entry there, or NULL */
static inline void *tme_entry(struct tme_place place)
{
	return place.slot ? *place.slot : NULL;
}

/* The entry of @key, or NULL */
static inline void *tme_index_get(struct tme_index *ix, u32 key)
{
	return tme_entry(tme_index_find(ix, key));
}

/**
 * tme_index_insert() - add an entry
 * @ix: index
 * @place: of @key, which has no entry
 * @owner: the shard that new nodes are counted against
 * @key: the key
 * @entry: not NULL
 *
 * Return: 0; -ENOMEM, also when there are as many entries as can be counted,
 * and then nothing has changed.
 */
static inline int tme_index_insert(struct tme_index *ix,
				   struct tme_place place,
				   struct tme_shard *owner, u32 key,
				   void *entry)
{
	if (ix->nr == ~0u)
		return -ENOMEM;
	if (!place.leaf)
		return tme_index_grow(ix, owner, key, entry);
	*place.slot = entry;
	place.leaf->used++;
	ix->nr++;
	return 0;
}

/**
 * tme_index_erase() - remove an entry
 * @ix: index
 * @place: of @key, which has an entry
 * @owner: as at the insertion
 * @key: the key
 */
static inline void tme_index_erase(struct tme_index *ix, struct tme_place place,
				   struct tme_shard *owner, u32 key)
{
	*place.slot = NULL;
	ix->nr--;
	/* Mostly others are left beside it: no node gets empty */
	if (place.leaf && (!--place.leaf->used || ix->nr < 2))
		tme_index_prune(ix, owner, key);
}

#endif /* TME_INDEX_H */
