/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Transcendent memory: what the rest of Xen knows of it.  See common/tmem/.
 */
#ifndef __XEN_TMEM_H__
#define __XEN_TMEM_H__

#include <xen/errno.h>
#include <xen/types.h>

struct domain;

/* How often an allocation may ask tmem_reclaim() */
#define TMEM_RECLAIM_TRIES 4

/* Pages that tmem leaves to others */
#define TMEM_RESERVE max(total_pages / 128, 512UL)

#ifdef CONFIG_TMEM

int tmem_init_domain(struct domain *d);
int tmem_teardown(struct domain *d);
int tmem_soft_reset(struct domain *d);

struct xen_sysctl_tmem_op;
int tmem_control(struct xen_sysctl_tmem_op *op);

unsigned int tmem_persistent_pages(const struct domain *d);
bool tmem_holds_pages(struct domain *d);
unsigned long tmem_freeable_pages(void);
unsigned long tmem_freeable_pages_on(int node);
bool tmem_reclaim(unsigned int order);
void tmem_page_goes_offline(void);

/* page_alloc.c: is less free than is left to others, and @pages more? */
bool tmem_heap_is_short(unsigned long pages);

#else /* !CONFIG_TMEM */

static inline int tmem_init_domain(struct domain *d)
{
    return 0;
}

static inline int tmem_teardown(struct domain *d)
{
    return 0;
}

static inline int tmem_soft_reset(struct domain *d)
{
    return 0;
}

static inline unsigned int tmem_persistent_pages(const struct domain *d)
{
    return 0;
}

static inline bool tmem_holds_pages(struct domain *d)
{
    return false;
}

static inline unsigned long tmem_freeable_pages(void)
{
    return 0;
}

static inline unsigned long tmem_freeable_pages_on(int node)
{
    return 0;
}

static inline bool tmem_heap_is_short(unsigned long pages)
{
    return false;
}

static inline void tmem_page_goes_offline(void)
{
}

static inline bool tmem_reclaim(unsigned int order)
{
    return false;
}

#endif /* !CONFIG_TMEM */

#endif /* __XEN_TMEM_H__ */

/*
 * Local variables:
 * mode: C
 * c-file-style: "BSD"
 * c-basic-offset: 4
 * tab-width: 4
 * indent-tabs-mode: nil
 * End:
 */
