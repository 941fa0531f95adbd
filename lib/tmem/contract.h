/* SPDX-License-Identifier: GPL-2.0 */
/*
 * tmem engine: what it asks of its host.
 *
 * The engine is the same code in every host.  A port is a header, port.h, that
 * gives the engine what it needs there: lib/tmem/linux/port.h in Linux,
 * xen/common/tmem/port.h in Xen, tools/testing/tmem/port.h in user space.  Each
 * of them includes this file, which says what a port has to provide.  What is
 * called a function below may be a macro.
 */
#ifndef TME_CONTRACT_H
#define TME_CONTRACT_H

/**
 * DOC: Linux's names
 *
 * A port has these, with the meaning that they have in Linux:
 *
 * - u8, u16, u32, u64, bool, size_t, errno values and EDQUOT, PAGE_SIZE,
 *   PAGE_SHIFT, ULONG_MAX, LONG_MAX, DIV_ROUND_UP(), memcpy(), memset();
 * - noinline, __always_inline, ____cacheline_aligned, static_assert(),
 *   OPTIMIZER_HIDE_VAR(), EXPORT_SYMBOL_GPL(), WARN_ON_ONCE();
 * - ERR_PTR(), IS_ERR(), PTR_ERR_OR_ZERO();
 * - READ_ONCE(), WRITE_ONCE(), xchg(), smp_load_acquire(),
 *   smp_store_release(), cpu_relax();
 * - atomic_long_t with atomic_long_read(), _set(), _add(), _inc(), and
 *   atomic_long_add_return(), which is fully ordered;
 * - spinlock_t with spin_lock_init(), spin_lock(), spin_trylock(),
 *   spin_unlock(), and lockdep_assert_held(), which is nothing in a release
 *   build.  In a debug build Linux warns if this task does not hold the lock,
 *   and user space stops if this thread does not.  Xen stops if the lock is
 *   free, and takes any holder for the right one;
 * - struct list_head with LIST_HEAD(), INIT_LIST_HEAD(), list_add_tail(),
 *   list_del(), list_del_init(), list_empty(), list_entry(),
 *   list_for_each_entry(), list_for_each_entry_safe().
 */

/**
 * enum port_cache - kinds of metadata, each with pieces of one size
 * @PORT_PAGE: struct tme_page
 * @PORT_OBJECT: struct tme_object
 * @PORT_NODE: struct tme_node
 * @PORT_CACHES: number of kinds
 */
enum port_cache { PORT_PAGE, PORT_OBJECT, PORT_NODE, PORT_CACHES };

/**
 * DOC: A port's functions
 *
 * Unless noted otherwise, a function is called in any context in which the
 * engine is: with interrupts off, under spinlocks of the engine's caller and of
 * the engine, by several CPUs at once.  So it must not sleep, and must not call
 * the engine.  Functions that may sleep are called without a lock.
 *
 * int tme_port_init(const size_t size[PORT_CACHES])
 *	Prepare for a host.  @size is the size of a piece of each kind.  Called
 *	once for each tme_host_init(), and may sleep.  Returns 0 or -ENOMEM.
 *
 * void tme_port_exit(void)
 *	Undo one tme_port_init().  May sleep.
 *
 * void tme_port_random(void *buf, size_t len)
 *	Fill @buf with what no client can guess.  May sleep.
 *
 * bool tme_port_short(void)
 *	Does the host have too little memory for a put?  Then the put evicts
 *	until this is false, or fails.  Called without a lock of the engine.
 *
 * bool tme_port_keep_raw(void)
 *	Is an ephemeral page that does not compress worth a frame?  If not, its
 *	put fails.  Called without a lock of the engine.
 *
 * bool tme_port_should_stop(void)
 *	Has something else to run on this CPU?  Asked after each TME_BATCH pages
 *	of a walk; the call then returns, and its caller calls again.  Takes no
 *	lock.
 *
 * void *tme_port_zalloc(size_t size), void tme_port_free(void *p)
 *	Zeroed memory, aligned to a cache line, for the shards of a pool.  May
 *	sleep.  tme_port_zalloc() returns NULL if there is no memory.
 *
 * struct port_arena *tme_port_arena_create(void)
 * void tme_port_arena_destroy(struct port_arena *arena)
 *	An arena is memory that a client has to itself.  Each client has two:
 *	for its ephemeral and for its persistent pages.  Compressed slots come
 *	from it, and pieces of metadata if the port has slabs for each client.
 *	May sleep.  Created without anything in it; NULL if there is no memory.
 *	Destroyed when all is freed.
 *
 * long tme_port_slot_frames(struct port_arena *arena)
 *	The number of frames that the compressed slots of an arena take, gaps
 *	included.  May change by itself, if the port compacts.
 *
 * void *tme_port_cache_alloc(struct port_arena *arena, enum port_cache cache,
 *			      long *bytes)
 *	A piece of metadata, with any content; NULL if there is no memory.  Adds
 *	to @bytes what this took from the host: the size of the piece, or,
 *	if @arena has slabs, the size of a slab when one is added, else 0.
 *
 * long tme_port_cache_free(struct port_arena *arena, enum port_cache cache,
 *			    void *p)
 *	Free a piece.  Returns what this gave back to the host, counted in the
 *	same way.
 *
 * unsigned long tme_port_frame_alloc(bool pers)
 * void tme_port_frame_free(unsigned long frame)
 *	A frame of PAGE_SIZE bytes, with any content; 0 if there is no memory.
 *	@pers says that it is for a persistent page, for which a host may use
 *	more of its reserves.  Called without a lock of the engine.
 *
 * void *tme_port_frame_map(unsigned long frame)
 * void tme_port_frame_unmap(void *p)
 *	The address of a frame, aligned to a word.  One is mapped at a time.
 *
 * unsigned long tme_port_slot_alloc(struct port_arena *arena, const void *src,
 *				     unsigned int len, bool pers)
 *	A slot with a copy of @len bytes from @src, at most TME_COMPRESSED_MAX;
 *	0 if there is no memory.  @pers as above.  Called between
 *	tme_port_scratch_get() and tme_port_scratch_put().
 *
 * void tme_port_slot_free(struct port_arena *arena, unsigned long slot)
 *	Free a slot.
 *
 * void *tme_port_slot_map(struct port_arena *arena, unsigned long slot)
 * void tme_port_slot_unmap(struct port_arena *arena, unsigned long slot)
 *	The address of a slot.  One is mapped at a time.
 *
 * struct port_scratch *tme_port_scratch_get(void)
 * void tme_port_scratch_put(struct port_scratch *scratch)
 *	Memory of the compressor, with its output in @buf.  No other call gets
 *	it until it is put.  Called without a lock of the engine.
 *
 * int tme_port_compress(struct port_scratch *scratch, const void *src,
 *			 unsigned int max)
 *	Compress PAGE_SIZE bytes of @src to @buf.  Returns the length; 0 if it
 *	would be more than @max.
 *
 * int tme_port_decompress(const void *src, unsigned int len, void *dst)
 *	Returns the number of bytes written to @dst, PAGE_SIZE at most; anything
 *	else than PAGE_SIZE if @src is corrupted.
 */

#endif /* TME_CONTRACT_H */
