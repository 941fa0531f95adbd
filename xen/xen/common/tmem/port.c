/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * tmem engine: the Xen port, what does not fit in a header.
 *
 * Metadata comes from slabs: pages of the Xen heap, each cut into pieces of
 * one size.  Each client has its own, or it could leave one piece in each of
 * many pages, and nobody could be told to pay for them; and persistent and
 * ephemeral pages have their own, so that what stays does not hold on to
 * memory of what goes.
 *
 * No lock is shared by all domains on put, get and flush: each CPU keeps a few
 * free frames, and a few free pages for slabs.  These have not been scrubbed,
 * and never leave tmem but through free_domheap_page() or free_xenheap_page(),
 * which do that.
 *
 * The heap is short when it has no more than what tmem leaves to others.
 * Others may have used that up, too, so while it is short half of the frames
 * that come free go there: a put has to evict one more than it takes.  They go
 * there in turns of GIVE_FRAMES, for pages that were put one after the other
 * are neighbours, and of every second one nothing larger than a page would
 * ever come.
 *
 * Locks: a slab's and an arena's are leaves but for the xmem_pool's and the
 * heap's, inside of which the host's may be taken.  What is per CPU is
 * used by code that nothing preempts, and never by interrupts.
 */
#include <xen/cpu.h>
#include <xen/init.h>
#include <xen/random.h>
#include "engine.h"

/*
 * lz4.h wants headers that Xen does not have.  What is in the state is LZ4's
 * own business; zeros are a good start, and it is no larger than this.
 */
#define LZ4_STATE       4160

int LZ4_sizeofState(void);
int LZ4_compress_fast_extState_fastReset(
    void *state, const char *src, char *dst, int src_size, int dst_capacity,
    int acceleration);
int LZ4_decompress_safe(const char *src, char *dst, int compressed_size,
                        int dst_capacity);

/* Nothing of what is kept for devices that need low addresses */
#define MEMF_OURS       (MEMF_tmem | MEMF_no_dma)

unsigned int __read_mostly tme_port_piece_size[PORT_CACHES];
static bool __read_mostly look_at_pages;

DEFINE_PER_CPU(struct port_cpu, tme_port_cpus);

/* Pages that tmem has from the heap, but for its tables, on each node */
static atomic_long_t node_pages[MAX_NUMNODES];

/* @nr pages have come from the heap, or gone back if that is negative */
static void count_pages(const struct page_info *page, long nr)
{
    atomic_long_add(nr, &node_pages[phys_to_nid(page_to_maddr(page))]);
}

unsigned long tme_port_part(unsigned long nr, nodeid_t node)
{
    unsigned long all = 0, there = 0;
    unsigned int i;

    for ( i = 0; i < MAX_NUMNODES; i++ )
    {
        unsigned long pages = max(atomic_long_read(&node_pages[i]), 0L);

        all += pages;
        if ( node == i || node == NUMA_NO_NODE )
            there += pages;
    }

    return all ? nr * ((there << 20) / all) >> 20 : 0;
}

void tme_port_random(void *buf, size_t len)
{
    while ( len )
    {
        unsigned int word = get_random();
        size_t n = min(len, sizeof(word));

        memcpy(buf, &word, n);
        buf += n;
        len -= n;
    }
}

static void to_heap(struct page_info *page)
{
    count_pages(page, -1);
    free_domheap_page(page);
}

static void frame_to_heap(struct port_cpu *pc)
{
    to_heap(port_frame_page(pc->frame[--pc->nr_frames]));
}

static void *xenheap_get(unsigned int order)
{
    void *p = alloc_xenheap_pages(order, MEMF_OURS);

    if ( p )
        count_pages(virt_to_page(p), 1L << order);
    return p;
}

static void xenheap_put(void *p, unsigned int order)
{
    count_pages(virt_to_page(p), -(1L << order));
    free_xenheap_pages(p, order);
}

/*
 * Metadata and slots come from the heap even when that is short.  So that they
 * do not use up, little by little, what is left to others, as much goes back.
 */
static void repay(unsigned int nr)
{
    struct port_cpu *pc = &this_cpu(tme_port_cpus);

    if ( likely(!tmem_heap_is_short(0)) )
        return;
    while ( nr-- && pc->nr_frames )
        frame_to_heap(pc);
}

/*
 * What is to go offline does so in the heap.  A page that is marked after this
 * look is caught by the drain that follows the mark.
 */
static bool may_keep(const struct page_info *page)
{
    return likely(!read_atomic(&look_at_pages)) ||
           !page_state_is(page, offlining);
}

void tme_port_frame_free_slow(struct port_cpu *pc, unsigned long frame)
{
    struct page_info *page = port_frame_page(frame);
    bool scarce = tmem_heap_is_short(0);

    pc->keep = scarce || read_atomic(&look_at_pages) ? 0 : NR_FRAMES;
    if ( pc->nr_frames >= (scarce ? SPARE_FRAMES : NR_FRAMES) ||
         !may_keep(page) || (scarce && (pc->scarce++ & GIVE_FRAMES)) )
        to_heap(page);
    else
        pc->frame[pc->nr_frames++] = frame;
}

/* Under its lock.  Return: a page with free pieces, now in their list */
struct slab_page *tme_port_slab_grow(struct slab *slab, enum port_cache cache)
{
    struct port_cpu *pc = &this_cpu(tme_port_cpus);
    struct slab_page *page;

    if ( likely(pc->nr_slab_pages) )
        page = pc->slab_page[--pc->nr_slab_pages];
    else
    {
        page = xenheap_get(0);
        if ( page )
            repay(1);
        else if ( pc->nr_frames )
        {
            frame_to_heap(pc);
            page = xenheap_get(0);
        }
        if ( !page )
            return NULL;
    }
    page->free = NULL;
    page->used = 0;
    page->fresh = (PAGE_SIZE - sizeof(*page)) / tme_port_piece_size[cache];
    list_add(&page->list, &slab->partial);

    return page;
}

void tme_port_slab_page_free(struct slab_page *page)
{
    struct port_cpu *pc = &this_cpu(tme_port_cpus);

    if ( likely(pc->nr_slab_pages < (pc->keep ? NR_SLAB_PAGES : 1)) &&
         may_keep(virt_to_page(page)) )
        pc->slab_page[pc->nr_slab_pages++] = page;
    else
        xenheap_put(page, 0);
}

static bool frames_take(struct port_cpu *pc, unsigned int order)
{
    struct page_info *page = alloc_domheap_pages(NULL, order,
                                                 MEMF_OURS | MEMF_no_scrub);
    unsigned int i;

    /* Nobody owns them, so each can go its own way */
    for ( i = 0; page && i < 1U << order; i++ )
        pc->frame[pc->nr_frames++] = port_frame(page + i);
    if ( page )
        count_pages(page, 1L << order);

    return page;
}

/*
 * Several frames at a time cost hardly more than one.  But the last ones
 * before the heap is short are the smallest pieces that it has, so that the
 * larger ones are left to others; and when it has pieces only, nobody looks
 * for others each time.  What this CPU keeps will not do if the heap has
 * nothing that we would take: a put may need all of SPARE_FRAMES, for the page
 * and for slabs.
 */
bool tme_port_refill(struct port_cpu *pc)
{
    if ( tmem_heap_is_short(0) )
    {
        pc->keep = 0;
        return false;
    }
    if ( pc->single )
        pc->single--;
    else if ( !tmem_heap_is_short(REFILL_FAR) )
    {
        if ( frames_take(pc, REFILL_ORDER) )
            return true;
        pc->single = REFILL_AGAIN;
    }

    return frames_take(pc, 0);
}

static void port_cpu_drain(struct port_cpu *pc)
{
    pc->keep = 0;       /* look at the next one that comes */
    while ( pc->nr_frames )
        frame_to_heap(pc);
    while ( pc->nr_slab_pages )
        xenheap_put(pc->slab_page[--pc->nr_slab_pages], 0);
}

static void cf_check drain_tasklet(void *unused)
{
    port_cpu_drain(&this_cpu(tme_port_cpus));
}

unsigned int tme_port_drain(void)
{
    struct port_cpu *pc = &this_cpu(tme_port_cpus);
    unsigned int nr = pc->nr_frames + pc->nr_slab_pages;

    port_cpu_drain(pc);

    return nr;
}

/* A glance will do, unless @all of them have to be interrupted */
void tme_port_drain_others(bool all)
{
    unsigned int cpu;

    for_each_online_cpu ( cpu )
    {
        struct port_cpu *pc = &per_cpu(tme_port_cpus, cpu);

        if ( cpu != smp_processor_id() &&
             (all || read_atomic(&pc->nr_frames) ||
              read_atomic(&pc->nr_slab_pages)) )
            tasklet_schedule_on_cpu(&pc->drain, cpu);
    }
}

void tme_port_look_at_pages(void)
{
    write_atomic(&look_at_pages, true);
    tme_port_drain();
    tme_port_drain_others(true);
}

/*
 * Compressed slots
 */

/* What an xmem_pool takes at a time; 5 slots of 3072 bytes, the largest */
#define SLOTS_GROW      (4 * PAGE_SIZE)

static void *cf_check slots_get(unsigned long bytes)
{
    void *p = xenheap_get(get_order_from_bytes(bytes));

    if ( p )
        repay(bytes / PAGE_SIZE);
    return p;
}

static void cf_check slots_put(void *p)
{
    xenheap_put(p, get_order_from_bytes(SLOTS_GROW));
}

/* An xmem_pool that has nothing yet says that its size is this */
static unsigned long __read_mostly slots_empty;

struct port_arena *tme_port_arena_create(void)
{
    struct port_arena *arena = xzalloc(struct port_arena);
    unsigned int i;

    if ( !arena )
        return NULL;
    arena->pool = xmem_pool_create("tmem", slots_get, slots_put, 0,
                                   SLOTS_GROW);
    if ( !arena->pool )
    {
        xfree(arena);
        return NULL;
    }
    slots_empty = xmem_pool_get_total_size(arena->pool);
    spin_lock_init(&arena->lock);
    for ( i = 0; i < PORT_CACHES; i++ )
    {
        spin_lock_init(&arena->slab[i].lock);
        INIT_LIST_HEAD(&arena->slab[i].partial);
    }

    return arena;
}

void tme_port_arena_destroy(struct port_arena *arena)
{
    xmem_pool_destroy(arena->pool);
    xfree(arena);
}

long tme_port_slot_frames(struct port_arena *arena)
{
    return (xmem_pool_get_total_size(arena->pool) - slots_empty) / PAGE_SIZE;
}

unsigned long tme_port_slot_alloc(struct port_arena *arena, const void *src,
                                  unsigned int len, bool pers)
{
    void *slot;

    spin_lock(&arena->lock);
    slot = xmem_pool_alloc(len, arena->pool);
    spin_unlock(&arena->lock);

    return (unsigned long)(slot ? memcpy(slot, src, len) : NULL);
}

void tme_port_slot_free(struct port_arena *arena, unsigned long slot)
{
    spin_lock(&arena->lock);
    xmem_pool_free((void *)slot, arena->pool);
    spin_unlock(&arena->lock);
}

struct port_scratch *tme_port_scratch_get(void)
{
    return this_cpu(tme_port_cpus).scratch;
}

/* The guest may change @src at any time, which a compressor must not see */
int tme_port_compress(struct port_scratch *scratch, const void *src,
                      unsigned int max)
{
    memcpy(scratch->src, src, PAGE_SIZE);
    return LZ4_compress_fast_extState_fastReset(scratch->work, scratch->src,
                                                scratch->buf, PAGE_SIZE, max,
                                                1);
}

int tme_port_decompress(const void *src, unsigned int len, void *dst)
{
    return LZ4_decompress_safe(src, dst, len, PAGE_SIZE);
}

/*
 * CPUs come and go
 */

static int cpu_prepare(unsigned int cpu)
{
    struct port_cpu *pc = &per_cpu(tme_port_cpus, cpu);

    tasklet_init(&pc->drain, drain_tasklet, NULL);
    if ( !pc->scratch )
        pc->scratch = xzalloc_bytes(sizeof(*pc->scratch) + LZ4_STATE);

    return pc->scratch ? 0 : -ENOMEM;
}

static int cf_check cpu_callback(
    struct notifier_block *nfb, unsigned long action, void *hcpu)
{
    unsigned int cpu = (unsigned long)hcpu;
    struct port_cpu *pc = &per_cpu(tme_port_cpus, cpu);
    int rc = 0;

    switch ( action )
    {
    case CPU_UP_PREPARE:
        rc = cpu_prepare(cpu);
        break;
    case CPU_UP_CANCELED:
    case CPU_DEAD:
        tasklet_kill(&pc->drain);
        port_cpu_drain(pc);
        XFREE(pc->scratch);
        break;
    }

    return notifier_from_errno(rc);
}

static struct notifier_block cpu_nfb = {
    .notifier_call = cpu_callback,
};

/* Once, before other CPUs are there */
int tme_port_init(const size_t size[PORT_CACHES])
{
    unsigned int i;

    BUILD_BUG_ON(FRAMETABLE_VIRT_END > DIRECTMAP_VIRT_START);
    BUG_ON(LZ4_sizeofState() > LZ4_STATE);
    for ( i = 0; i < PORT_CACHES; i++ )
        tme_port_piece_size[i] = ROUNDUP(size[i], sizeof(void *));
    if ( cpu_prepare(smp_processor_id()) )
        return -ENOMEM;
    register_cpu_notifier(&cpu_nfb);

    return 0;
}

void tme_port_exit(void)
{
    ASSERT_UNREACHABLE();       /* tmem stays */
}

/*
 * Local variables:
 * mode: C
 * c-file-style: "BSD"
 * c-basic-offset: 4
 * tab-width: 4
 * indent-tabs-mode: nil
 * End:
 */
