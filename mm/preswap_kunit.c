// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of preswap, with the fake backend of mm/tmem_kunit.c.
 *
 * Each test has two swap devices of its own.  They are not enabled: preswap
 * looks at them when it is given a slot, but does not find them by itself.
 */

#include <kunit/static_stub.h>
#include <kunit/test.h>
#include <kunit/test-bug.h>
#include <linux/bitmap.h>
#include <linux/delay.h>
#include <linux/jiffies.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/preswap.h>
#include <linux/string.h>
#include <linux/swap.h>
#include <linux/swapops.h>
#include <linux/tmem.h>
#include <linux/vmstat.h>
#include "swap.h"
#include "tmem_kunit.h"

#define PRESWAP_DEVICES		2
#define PRESWAP_OBJECT		4096	/* slots: 16 MiB */
#define PRESWAP_SLOTS		(2 * PRESWAP_OBJECT + 1)

struct preswap_test {
	struct swap_info_struct *si[PRESWAP_DEVICES];
	int zswap_drops;
};

static struct swap_info_struct *preswap_test_si(swp_entry_t entry)
{
	struct preswap_test *t = kunit_get_current_test()->priv;

	return swp_type(entry) < PRESWAP_DEVICES ? t->si[swp_type(entry)] :
						   NULL;
}

/* zswap does not know these devices */
static void preswap_test_drop_zswap(swp_entry_t entry)
{
	struct preswap_test *t = kunit_get_current_test()->priv;

	t->zswap_drops++;
}

static int preswap_test_init(struct kunit *test)
{
	struct swap_info_struct *si;
	struct preswap_test *t;
	int i;

	if (total_swap_pages)
		kunit_skip(test, "the numbers of these devices are in use");
	fake_reset();
	t = kunit_kzalloc(test, sizeof(*t), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, t);
	test->priv = t;
	kunit_activate_static_stub(test, preswap_si, preswap_test_si);
	kunit_activate_static_stub(test, preswap_drop_zswap,
				   preswap_test_drop_zswap);
	for (i = 0; i < PRESWAP_DEVICES; i++) {
		si = kunit_kzalloc(test, sizeof(*si), GFP_KERNEL);
		KUNIT_ASSERT_NOT_NULL(test, si);
		si->type = i;
		si->max = PRESWAP_SLOTS;
		/* Where a folio is marked dirty */
		KUNIT_ASSERT_EQ(test, 0,
				init_swap_address_space(i, PRESWAP_SLOTS));
		t->si[i] = si;
		KUNIT_ASSERT_EQ(test, 0, preswap_swapon(si));
		KUNIT_ASSERT_NOT_NULL(test, si->preswap_map);
	}
	KUNIT_ASSERT_EQ(test, 0, preswap_pages());
	return 0;
}

static void preswap_test_exit(struct kunit *test)
{
	struct preswap_test *t = test->priv;
	int i;

	for (i = 0; t && i < PRESWAP_DEVICES && t->si[i]; i++) {
		preswap_invalidate(swp_entry(i, 0), t->si[i]->max);
		preswap_swapoff(t->si[i]);
		exit_swap_address_space(i);
	}
	fake_sysfs_write("preswap_shrink", "max");
}

static struct swap_info_struct *preswap_dev(struct kunit *test, int type)
{
	struct preswap_test *t = test->priv;

	return t->si[type];
}

static int preswap_zswap_drops(struct kunit *test)
{
	struct preswap_test *t = test->priv;

	return t->zswap_drops;
}

static unsigned int preswap_bits(struct kunit *test)
{
	struct preswap_test *t = test->priv;
	unsigned int i, nr = 0;

	for (i = 0; i < PRESWAP_DEVICES; i++)
		nr += bitmap_weight(t->si[i]->preswap_map, t->si[i]->max);
	return nr;
}

/* P1, P3: bits, gauge and what the backend holds are the same number */
static void preswap_expect_pages(struct kunit *test, unsigned int nr)
{
	KUNIT_EXPECT_EQ(test, nr, preswap_bits(test));
	KUNIT_EXPECT_EQ(test, nr, preswap_pages());
	KUNIT_EXPECT_EQ(test, nr, fake_pages());
}

static void preswap_folio_leave(void *folio)
{
	folio_clear_swapcache(folio);
}

/* A folio in the swap cache */
static struct folio *preswap_folio(struct kunit *test, swp_entry_t entry,
				   unsigned int order, u8 byte)
{
	struct folio *folio = fake_folio(test, order, byte);

	__folio_set_swapbacked(folio);
	folio_set_swapcache(folio);
	folio->swap = entry;
	KUNIT_ASSERT_EQ(test, 0,
			kunit_add_action_or_reset(test, preswap_folio_leave,
						  folio));
	return folio;
}

static bool preswap_stores(struct kunit *test, swp_entry_t entry,
			   unsigned int order, u8 byte)
{
	struct folio *folio = preswap_folio(test, entry, order, byte);

	folio_mark_uptodate(folio);
	return preswap_store(folio);
}

/* Swap in; expects @byte if that finds anything */
static bool preswap_loads(struct kunit *test, swp_entry_t entry,
			  unsigned int order, u8 byte)
{
	struct folio *folio = preswap_folio(test, entry, order, 0);

	if (!preswap_load(folio)) {
		KUNIT_EXPECT_FALSE(test, folio_test_uptodate(folio));
		return false;
	}
	KUNIT_EXPECT_TRUE(test, folio_test_uptodate(folio));
	KUNIT_EXPECT_TRUE(test, folio_test_dirty(folio));
	KUNIT_EXPECT_TRUE(test, fake_folio_has(folio, byte));
	return true;
}

static void preswap_expect_call(struct kunit *test, unsigned int nr,
				enum fake_op op, swp_entry_t entry)
{
	const struct fake_call *call = fake_call(nr);

	KUNIT_EXPECT_LT(test, nr, fake_all_calls());
	KUNIT_EXPECT_EQ(test, op, call->op);
	KUNIT_EXPECT_EQ(test, 0, call->pool);
	KUNIT_EXPECT_EQ(test, swp_type(entry), call->oid.oid[0]);
	KUNIT_EXPECT_EQ(test, swp_offset(entry) / PRESWAP_OBJECT,
			call->oid.oid[1]);
	KUNIT_EXPECT_EQ(test, 0, call->oid.oid[2]);
	KUNIT_EXPECT_EQ(test, swp_offset(entry) % PRESWAP_OBJECT, call->index);
}

static void preswap_vmstat_names(struct kunit *test)
{
	static const char *const names[] = {
		PRESWAP_EVENTS(TMEM_EVENT_NAME)
	};
	int i;

	for (i = 0; i < ARRAY_SIZE(names); i++)
		KUNIT_EXPECT_STREQ(test, names[i],
				   vm_event_name(PRESWAP_PUT + i));
}

static void preswap_store_sets_bit_and_load_clears_it(struct kunit *test)
{
	swp_entry_t entry = swp_entry(1, 77);

	KUNIT_EXPECT_TRUE(test, preswap_stores(test, entry, 0, 0xa5));
	KUNIT_EXPECT_EQ(test, 1, preswap_zswap_drops(test));
	KUNIT_EXPECT_EQ(test, 1, fake_all_calls());
	preswap_expect_call(test, 0, FAKE_PUT_PAGE, entry);
	KUNIT_EXPECT_TRUE(test,
			  test_bit(77, preswap_dev(test, 1)->preswap_map));
	preswap_expect_pages(test, 1);

	/* A swap-out to the same slot puts over it */
	KUNIT_EXPECT_TRUE(test, preswap_stores(test, entry, 0, 0x5a));
	preswap_expect_pages(test, 1);

	KUNIT_EXPECT_TRUE(test, preswap_loads(test, entry, 0, 0x5a));
	KUNIT_EXPECT_EQ(test, 4, fake_all_calls());
	preswap_expect_call(test, 2, FAKE_GET_PAGE, entry);
	preswap_expect_call(test, 3, FAKE_FLUSH_PAGE, entry);
	preswap_expect_pages(test, 0);
	KUNIT_EXPECT_FALSE(test, preswap_loads(test, entry, 0, 0x5a));

	KUNIT_EXPECT_EQ(test, 2, fake_event(PRESWAP_PUT));
	KUNIT_EXPECT_EQ(test, 1, fake_event(PRESWAP_GET));
	KUNIT_EXPECT_EQ(test, 0, fake_event(PRESWAP_PUT_FAIL));
	KUNIT_EXPECT_EQ(test, 0, fake_event(PRESWAP_GET_FAIL));
	KUNIT_EXPECT_EQ(test, 0, fake_event(PRESWAP_FLUSH));
}

/* Without the swap cache: the slot is freed next, or still needs the page */
static void preswap_expect_copy(struct kunit *test, swp_entry_t entry, u8 byte)
{
	struct folio *folio = preswap_folio(test, entry, 0, 0);

	folio_clear_swapcache(folio);
	KUNIT_EXPECT_TRUE(test, preswap_load(folio));
	KUNIT_EXPECT_TRUE(test, folio_test_uptodate(folio));
	KUNIT_EXPECT_FALSE(test, folio_test_dirty(folio));
	KUNIT_EXPECT_TRUE(test, fake_folio_has(folio, byte));
}

static void preswap_load_beside_the_swap_cache_leaves_it(struct kunit *test)
{
	swp_entry_t entry = swp_entry(1, 77);

	KUNIT_EXPECT_TRUE(test, preswap_stores(test, entry, 0, 0xa5));
	preswap_expect_copy(test, entry, 0xa5);
	preswap_expect_copy(test, entry, 0xa5);
	preswap_expect_pages(test, 1);
}

static void preswap_large_folio_is_stored_by_pages(struct kunit *test)
{
	swp_entry_t entry = swp_entry(0, PRESWAP_OBJECT - 2);
	int i;

	KUNIT_EXPECT_TRUE(test, preswap_stores(test, entry, 2, 0x20));
	KUNIT_EXPECT_EQ(test, 4, fake_all_calls());
	for (i = 0; i < 4; i++)
		preswap_expect_call(test, i, FAKE_PUT_PAGE,
				    swp_entry(0, PRESWAP_OBJECT - 2 + i));
	preswap_expect_pages(test, 4);
	for (i = 0; i < 4; i++) {
		entry = swp_entry(0, PRESWAP_OBJECT - 2 + i);
		KUNIT_EXPECT_TRUE(test,
				  preswap_loads(test, entry, 0, 0x20 + i));
	}
	KUNIT_EXPECT_EQ(test, 4, fake_event(PRESWAP_PUT));
	KUNIT_EXPECT_EQ(test, 4, fake_event(PRESWAP_GET));
}

static const struct preswap_subpage {
	const char *what;
	int nr;
} preswap_subpages[] = {
	{ "first", 0 },
	{ "second", 1 },
	{ "third", 2 },
	{ "last", 3 },
};

KUNIT_ARRAY_PARAM_DESC(preswap_subpage, preswap_subpages, what);

static void preswap_store_is_all_or_nothing(struct kunit *test)
{
	const struct preswap_subpage *subpage = test->param_value;
	int i;

	/* Neighbours, and older copies on both sides of the one that fails */
	KUNIT_EXPECT_TRUE(test, preswap_stores(test, swp_entry(0, 7), 0, 1));
	KUNIT_EXPECT_TRUE(test, preswap_stores(test, swp_entry(0, 8), 0, 2));
	KUNIT_EXPECT_TRUE(test, preswap_stores(test, swp_entry(0, 11), 0, 3));
	KUNIT_EXPECT_TRUE(test, preswap_stores(test, swp_entry(0, 12), 0, 4));

	fake_fail(FAKE_PUT_PAGE, subpage->nr + 1, -ENOMEM);
	KUNIT_EXPECT_FALSE(test, preswap_stores(test, swp_entry(0, 8), 2, 5));
	/* Pages put before, pages that go elsewhere, and no slot freed */
	KUNIT_EXPECT_EQ(test, 4, fake_event(PRESWAP_PUT));
	KUNIT_EXPECT_EQ(test, 4, fake_event(PRESWAP_PUT_FAIL));
	KUNIT_EXPECT_EQ(test, 0, fake_event(PRESWAP_FLUSH));
	for (i = 8; i < 12; i++)
		KUNIT_EXPECT_FALSE(test, preswap_loads(test, swp_entry(0, i),
						       0, 0));
	preswap_expect_pages(test, 2);
	KUNIT_EXPECT_TRUE(test, preswap_loads(test, swp_entry(0, 7), 0, 1));
	KUNIT_EXPECT_TRUE(test, preswap_loads(test, swp_entry(0, 12), 0, 4));
}

static void preswap_failed_duplicate_put_clears_the_bit(struct kunit *test)
{
	swp_entry_t entry = swp_entry(0, 5);

	KUNIT_EXPECT_TRUE(test, preswap_stores(test, entry, 0, 1));
	fake_forget_calls();
	fake_fail(FAKE_PUT_PAGE, 1, -ENOMEM);
	KUNIT_EXPECT_FALSE(test, preswap_stores(test, entry, 0, 2));
	KUNIT_EXPECT_EQ(test, 2, fake_all_calls());
	preswap_expect_call(test, 1, FAKE_FLUSH_PAGE, entry);
	preswap_expect_pages(test, 0);
	KUNIT_EXPECT_FALSE(test, preswap_loads(test, entry, 0, 0));
	KUNIT_EXPECT_EQ(test, 1, fake_event(PRESWAP_PUT));
	KUNIT_EXPECT_EQ(test, 1, fake_event(PRESWAP_PUT_FAIL));
	KUNIT_EXPECT_EQ(test, 0, fake_event(PRESWAP_FLUSH));
}

static void preswap_load_of_clear_slot_looks_elsewhere(struct kunit *test)
{
	KUNIT_EXPECT_TRUE(test, preswap_stores(test, swp_entry(0, 3), 0, 1));
	KUNIT_EXPECT_TRUE(test, preswap_stores(test, swp_entry(0, 8), 0, 2));
	fake_forget_calls();
	KUNIT_EXPECT_FALSE(test, preswap_loads(test, swp_entry(0, 2), 0, 0));
	KUNIT_EXPECT_FALSE(test, preswap_loads(test, swp_entry(0, 4), 2, 0));
	KUNIT_EXPECT_FALSE(test, preswap_loads(test, swp_entry(1, 3), 0, 0));
	KUNIT_EXPECT_EQ(test, 0, fake_all_calls());
	KUNIT_EXPECT_EQ(test, 0, fake_event(PRESWAP_GET));
	KUNIT_EXPECT_EQ(test, 0, fake_event(PRESWAP_GET_FAIL));
}

/* P2: "true" keeps the caller off the disk, "not uptodate" off the data */
static void preswap_lost_page_is_not_read_from_elsewhere(struct kunit *test)
{
	swp_entry_t entry = swp_entry(0, 5);
	struct folio *folio;

	KUNIT_EXPECT_TRUE(test, preswap_stores(test, entry, 0, 1));
	fake_fail(FAKE_GET_PAGE, 1, -EIO);
	folio = preswap_folio(test, entry, 0, 0);
	KUNIT_EXPECT_TRUE(test, preswap_load(folio));
	KUNIT_EXPECT_FALSE(test, folio_test_uptodate(folio));
	KUNIT_EXPECT_EQ(test, 1, fake_event(PRESWAP_GET_FAIL));
	KUNIT_EXPECT_EQ(test, 0, fake_event(PRESWAP_GET));
	preswap_expect_pages(test, 1);
	/* An error that passes costs nothing in the end */
	KUNIT_EXPECT_TRUE(test, preswap_loads(test, entry, 0, 1));
}

static void preswap_invalidate_flushes_what_is_there_once(struct kunit *test)
{
	KUNIT_EXPECT_TRUE(test, preswap_stores(test, swp_entry(0, 3), 0, 1));
	KUNIT_EXPECT_TRUE(test, preswap_stores(test, swp_entry(0, 4), 0, 2));
	KUNIT_EXPECT_TRUE(test, preswap_stores(test, swp_entry(0, 6), 0, 3));
	KUNIT_EXPECT_TRUE(test, preswap_stores(test, swp_entry(0, 8), 0, 4));
	KUNIT_EXPECT_TRUE(test, preswap_stores(test, swp_entry(1, 4), 0, 5));
	fake_forget_calls();

	preswap_invalidate(swp_entry(0, 4), 4);
	KUNIT_EXPECT_EQ(test, 2, fake_all_calls());
	preswap_expect_call(test, 0, FAKE_FLUSH_PAGE, swp_entry(0, 4));
	preswap_expect_call(test, 1, FAKE_FLUSH_PAGE, swp_entry(0, 6));
	preswap_expect_pages(test, 3);

	preswap_invalidate(swp_entry(0, 4), 4);
	KUNIT_EXPECT_EQ(test, 2, fake_all_calls());
	KUNIT_EXPECT_EQ(test, 2, fake_event(PRESWAP_FLUSH));
	KUNIT_EXPECT_TRUE(test, preswap_loads(test, swp_entry(0, 3), 0, 1));
	KUNIT_EXPECT_TRUE(test, preswap_loads(test, swp_entry(0, 8), 0, 4));
	KUNIT_EXPECT_TRUE(test, preswap_loads(test, swp_entry(1, 4), 0, 5));
}

static void preswap_test_looks_at_exactly_its_slots(struct kunit *test)
{
	KUNIT_EXPECT_TRUE(test, preswap_stores(test, swp_entry(0, 7), 0, 1));
	KUNIT_EXPECT_TRUE(test, preswap_test(swp_entry(0, 7), 1));
	KUNIT_EXPECT_TRUE(test, preswap_test(swp_entry(0, 4), 4));
	KUNIT_EXPECT_TRUE(test, preswap_test(swp_entry(0, 7), 4));
	KUNIT_EXPECT_FALSE(test, preswap_test(swp_entry(0, 3), 4));
	KUNIT_EXPECT_FALSE(test, preswap_test(swp_entry(0, 8), 4));
	KUNIT_EXPECT_FALSE(test, preswap_test(swp_entry(1, 7), 1));
}

static void preswap_readahead_needs_an_enabled_device(struct kunit *test)
{
	KUNIT_EXPECT_TRUE(test, preswap_stores(test, swp_entry(0, 7), 0, 1));
	KUNIT_EXPECT_FALSE(test, preswap_skip_readahead(swp_entry(0, 7)));
}

static void preswap_sysfs_gates_puts_only(struct kunit *test)
{
	char *buf = kunit_kzalloc(test, PAGE_SIZE, GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, buf);
	KUNIT_EXPECT_EQ(test, -EINVAL, fake_sysfs_write("preswap", "x"));
	fake_sysfs_read("preswap", buf);
	KUNIT_EXPECT_STREQ(test, "1\n", buf);

	KUNIT_EXPECT_TRUE(test, preswap_stores(test, swp_entry(0, 5), 0, 1));
	KUNIT_EXPECT_TRUE(test, preswap_stores(test, swp_entry(0, 6), 0, 2));
	fake_forget_calls();
	KUNIT_EXPECT_EQ(test, 1, fake_sysfs_write("preswap", "0"));
	fake_sysfs_read("preswap", buf);
	KUNIT_EXPECT_FALSE(test, preswap_stores(test, swp_entry(0, 5), 0, 3));
	KUNIT_EXPECT_EQ(test, 1, fake_all_calls());
	preswap_expect_call(test, 0, FAKE_FLUSH_PAGE, swp_entry(0, 5));
	KUNIT_EXPECT_FALSE(test, preswap_loads(test, swp_entry(0, 5), 0, 0));
	preswap_expect_pages(test, 1);
	KUNIT_EXPECT_TRUE(test, preswap_loads(test, swp_entry(0, 6), 0, 2));
	KUNIT_EXPECT_EQ(test, 1, fake_sysfs_write("preswap", "1"));
	KUNIT_EXPECT_STREQ(test, "0\n", buf);
	KUNIT_EXPECT_EQ(test, 0, fake_event(PRESWAP_PUT_FAIL));

	KUNIT_EXPECT_TRUE(test, preswap_stores(test, swp_entry(0, 5), 0, 4));
	KUNIT_EXPECT_TRUE(test, preswap_loads(test, swp_entry(0, 5), 0, 4));
}

static void preswap_stop_puts(void)
{
	fake_sysfs_write("preswap", "0");
}

static void preswap_store_notices_that_puts_have_stopped(struct kunit *test)
{
	fake_during_put = preswap_stop_puts;
	KUNIT_EXPECT_FALSE(test, preswap_stores(test, swp_entry(0, 4), 2, 1));
	KUNIT_EXPECT_EQ(test, 1, fake_sysfs_write("preswap", "1"));
	KUNIT_EXPECT_EQ(test, 4, fake_calls(FAKE_PUT_PAGE));
	KUNIT_EXPECT_EQ(test, 4, fake_calls(FAKE_FLUSH_PAGE));
	preswap_expect_pages(test, 0);
}

/* After the resume another pool has the id, with nothing in it */
static void preswap_suspend_elsewhere(void)
{
	KUNIT_EXPECT_EQ(kunit_get_current_test(), 0, tmem_suspend(HZ));
	fake_lose_pages();
	tmem_resume();
}

static void preswap_store_notices_a_suspend_in_between(struct kunit *test)
{
	swp_entry_t entry = swp_entry(0, 4);

	fake_during_put = preswap_suspend_elsewhere;
	KUNIT_EXPECT_FALSE(test, preswap_stores(test, entry, 0, 1));
	preswap_expect_pages(test, 0);
	KUNIT_EXPECT_FALSE(test, preswap_loads(test, entry, 0, 1));

	fake_during_put = NULL;
	KUNIT_EXPECT_TRUE(test, preswap_stores(test, entry, 0, 2));
	KUNIT_EXPECT_TRUE(test, preswap_loads(test, entry, 0, 2));
}

static void preswap_pages_is_the_number_of_bits(struct kunit *test)
{
	char *buf = kunit_kzalloc(test, PAGE_SIZE, GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, buf);
	KUNIT_EXPECT_TRUE(test, preswap_stores(test, swp_entry(0, 8), 3, 1));
	KUNIT_EXPECT_TRUE(test, preswap_stores(test, swp_entry(1, 8), 2, 1));
	preswap_expect_pages(test, 12);
	fake_sysfs_read("preswap_pages", buf);
	KUNIT_EXPECT_STREQ(test, "12\n", buf);
	preswap_invalidate(swp_entry(0, 8), 8);
	preswap_expect_pages(test, 4);
	fake_sysfs_read("preswap_pages", buf);
	KUNIT_EXPECT_STREQ(test, "4\n", buf);
}

static void preswap_handle_splits_at_16_mib(struct kunit *test)
{
	static const unsigned long offsets[] = {
		1, PRESWAP_OBJECT - 1, PRESWAP_OBJECT, PRESWAP_OBJECT + 1,
		2 * PRESWAP_OBJECT,
	};
	int i;

	for (i = 0; i < ARRAY_SIZE(offsets); i++) {
		KUNIT_EXPECT_TRUE(test, preswap_stores(test,
						       swp_entry(0, offsets[i]),
						       0, i));
		preswap_expect_call(test, i, FAKE_PUT_PAGE,
				    swp_entry(0, offsets[i]));
	}
	preswap_expect_pages(test, ARRAY_SIZE(offsets));
	for (i = 0; i < ARRAY_SIZE(offsets); i++)
		KUNIT_EXPECT_TRUE(test, preswap_loads(test,
						      swp_entry(0, offsets[i]),
						      0, i));
}

/* No device is that large; show preswap the few bits that it will look at */
static void preswap_handle_beyond_32_bits(struct kunit *test)
{
	struct swap_info_struct *si = preswap_dev(test, 0);
	unsigned long *map = si->preswap_map;
	unsigned long bits[2] = { };
	swp_entry_t entry;
	u64 offset;

	if (!IS_ENABLED(CONFIG_64BIT))
		kunit_skip(test, "there are no such offsets");

	offset = (1ULL << 32) + 3 * PRESWAP_OBJECT + 7;
	entry = swp_entry(0, offset);
	si->preswap_map = (void *)((unsigned long)bits -
				   offset / BITS_PER_LONG * sizeof(long));
	KUNIT_EXPECT_TRUE(test, preswap_stores(test, entry, 0, 1));
	preswap_expect_call(test, 0, FAKE_PUT_PAGE, entry);
	KUNIT_EXPECT_EQ(test, (1 << 20) + 3, fake_last_call()->oid.oid[1]);
	KUNIT_EXPECT_EQ(test, 7, fake_last_call()->index);
	KUNIT_EXPECT_TRUE(test, preswap_test(entry, 1));
	preswap_expect_copy(test, entry, 1);
	KUNIT_EXPECT_EQ(test, BIT(offset % BITS_PER_LONG), bits[0]);
	preswap_invalidate(entry, 1);
	preswap_expect_call(test, 2, FAKE_FLUSH_PAGE, entry);
	KUNIT_EXPECT_EQ(test, 0, bits[0]);
	KUNIT_EXPECT_EQ(test, 0, bits[1]);
	si->preswap_map = map;
	preswap_expect_pages(test, 0);
}

static void preswap_devices_do_not_meet(struct kunit *test)
{
	KUNIT_EXPECT_TRUE(test, preswap_stores(test, swp_entry(0, 5), 0, 1));
	KUNIT_EXPECT_TRUE(test, preswap_stores(test, swp_entry(1, 5), 0, 2));
	KUNIT_EXPECT_TRUE(test, preswap_loads(test, swp_entry(0, 5), 0, 1));
	preswap_expect_pages(test, 1);
	KUNIT_EXPECT_TRUE(test, preswap_loads(test, swp_entry(1, 5), 0, 2));
}

static void preswap_swapoff_flushes_every_object(struct kunit *test)
{
	struct swap_info_struct *si = preswap_dev(test, 1);
	unsigned long offset;
	int i;

	preswap_swapoff(si);
	KUNIT_EXPECT_NULL(test, si->preswap_map);
	KUNIT_EXPECT_EQ(test, 3, fake_all_calls());
	for (i = 0, offset = 0; i < 3; i++, offset += PRESWAP_OBJECT)
		preswap_expect_call(test, i, FAKE_FLUSH_OBJECT,
				    swp_entry(1, offset));

	/* Without bits nothing is done for the device */
	fake_forget_calls();
	KUNIT_EXPECT_FALSE(test, preswap_stores(test, swp_entry(1, 5), 0, 1));
	KUNIT_EXPECT_FALSE(test, preswap_loads(test, swp_entry(1, 5), 0, 1));
	KUNIT_EXPECT_FALSE(test, preswap_test(swp_entry(1, 5), 1));
	preswap_invalidate(swp_entry(1, 5), 1);
	preswap_swapoff(si);
	KUNIT_EXPECT_EQ(test, 0, fake_all_calls());
	KUNIT_ASSERT_EQ(test, 0, preswap_swapon(si));
	KUNIT_EXPECT_EQ(test, 0, preswap_bits(test));
}

static void preswap_shrink_refuses_bad_input(struct kunit *test)
{
	static const char * const bad[] = { "", "x", "1x", "-1", "0x", "1 2" };
	int i;

	KUNIT_EXPECT_TRUE(test, preswap_stores(test, swp_entry(0, 5), 0, 1));
	for (i = 0; i < ARRAY_SIZE(bad); i++)
		KUNIT_EXPECT_EQ_MSG(test, -EINVAL,
				    fake_sysfs_write("preswap_shrink", bad[i]),
				    "%s", bad[i]);
	KUNIT_EXPECT_EQ(test, -ERANGE,
			fake_sysfs_write("preswap_shrink",
					 "99999999999999999999"));
	preswap_expect_pages(test, 1);
}

static void preswap_shrink_is_bounded(struct kunit *test)
{
	KUNIT_EXPECT_TRUE(test, preswap_stores(test, swp_entry(0, 5), 0, 1));
	KUNIT_EXPECT_EQ(test, 2, fake_sysfs_write("preswap_shrink", "1\n"));

	/* It does not find the devices, so no page can be brought back */
	KUNIT_EXPECT_EQ(test, -EBUSY, fake_sysfs_write("preswap_shrink", "0"));
	preswap_expect_pages(test, 1);
	KUNIT_EXPECT_EQ(test, 0, fake_event(PRESWAP_SHRINK));

	/* But no page is added from now on */
	KUNIT_EXPECT_FALSE(test, preswap_stores(test, swp_entry(0, 6), 0, 1));
	preswap_expect_pages(test, 1);
}

/* The number holds until there is another one, or "max" */
static void preswap_shrink_is_a_limit(struct kunit *test)
{
	char *buf = kunit_kzalloc(test, PAGE_SIZE, GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, buf);
	fake_sysfs_read("preswap_limit", buf);
	KUNIT_EXPECT_STREQ(test, "max\n", buf);
	KUNIT_EXPECT_EQ(test, 1, fake_sysfs_write("preswap_shrink", "5"));
	fake_sysfs_read("preswap_limit", buf);
	KUNIT_EXPECT_STREQ(test, "5\n", buf);

	KUNIT_EXPECT_TRUE(test, preswap_stores(test, swp_entry(0, 4), 2, 1));
	KUNIT_EXPECT_FALSE(test, preswap_stores(test, swp_entry(0, 8), 1, 1));
	KUNIT_EXPECT_TRUE(test, preswap_stores(test, swp_entry(0, 8), 0, 1));
	KUNIT_EXPECT_FALSE(test, preswap_stores(test, swp_entry(0, 9), 0, 1));
	KUNIT_EXPECT_EQ(test, 5, fake_calls(FAKE_PUT_PAGE));
	KUNIT_EXPECT_EQ(test, 0, fake_event(PRESWAP_PUT_FAIL));
	preswap_expect_pages(test, 5);

	/* Room that somebody has left is used */
	KUNIT_EXPECT_TRUE(test, preswap_loads(test, swp_entry(0, 8), 0, 1));
	KUNIT_EXPECT_TRUE(test, preswap_stores(test, swp_entry(0, 9), 0, 1));
	KUNIT_EXPECT_EQ(test, 4, fake_sysfs_write("preswap_shrink", "max\n"));
	KUNIT_EXPECT_TRUE(test, preswap_stores(test, swp_entry(0, 12), 2, 1));
	preswap_expect_pages(test, 9);
}

static void preswap_resumes_when_the_last_one_does(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, 0, tmem_suspend(HZ));
	KUNIT_EXPECT_EQ(test, 0, tmem_suspend(HZ));
	/* A shrink in between ends only its own stop */
	KUNIT_EXPECT_EQ(test, 1, fake_sysfs_write("preswap_shrink", "0"));
	KUNIT_EXPECT_EQ(test, 3, fake_sysfs_write("preswap_shrink", "max"));
	KUNIT_EXPECT_FALSE(test, preswap_stores(test, swp_entry(0, 5), 0, 1));
	tmem_resume();
	KUNIT_EXPECT_FALSE(test, preswap_stores(test, swp_entry(0, 5), 0, 1));
	KUNIT_EXPECT_EQ(test, 0, fake_all_calls());
	tmem_resume();
	KUNIT_EXPECT_TRUE(test, preswap_stores(test, swp_entry(0, 5), 0, 1));
	KUNIT_EXPECT_EQ(test, -EBUSY, tmem_suspend(HZ));
	KUNIT_EXPECT_TRUE(test, preswap_stores(test, swp_entry(0, 6), 0, 1));
	preswap_expect_pages(test, 2);
}

static unsigned long preswap_test_next(unsigned int type, unsigned long offset)
{
	struct swap_info_struct *si = preswap_test_si(swp_entry(type, 0));

	if (!si)
		return 0;
	offset = find_next_bit(si->preswap_map, si->max, offset);
	return offset < si->max ? offset : 0;
}

static int preswap_test_slow_pull(swp_entry_t entry, enum preswap_how how,
				  struct preswap_writes *writes)
{
	msleep(20);
	preswap_invalidate(entry, 1);
	return 0;
}

/* Without a limit a suspend would go on after the toolstack has given up */
static void preswap_suspend_has_a_time_limit(struct kunit *test)
{
	unsigned long start = jiffies;
	int i, left;

	kunit_activate_static_stub(test, preswap_next, preswap_test_next);
	kunit_activate_static_stub(test, preswap_pull, preswap_test_slow_pull);
	for (i = 1; i <= 20; i++)
		KUNIT_EXPECT_TRUE(test, preswap_stores(test, swp_entry(0, i), 0,
						       i));
	KUNIT_EXPECT_EQ(test, -ETIME, tmem_suspend(HZ / 10));
	KUNIT_EXPECT_LT(test, jiffies - start, HZ / 2);

	/* It goes on as if nothing had happened */
	left = preswap_pages();
	KUNIT_EXPECT_GT(test, left, 10);
	KUNIT_EXPECT_LT(test, left, 20);
	KUNIT_EXPECT_TRUE(test, preswap_loads(test, swp_entry(0, 20), 0, 20));
	KUNIT_EXPECT_TRUE(test, preswap_stores(test, swp_entry(1, 5), 0, 1));
	preswap_expect_pages(test, left);
	KUNIT_EXPECT_EQ(test, 0, tmem_suspend(MAX_JIFFY_OFFSET));
	preswap_expect_pages(test, 0);
	tmem_resume();
}

/* There is no way back from this: it has to be the last test */
static void preswap_failed_flush_ends_all_puts(struct kunit *test)
{
	KUNIT_EXPECT_TRUE(test, preswap_stores(test, swp_entry(0, 5), 0, 1));
	KUNIT_EXPECT_TRUE(test, preswap_stores(test, swp_entry(0, 6), 0, 2));
	fake_fail(FAKE_FLUSH_PAGE, 1, -EIO);
	preswap_invalidate(swp_entry(0, 5), 1);

	/* The page is still there, but no load finds it */
	KUNIT_EXPECT_EQ(test, 2, fake_pages());
	KUNIT_EXPECT_EQ(test, 1, preswap_bits(test));
	KUNIT_EXPECT_EQ(test, 1, preswap_pages());
	KUNIT_EXPECT_FALSE(test, preswap_loads(test, swp_entry(0, 5), 0, 0));

	fake_forget_calls();
	KUNIT_EXPECT_FALSE(test, preswap_stores(test, swp_entry(0, 7), 0, 3));
	KUNIT_EXPECT_EQ(test, 0, fake_all_calls());

	/* What tmem holds is the only copy: it must still be readable */
	KUNIT_EXPECT_TRUE(test, preswap_loads(test, swp_entry(0, 6), 0, 2));
}

static struct kunit_case preswap_cases[] = {
	KUNIT_CASE(preswap_vmstat_names),
	KUNIT_CASE(preswap_store_sets_bit_and_load_clears_it),
	KUNIT_CASE(preswap_load_beside_the_swap_cache_leaves_it),
	KUNIT_CASE(preswap_large_folio_is_stored_by_pages),
	KUNIT_CASE_PARAM(preswap_store_is_all_or_nothing,
			 preswap_subpage_gen_params),
	KUNIT_CASE(preswap_failed_duplicate_put_clears_the_bit),
	KUNIT_CASE(preswap_load_of_clear_slot_looks_elsewhere),
	KUNIT_CASE(preswap_lost_page_is_not_read_from_elsewhere),
	KUNIT_CASE(preswap_invalidate_flushes_what_is_there_once),
	KUNIT_CASE(preswap_test_looks_at_exactly_its_slots),
	KUNIT_CASE(preswap_readahead_needs_an_enabled_device),
	KUNIT_CASE(preswap_sysfs_gates_puts_only),
	KUNIT_CASE(preswap_store_notices_that_puts_have_stopped),
	KUNIT_CASE(preswap_store_notices_a_suspend_in_between),
	KUNIT_CASE(preswap_pages_is_the_number_of_bits),
	KUNIT_CASE(preswap_handle_splits_at_16_mib),
	KUNIT_CASE(preswap_handle_beyond_32_bits),
	KUNIT_CASE(preswap_devices_do_not_meet),
	KUNIT_CASE(preswap_swapoff_flushes_every_object),
	KUNIT_CASE(preswap_shrink_refuses_bad_input),
	KUNIT_CASE(preswap_shrink_is_bounded),
	KUNIT_CASE(preswap_shrink_is_a_limit),
	KUNIT_CASE(preswap_resumes_when_the_last_one_does),
	KUNIT_CASE(preswap_suspend_has_a_time_limit),
	KUNIT_CASE(preswap_failed_flush_ends_all_puts),
	{}
};

static struct kunit_suite preswap_suite = {
	.name = "preswap",
	.suite_init = fake_register,
	.init = preswap_test_init,
	.exit = preswap_test_exit,
	.test_cases = preswap_cases,
};

kunit_test_suite(preswap_suite);
