// SPDX-License-Identifier: GPL-2.0
/*
 * tmem engine: a sparse array from u32 to pointer.
 *
 * The engine needs two maps: from the index of a page to the page, per object;
 * and from the number of a hash bucket to the chain of objects, per shard.
 * Objects are files and stretches of swap: most have a few pages that lie close
 * together, many have one, and some have millions.  So:
 *
 * - A radix tree of 16 slots per node, as high as its largest key needs.  A
 *   full tree costs 9.1 bytes per entry, and a file of three pages 136 bytes.
 * - A lone entry is stored at the root, whatever its key, and takes no node at
 *   all.
 * - What is empty is freed at once, and the tree shrinks as it grew: memory
 *   depends on what is stored now, not on what was.
 *
 * No operation touches more than 8 nodes per key.  Nothing here locks: the
 * caller holds the lock of the shard.
 */
#include "index.h"

#define TME_NODE_LEVELS		8	/* DIV_ROUND_UP(32, TME_NODE_SHIFT) */

/* Store @entry below @node, which covers @key; may leave empty nodes behind */
static inline int tme_node_insert(struct tme_node *node,
				  struct tme_shard *owner, u32 key,
				  void *entry)
{
	struct tme_node *child;
	u32 i;

	for (; node->shift; node = child) {
		i = tme_slot(node, key);
		child = node->slot[i];
		if (child)
			continue;
		child = tme_node_alloc(owner);
		if (!child)
			return -ENOMEM;
		child->shift = node->shift - TME_NODE_SHIFT;
		node->slot[i] = child;
		node->used++;
	}
	node->slot[tme_slot(node, key)] = entry;
	node->used++;
	return 0;
}

/* Free the empty nodes on the way to @key, then what the rest does not need */
void tme_index_prune(struct tme_index *ix, struct tme_shard *owner, u32 key)
{
	struct tme_node *path[TME_NODE_LEVELS];
	struct tme_node *node = ix->root;
	int depth = 0;
	u32 i;

	for (;;) {
		path[depth++] = node;
		if (!node->shift || !node->slot[tme_slot(node, key)])
			break;
		node = node->slot[tme_slot(node, key)];
	}
	while (depth-- && !path[depth]->used) {
		tme_node_free(owner, path[depth]);
		if (!depth) {
			ix->root = NULL;
			return;
		}
		node = path[depth - 1];
		node->slot[tme_slot(node, key)] = NULL;
		node->used--;
	}

	node = ix->root;
	if (ix->nr == 1) {
		/* One left: find it, free the nodes above it */
		for (ix->lone = 0; ; node = ix->root) {
			bool leaf = !node->shift;

			for (i = 0; !node->slot[i]; i++)
				;
			ix->lone |= i << node->shift;
			ix->root = node->slot[i];
			tme_node_free(owner, node);
			if (leaf)
				return;
		}
	}
	while (node->shift && node->used == 1 && node->slot[0]) {
		ix->root = node->slot[0];
		tme_node_free(owner, node);
		node = ix->root;
	}
}

/**
 * tme_index_first() - find the entry with the lowest key
 * @ix: index
 *
 * Return: the entry; NULL when the index is empty.
 */
void *tme_index_first(struct tme_index *ix)
{
	struct tme_node *node = ix->root;
	u32 i;

	if (ix->nr < 2)
		return ix->root;
	for (;;) {
		for (i = 0; !node->slot[i]; i++)
			;
		if (!node->shift)
			return node->slot[i];
		node = node->slot[i];
	}
}

/* An insertion that takes a node, or starts a tree */
int tme_index_grow(struct tme_index *ix, struct tme_shard *owner, u32 key,
		   void *entry)
{
	struct tme_index grown = *ix;
	struct tme_node *node;
	int err = 0;

	if (!ix->nr) {
		ix->root = entry;
		ix->lone = key;
		ix->nr = 1;
		return 0;
	}

	/* Keep @ix as it is until all nodes are there */
	if (ix->nr == 1) {
		grown.root = tme_node_alloc(owner);
		if (!grown.root)
			return -ENOMEM;
		node = grown.root;
		while (!tme_node_covers(node, key | ix->lone))
			node->shift += TME_NODE_SHIFT;
		err = tme_node_insert(node, owner, ix->lone, ix->root);
		if (err) {
			grown.nr = 0;
			tme_index_prune(&grown, owner, ix->lone);
			return err;
		}
	}
	while (!tme_node_covers(grown.root, key)) {
		node = tme_node_alloc(owner);
		if (!node) {
			err = -ENOMEM;
			break;
		}
		node->shift = ((struct tme_node *)grown.root)->shift +
			      TME_NODE_SHIFT;
		node->slot[0] = grown.root;
		node->used = 1;
		grown.root = node;
	}
	if (!err)
		err = tme_node_insert(grown.root, owner, key, entry);
	if (err)
		tme_index_prune(&grown, owner, key);
	else
		grown.nr++;
	*ix = grown;
	return err;
}
