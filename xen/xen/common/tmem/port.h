/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * tmem engine: the Xen port.
 *
 * What the engine asks of any port (contract.h), by Xen: slabs of Xen heap
 * pages for metadata, owner-less pages of the domain heap for frames,
 * xmem_pool for compressed slots, LZ4 from the distribution.  None of it is
 * memory that a domain owns or can name.
 *
 * The engine is written for Linux and for user space; the first part of this
 * file gives the few names that Xen lacks, or has by another name.
 */
#ifndef TME_PORT_H
#define TME_PORT_H

#include <xen/cache.h>
#include <xen/domain_page.h>
#include <xen/err.h>
#include <xen/errno.h>
#include <xen/lib.h>
#include <xen/list.h>
#include <xen/mm.h>
#include <xen/percpu.h>
#include <xen/sched.h>
#include <xen/spinlock.h>
#include <xen/string.h>
#include <xen/tasklet.h>
#include <xen/tmem.h>
#include <xen/types.h>
#include <xen/xmalloc.h>
#include <asm/event.h>
#include "contract.h"

/* Linux's, and the engine's: "over quota".  It does not leave tmem */
#define EDQUOT                  122

#define READ_ONCE(x)            ACCESS_ONCE(x)
#define WRITE_ONCE(x, v)        (ACCESS_ONCE(x) = (v))
#define ____cacheline_aligned   __cacheline_aligned
#define __always_inline         always_inline
#define static_assert           _Static_assert
#define EXPORT_SYMBOL_GPL(name)
#define lockdep_assert_held(l)  ASSERT(spin_is_locked(l))

#define smp_load_acquire(p)     __atomic_load_n(p, __ATOMIC_ACQUIRE)
#define smp_store_release(p, v) __atomic_store_n(p, v, __ATOMIC_RELEASE)

#define WARN_ON_ONCE(cond) ({                                           \
    static bool warned_;                                                \
    bool cond_ = (cond);                                                \
                                                                        \
    if ( unlikely(cond_) && !warned_ )                                  \
    {                                                                   \
        warned_ = true;                                                 \
        WARN();                                                         \
    }                                                                   \
    cond_;                                                              \
})

static inline int PTR_ERR_OR_ZERO(const void *ptr)
{
    return IS_ERR(ptr) ? PTR_ERR(ptr) : 0;
}

typedef struct { long counter; } atomic_long_t;

#define atomic_long_read(v)     READ_ONCE((v)->counter)
#define atomic_long_set(v, i)   WRITE_ONCE((v)->counter, i)
#define atomic_long_add(i, v) \
    ((void)__atomic_add_fetch(&(v)->counter, i, __ATOMIC_RELAXED))
/* Fully ordered */
#define atomic_long_add_return(i, v) \
    __atomic_add_fetch(&(v)->counter, i, __ATOMIC_SEQ_CST)
#define atomic_long_inc(v)      atomic_long_add(1, v)

int tme_port_init(const size_t size[PORT_CACHES]);
void tme_port_exit(void);

void tme_port_random(void *buf, size_t len);
/*
 * Asked under whatever locks an allocation that reclaims is called with.  To
 * see whether an HVM vCPU has events, as general_preempt_check() does, may end
 * an interrupt of the guest, with all that hangs on it, and that takes locks.
 */
#define tme_port_should_stop()  softirq_pending(smp_processor_id())
#define tme_port_zalloc(size)   _xzalloc(size, SMP_CACHE_BYTES)
#define tme_port_free(p)        xfree(p)

/* Slabs for metadata, and a pool of compressed slots */
struct port_arena {
    /*
     * An xmem_pool takes memory without its own lock, and gives a region back
     * only when the last slot in it is freed.  If another CPU added a region
     * at the same time, or freed a slot that will do, a region without a slot
     * would stay until a slot is taken there, and be lost if the pool goes
     * before.
     */
    spinlock_t lock;
    struct xmem_pool *pool;
    struct slab {
        spinlock_t lock;
        struct list_head partial;       /* pages with a free piece */
    } slab[PORT_CACHES];
};

struct port_arena *tme_port_arena_create(void);
void tme_port_arena_destroy(struct port_arena *arena);

/* At the start of each page of a slab */
struct slab_page {
    struct list_head list;      /* in slab->partial, unless full */
    void *free;                 /* each free piece points to the next */
    unsigned int used;
    unsigned int fresh;         /* at the end: have never been used */
};

#define NR_FRAMES       32      /* frames that a CPU keeps */
#define SPARE_FRAMES    4       /* of these, for a put if the heap is short */
#define GIVE_FRAMES     16      /* that go to it in turn, while it is short */
#define REFILL_ORDER    2       /* how many the heap is asked for at a time */
#define REFILL_FAR      4096    /* if that many are free beyond the reserve */
#define REFILL_AGAIN    256     /* refills by one, once it has only pieces */
#define NR_SLAB_PAGES   8       /* pages for slabs that a CPU keeps */

struct port_cpu {
    unsigned int nr_frames, nr_slab_pages;
    unsigned int keep;          /* frames, without a look at them */
    unsigned int single;        /* how many more times to ask for one only */
    unsigned int scarce;        /* frames that came while the heap was short */
    unsigned long frame[NR_FRAMES];
    struct slab_page *slab_page[NR_SLAB_PAGES];
    struct tasklet drain;
    struct port_scratch *scratch;
};

DECLARE_PER_CPU(struct port_cpu, tme_port_cpus);

extern unsigned int tme_port_piece_size[PORT_CACHES];

/*
 * Most of a put, get or flush is in the functions that follow, and to call
 * them would cost as much again: what they mostly do is here, the rest in
 * port.c.
 */

struct slab_page *tme_port_slab_grow(struct slab *slab, enum port_cache cache);
void tme_port_slab_page_free(struct slab_page *page);

static inline bool slab_page_full(const struct slab_page *page)
{
    return !page->free && !page->fresh;
}

/* Adds the size of the page that the slab grows by, if it does, to @bytes */
static inline void *tme_port_cache_alloc(struct port_arena *arena,
                                         enum port_cache cache, long *bytes)
{
    struct slab *slab = &arena->slab[cache];
    struct slab_page *page;
    void *piece = NULL;

    spin_lock(&slab->lock);
    page = list_first_entry_or_null(&slab->partial, struct slab_page, list);
    if ( unlikely(!page) )
    {
        page = tme_port_slab_grow(slab, cache);
        if ( !page )
            goto out;
        *bytes += PAGE_SIZE;
    }
    piece = page->free;
    if ( piece )
        page->free = *(void **)piece;
    else
        piece = (void *)page + PAGE_SIZE -
                page->fresh-- * tme_port_piece_size[cache];
    page->used++;
    if ( slab_page_full(page) )
        list_del(&page->list);
 out:
    spin_unlock(&slab->lock);

    return piece;
}

/* Return: the size of the page that the slab shrinks by, if it does */
static inline long tme_port_cache_free(struct port_arena *arena,
                                       enum port_cache cache, void *p)
{
    struct slab *slab = &arena->slab[cache];
    struct slab_page *page = (void *)((unsigned long)p & PAGE_MASK);
    bool empty;

    spin_lock(&slab->lock);
    if ( slab_page_full(page) )
        list_add(&page->list, &slab->partial);
    *(void **)p = page->free;
    page->free = p;
    empty = !--page->used;
    if ( empty )
        list_del(&page->list);
    spin_unlock(&slab->lock);
    if ( likely(!empty) )
        return 0;

    tme_port_slab_page_free(page);
    return PAGE_SIZE;
}

/* This CPU keeps too little for a put: has the heap nothing?  Then evict */
bool tme_port_refill(struct port_cpu *pc);

static inline bool tme_port_short(void)
{
    struct port_cpu *pc = &this_cpu(tme_port_cpus);

    return unlikely(pc->nr_frames < SPARE_FRAMES) && !tme_port_refill(pc);
}

/*
 * Is an ephemeral page that does not compress worth a frame?  Yes: the domain
 * that puts it gives up none.
 */
#define tme_port_keep_raw() true

/*
 * A page as the hypervisor has it mapped anyway, or NULL.  It has nearly every
 * page in a release build; a debug build is to find code that does without a
 * mapping.
 */
static inline void *page_mapped(const struct page_info *page)
{
#ifdef NDEBUG
    void *va = page_to_virt(page);

    if ( likely((unsigned long)va < HYPERVISOR_VIRT_END) )
        return va;
#endif
    return NULL;
}

static inline bool always_mapped(unsigned long va)
{
    return likely(va >= DIRECTMAP_VIRT_START);
}

/* As map_domain_page(), which goes from page to frame number to address */
static inline void *port_map(const struct page_info *page)
{
    return page_mapped(page) ?: __map_domain_page(page);
}

static inline void port_unmap(const void *va)
{
    if ( !always_mapped((unsigned long)va) )
        unmap_domain_page(va);
}

/*
 * A frame is the address of a page that is always mapped, or else of its
 * struct page_info, which is below these.
 */
static inline unsigned long port_frame(struct page_info *page)
{
    return (unsigned long)(page_mapped(page) ?: page);
}

static inline struct page_info *port_frame_page(unsigned long frame)
{
    return always_mapped(frame) ? virt_to_page((void *)frame)
                                : (struct page_info *)frame;
}

static inline void *tme_port_frame_map(unsigned long frame)
{
    return always_mapped(frame) ? (void *)frame
                                : __map_domain_page(port_frame_page(frame));
}

#define tme_port_frame_unmap(va) port_unmap(va)

static inline unsigned long tme_port_frame_alloc(bool pers)
{
    struct port_cpu *pc = &this_cpu(tme_port_cpus);

    return pc->nr_frames ? pc->frame[--pc->nr_frames] : 0;
}

void tme_port_frame_free_slow(struct port_cpu *pc, unsigned long frame);

static inline void tme_port_frame_free(unsigned long frame)
{
    struct port_cpu *pc = &this_cpu(tme_port_cpus);

    if ( likely(pc->nr_frames < pc->keep) )
        pc->frame[pc->nr_frames++] = frame;
    else
        tme_port_frame_free_slow(pc, frame);
}

/*
 * Give back what this CPU keeps.  Return: how many pages.  And let others give
 * back, soon, what they keep: those that seem to keep something, or @all
 */
unsigned int tme_port_drain(void);
void tme_port_drain_others(bool all);

/* How much of @nr pages is, as far as one can say, on a node? */
unsigned long tme_port_part(unsigned long nr, nodeid_t node);

/* Look from now on at what is freed: what is to go offline goes to the heap */
void tme_port_look_at_pages(void);

long tme_port_slot_frames(struct port_arena *arena);
#define tme_port_slot_map(arena, slot) ((void *)(slot))
#define tme_port_slot_unmap(arena, slot) ((void)(slot))
unsigned long tme_port_slot_alloc(struct port_arena *arena, const void *src,
                                  unsigned int len, bool pers);
void tme_port_slot_free(struct port_arena *arena, unsigned long slot);

/*
 * A compressor's memory, one per CPU.  Nothing preempts a hypercall, and no
 * interrupt compresses, so it needs no lock.
 */
struct port_scratch {
    char buf[PAGE_SIZE];
    char src[PAGE_SIZE];
    char work[];
};

struct port_scratch *tme_port_scratch_get(void);
#define tme_port_scratch_put(scratch) ((void)(scratch))
int tme_port_compress(struct port_scratch *scratch, const void *src,
                      unsigned int max);    /* 0: does not fit */
int tme_port_decompress(const void *src, unsigned int len, void *dst);

#endif /* TME_PORT_H */

/*
 * Local variables:
 * mode: C
 * c-file-style: "BSD"
 * c-basic-offset: 4
 * tab-width: 4
 * indent-tabs-mode: nil
 * End:
 */
