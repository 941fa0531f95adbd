/* SPDX-License-Identifier: GPL-2.0 */
/*
 * tmem engine: a sparse array from u32 to pointer, see index.c.
 */
#ifndef TME_INDEX_H
#define TME_INDEX_H

#include "port.h"

struct tme_shard;

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

void *tme_index_first(struct tme_index *ix);
int tme_index_insert(struct tme_index *ix, struct tme_shard *owner, u32 key,
		     void *entry);
void tme_index_replace(struct tme_index *ix, u32 key, void *entry);
void tme_index_erase(struct tme_index *ix, struct tme_shard *owner, u32 key);

static inline u32 tme_slot(const struct tme_node *node, u32 key)
{
	return (key >> node->shift) & (TME_NODE_SLOTS - 1);
}

/* Does a tree below @node have a place for @key? */
static inline bool tme_node_covers(const struct tme_node *node, u32 key)
{
	return !((key >> node->shift) >> TME_NODE_SHIFT);
}

/* Where the entry of @key is stored; NULL or a place of NULL: there is none */
static inline void **tme_index_find(struct tme_index *ix, u32 key)
{
	struct tme_node *node = ix->root;
	void **slot;

	if (ix->nr < 2)
		return ix->lone == key ? &ix->root : NULL;
	if (!tme_node_covers(node, key))
		return NULL;
	for (;;) {
		slot = &node->slot[tme_slot(node, key)];
		if (!*slot)
			return NULL;
		if (!node->shift)
			return slot;
		node = *slot;
	}
}

/**
 * tme_index_get() - look up an entry
 * @ix: index
 * @key: its key
 *
 * In this file, as it is most of what a put, get or flush does in an index, and
 * cheaper than the calls.
 *
 * Return: the entry or NULL.
 */
static inline void *tme_index_get(struct tme_index *ix, u32 key)
{
	void **slot = tme_index_find(ix, key);

	return slot ? *slot : NULL;
}

/* Where nodes come from: engine.c, which counts them against the owner */
struct tme_node *tme_node_alloc(struct tme_shard *owner);
void tme_node_free(struct tme_shard *owner, struct tme_node *node);

#endif /* TME_INDEX_H */
