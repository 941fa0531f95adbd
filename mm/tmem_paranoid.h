/* SPDX-License-Identifier: GPL-2.0 */
/* Do not believe the backend, nor the clients: see mm/tmem_paranoid.c. */
#ifndef _MM_TMEM_PARANOID_H
#define _MM_TMEM_PARANOID_H

#include <linux/types.h>

struct folio;
struct page;
struct tmem_oid;

#ifdef CONFIG_TMEM_PARANOID
u64 tmem_paranoid_start(void);
void tmem_paranoid_put(int pool, const struct tmem_oid *oid, u32 index,
		       struct page *page, int ret);
int tmem_paranoid_get(u64 start, int pool, bool persistent,
		      const struct tmem_oid *oid, u32 index, struct page *page,
		      int ret);
void tmem_paranoid_flush_page(u64 start, int pool, const struct tmem_oid *oid,
			      u32 index, int ret);
void tmem_paranoid_flush_object(u64 start, int pool,
				const struct tmem_oid *oid, int ret);
void tmem_paranoid_destroy_pool(int pool);
void tmem_paranoid_name(int pool, const char *name);
bool tmem_paranoid_disk(int pool, const struct tmem_oid *oid,
			struct folio *folio, sector_t block);
#else
static inline u64 tmem_paranoid_start(void) { return 0; }
static inline void tmem_paranoid_put(int pool, const struct tmem_oid *oid,
				     u32 index, struct page *page, int ret) { }
static inline int tmem_paranoid_get(u64 start, int pool, bool persistent,
				    const struct tmem_oid *oid, u32 index,
				    struct page *page, int ret)
{
	return ret;
}

static inline void tmem_paranoid_flush_page(u64 start, int pool,
					    const struct tmem_oid *oid,
					    u32 index, int ret) { }
static inline void tmem_paranoid_flush_object(u64 start, int pool,
					      const struct tmem_oid *oid,
					      int ret) { }
static inline void tmem_paranoid_destroy_pool(int pool) { }
static inline void tmem_paranoid_name(int pool, const char *name) { }
static inline bool tmem_paranoid_disk(int pool, const struct tmem_oid *oid,
				      struct folio *folio, sector_t block)
{
	return true;
}
#endif

#endif /* _MM_TMEM_PARANOID_H */
