// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of the tmem core, and the fake backend that the tests of its
 * clients use too.
 *
 * The fake keeps pages in a small array, writes down each call, and fails where
 * a test has asked for that.  There is no way to unregister a backend.  So the
 * first suite to run registers the fake, for all suites and for ever, and each
 * test begins with fake_reset().  Only a test can put: the kernel that runs the
 * tests may go on, and swap.
 *
 * The command line must say `tmem=xen`.  The fake goes by that name, so that
 * other built-in backends stay away, and so that there is a wrong name to test.
 */

#include <kunit/test.h>
#include <kunit/test-bug.h>
#include <linux/bitmap.h>
#include <linux/fs.h>
#include <linux/highmem.h>
#include <linux/kobject.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/precache.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/sysfs.h>
#include <linux/tmem.h>
#include <linux/vmstat.h>
#include "tmem_kunit.h"

#define FAKE_POOLS	16
#define FAKE_PAGES	64
#define FAKE_LOG	1024

static struct fake_page {
	bool used;
	int pool;
	struct tmem_oid oid;
	u32 index;
	u8 data[PAGE_SIZE];
} fake_store[FAKE_PAGES];

static DECLARE_BITMAP(fake_pools, FAKE_POOLS);
static u32 fake_flags[FAKE_POOLS];

static struct fake_call fake_log[FAKE_LOG];		/* a ring */
static unsigned int fake_logged;
static unsigned int fake_count[FAKE_NR_OPS];

/* The @nth call from now, or each if 0, fails with @err; none if that is 0 */
static struct {
	unsigned int nth;
	int err;
} fake_failing[FAKE_NR_OPS];

/* Called in the middle of each put, if set: what is done beside the put */
void (*fake_during_put)(void);

/* The same, when a flush of an object has dropped what was there */
void (*fake_during_flush_object)(void);

static unsigned long fake_events[NR_VM_EVENT_ITEMS];	/* at fake_reset() */

/* Write a call down; ->ret is what it has to fail with, or 0 */
static struct fake_call *fake_begin(enum fake_op op, int pool,
				    const struct tmem_oid *oid, u32 index)
{
	struct fake_call *call = &fake_log[fake_logged++ % FAKE_LOG];

	fake_count[op]++;
	*call = (struct fake_call){ .op = op, .pool = pool, .index = index };
	if (oid)
		call->oid = *oid;
	if (!fake_failing[op].nth) {
		call->ret = fake_failing[op].err;
	} else if (!--fake_failing[op].nth) {
		call->ret = fake_failing[op].err;
		fake_failing[op].err = 0;
	}
	return call;
}

static struct fake_page *fake_find(int pool, const struct tmem_oid *oid,
				   u32 index)
{
	struct fake_page *p;

	for (p = fake_store; p < fake_store + FAKE_PAGES; p++)
		if (p->used && p->pool == pool && p->index == index &&
		    !memcmp(&p->oid, oid, sizeof(*oid)))
			return p;
	return NULL;
}

static struct fake_page *fake_unused(void)
{
	struct fake_page *p;

	for (p = fake_store; p < fake_store + FAKE_PAGES; p++)
		if (!p->used)
			return p;
	return NULL;
}

static int fake_new_pool(u32 flags)
{
	struct fake_call *call = fake_begin(FAKE_NEW_POOL, -1, NULL, flags);
	unsigned int pool = find_first_zero_bit(fake_pools, FAKE_POOLS);

	if (call->ret)
		return call->ret;
	if (pool == FAKE_POOLS)
		return call->ret = -ENOSPC;
	__set_bit(pool, fake_pools);
	fake_flags[pool] = flags;
	return call->ret = pool;
}

static int fake_destroy_pool(int pool)
{
	struct fake_call *call = fake_begin(FAKE_DESTROY_POOL, pool, NULL, 0);
	struct fake_page *p;

	if (call->ret)
		return call->ret;
	if (!__test_and_clear_bit(pool, fake_pools))
		return call->ret = -EINVAL;
	for (p = fake_store; p < fake_store + FAKE_PAGES; p++)
		if (p->pool == pool)
			p->used = false;
	return 0;
}

static int fake_put_page(int pool, const struct tmem_oid *oid, u32 index,
			 struct page *page)
{
	struct fake_call *call = fake_begin(FAKE_PUT_PAGE, pool, oid, index);
	struct fake_page *p = fake_find(pool, oid, index);

	if (p)
		p->used = false;
	else
		p = fake_unused();
	if (!call->ret && (!p || !kunit_get_current_test()))
		call->ret = -ENOMEM;
	if (call->ret)
		return call->ret;
	p->used = true;
	p->pool = pool;
	p->oid = *oid;
	p->index = index;
	memcpy_from_page(p->data, page, 0, PAGE_SIZE);
	if (fake_during_put)
		fake_during_put();
	return 0;
}

static int fake_get_page(int pool, const struct tmem_oid *oid, u32 index,
			 struct page *page)
{
	struct fake_call *call = fake_begin(FAKE_GET_PAGE, pool, oid, index);
	struct fake_page *p = fake_find(pool, oid, index);

	if (!call->ret && !p)
		call->ret = -ENOENT;
	if (call->ret)
		return call->ret;
	memcpy_to_page(page, 0, p->data, PAGE_SIZE);
	p->used = fake_flags[pool] & TMEM_POOL_PERSISTENT;
	return 0;
}

static int fake_flush_page(int pool, const struct tmem_oid *oid, u32 index)
{
	struct fake_call *call = fake_begin(FAKE_FLUSH_PAGE, pool, oid, index);
	struct fake_page *p = fake_find(pool, oid, index);

	if (!call->ret && p)
		p->used = false;
	return call->ret;
}

static int fake_flush_object(int pool, const struct tmem_oid *oid)
{
	struct fake_call *call = fake_begin(FAKE_FLUSH_OBJECT, pool, oid, 0);
	struct fake_page *p;

	if (call->ret)
		return call->ret;
	for (p = fake_store; p < fake_store + FAKE_PAGES; p++)
		if (p->pool == pool && !memcmp(&p->oid, oid, sizeof(*oid)))
			p->used = false;
	if (fake_during_flush_object)
		fake_during_flush_object();
	return 0;
}

static const struct tmem_ops fake_ops = {
	.name		= "xen",
	.new_pool	= fake_new_pool,
	.destroy_pool	= fake_destroy_pool,
	.put_page	= fake_put_page,
	.get_page	= fake_get_page,
	.flush_page	= fake_flush_page,
	.flush_object	= fake_flush_object,
};

/**
 * fake_register() - make the fake the backend, once per boot
 * @suite: unused; so that it can be a suite's init function
 *
 * Return: 0, or an error when another backend is registered, or when the
 * command line does not say `tmem=xen`.
 */
int fake_register(struct kunit_suite *suite)
{
	static bool registered;
	int ret;

	if (registered)
		return 0;
	ret = tmem_register_ops(&fake_ops);
	if (ret)
		pr_err("the tests need 'tmem=xen' and no other backend (%d)\n",
		       ret);
	else
		registered = true;
	return ret;
}

/* Drop all pages, as when a new pool has the id of an old one */
void fake_lose_pages(void)
{
	struct fake_page *p;

	for (p = fake_store; p < fake_store + FAKE_PAGES; p++)
		p->used = false;
}

/**
 * fake_reset() - forget pages, calls and what should fail; count events anew
 *
 * The pools stay: their owners have them still.
 */
void fake_reset(void)
{
	fake_lose_pages();
	fake_during_put = NULL;
	fake_during_flush_object = NULL;
	memset(fake_failing, 0, sizeof(fake_failing));
	fake_forget_calls();
	all_vm_events(fake_events);
}

/* Count calls anew */
void fake_forget_calls(void)
{
	fake_logged = 0;
	memset(fake_count, 0, sizeof(fake_count));
}

/**
 * fake_fail() - let calls fail
 * @op: which
 * @nth: only this one, counted from 1 and from now; or 0 for each one
 * @err: what it returns; 0: let none fail
 */
void fake_fail(enum fake_op op, unsigned int nth, int err)
{
	fake_failing[op].nth = nth;
	fake_failing[op].err = err;
}

/* How often an operation was called since fake_forget_calls() */
unsigned int fake_calls(enum fake_op op)
{
	return fake_count[op];
}

/* How often any operation was called */
unsigned int fake_all_calls(void)
{
	return fake_logged;
}

/* One of those calls, counted from 0; of the last 1024 */
const struct fake_call *fake_call(unsigned int nr)
{
	return &fake_log[nr % FAKE_LOG];
}

const struct fake_call *fake_last_call(void)
{
	return fake_call(fake_logged - 1);
}

/* How many pages the fake holds */
unsigned int fake_pages(void)
{
	unsigned int i, nr = 0;

	for (i = 0; i < FAKE_PAGES; i++)
		nr += fake_store[i].used;
	return nr;
}

/* How often an event has happened since fake_reset() */
unsigned long fake_event(enum vm_event_item item)
{
	static unsigned long now[NR_VM_EVENT_ITEMS];

	all_vm_events(now);
	return now[item] - fake_events[item];
}

static void fake_folio_free(void *folio)
{
	folio_unlock(folio);
	folio_put(folio);
}

/**
 * fake_folio() - a locked folio for as long as the test runs
 * @test: the test
 * @order: its order
 * @byte: what to fill the first page with; the next gets @byte + 1, and so on
 *
 * Return: the folio; the test is over if there is none.
 */
struct folio *fake_folio(struct kunit *test, unsigned int order, u8 byte)
{
	struct folio *folio = folio_alloc(GFP_KERNEL, order);
	unsigned int i;

	KUNIT_ASSERT_NOT_NULL(test, folio);
	folio_lock(folio);
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test,
							   fake_folio_free,
							   folio));
	for (i = 0; i < 1U << order; i++)
		memset_page(folio_page(folio, i), 0, byte + i, PAGE_SIZE);
	return folio;
}

/* Does a folio have what fake_folio() would have filled in? */
bool fake_folio_has(struct folio *folio, u8 byte)
{
	bool has = true;
	unsigned int i;
	void *addr;

	for (i = 0; i < folio_nr_pages(folio); i++) {
		addr = kmap_local_folio(folio, i * PAGE_SIZE);
		has &= !memchr_inv(addr, byte + i, PAGE_SIZE);
		kunmap_local(addr);
	}
	return has;
}

/* What is behind a file: for that sysfs need not be mounted */
static struct kobj_attribute *fake_sysfs_get(const char *name)
{
	struct kernfs_node *kn = sysfs_get_dirent(tmem_kobj->sd, name);
	struct kobj_attribute *attr = NULL;

	if (kn)
		attr = container_of(kn->priv, struct kobj_attribute, attr);
	sysfs_put(kn);
	return attr;
}

/**
 * fake_sysfs_read() - read a file of /sys/kernel/mm/tmem
 * @name: the file
 * @buf: a page
 *
 * Return: the length or an error.
 */
ssize_t fake_sysfs_read(const char *name, char *buf)
{
	struct kobj_attribute *attr = fake_sysfs_get(name);

	return attr ? attr->show(tmem_kobj, attr, buf) : -ENOENT;
}

/**
 * fake_sysfs_write() - write to a file of /sys/kernel/mm/tmem
 * @name: the file
 * @value: what to write
 *
 * Return: the length or an error.
 */
ssize_t fake_sysfs_write(const char *name, const char *value)
{
	struct kobj_attribute *attr = fake_sysfs_get(name);

	return attr ? attr->store(tmem_kobj, attr, value, strlen(value)) :
		      -ENOENT;
}

/* The tests of the core */

static struct fake_call tmem_first_calls[2];
static unsigned int tmem_nr_first_calls;

/* Register while a file system is mounted that waits for a backend */
static int tmem_suite_init(struct kunit_suite *suite)
{
	struct super_block *sb;
	int ret = -ENOMEM;

	sb = kzalloc(sizeof(*sb), GFP_KERNEL);
	if (!sb)
		return ret;
	sb->s_blocksize = PAGE_SIZE;
	strscpy(sb->s_id, "early");
	precache_init_fs(sb);
	ret = fake_register(suite);
	tmem_nr_first_calls = fake_all_calls();
	memcpy(tmem_first_calls, fake_log, sizeof(tmem_first_calls));
	precache_destroy_fs(sb);
	kfree(sb);
	return ret;
}

static int tmem_test_init(struct kunit *test)
{
	fake_reset();
	return 0;
}

static void tmem_registration_makes_pools_preswap_first(struct kunit *test)
{
	const struct fake_call *call = tmem_first_calls;
	unsigned int nr = 0;

	if (IS_ENABLED(CONFIG_PRESWAP)) {
		KUNIT_EXPECT_EQ(test, FAKE_NEW_POOL, call[nr].op);
		KUNIT_EXPECT_EQ(test, TMEM_POOL_PERSISTENT, call[nr].index);
		KUNIT_EXPECT_EQ(test, 0, call[nr].ret);
		nr++;
	}
	if (IS_ENABLED(CONFIG_PRECACHE)) {
		KUNIT_EXPECT_EQ(test, FAKE_NEW_POOL, call[nr].op);
		KUNIT_EXPECT_EQ(test, 0, call[nr].index);
		KUNIT_EXPECT_EQ(test, nr, call[nr].ret);
		nr++;
	}
	KUNIT_EXPECT_EQ(test, nr, tmem_nr_first_calls);
	KUNIT_EXPECT_EQ(test, IS_ENABLED(CONFIG_PRESWAP),
			bitmap_weight(fake_pools, FAKE_POOLS));
}

static void tmem_second_backend_is_refused(struct kunit *test)
{
	static const struct tmem_ops second = { .name = "xen" };

	KUNIT_EXPECT_TRUE(test, tmem_ready());
	KUNIT_EXPECT_EQ(test, -EBUSY, tmem_register_ops(&second));
	KUNIT_EXPECT_EQ(test, -EBUSY, tmem_register_ops(&fake_ops));
	KUNIT_EXPECT_EQ(test, 0, fake_all_calls());
}

static void tmem_unwanted_backend_is_refused(struct kunit *test)
{
	static const struct tmem_ops other = { .name = "ram" };

	KUNIT_EXPECT_TRUE(test, tmem_wanted(NULL));
	KUNIT_EXPECT_TRUE(test, tmem_wanted("xen"));
	KUNIT_EXPECT_FALSE(test, tmem_wanted("ram"));
	KUNIT_EXPECT_FALSE(test, tmem_wanted(""));
	KUNIT_EXPECT_EQ(test, -ENODEV, tmem_register_ops(&other));
}

static void tmem_sysfs_names_the_backend(struct kunit *test)
{
	char *buf = kunit_kzalloc(test, PAGE_SIZE, GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, buf);
	KUNIT_EXPECT_EQ(test, 4, fake_sysfs_read("backend", buf));
	KUNIT_EXPECT_STREQ(test, "xen\n", buf);
}

static void tmem_expect_call(struct kunit *test, enum fake_op op, int pool,
			     const struct tmem_oid *oid, u32 index)
{
	const struct fake_call *call = fake_last_call();

	KUNIT_EXPECT_EQ(test, 1, fake_all_calls());
	KUNIT_EXPECT_EQ(test, op, call->op);
	KUNIT_EXPECT_EQ(test, pool, call->pool);
	KUNIT_EXPECT_MEMEQ(test, oid, &call->oid, sizeof(*oid));
	KUNIT_EXPECT_EQ(test, index, call->index);
	fake_forget_calls();
}

/* Each argument has a value of its own, and each operation only its effect */
static void tmem_calls_pass_handle_and_page(struct kunit *test)
{
	const struct tmem_oid oid = { { 1ULL << 63 | 1, 2, U64_MAX } };
	const struct tmem_oid none = { };
	struct folio *in = fake_folio(test, 1, 0x51);
	struct folio *out = fake_folio(test, 1, 0);
	int pool;

	/* Make sure that it is not pool 0 in any configuration */
	tmem_new_pool(0);
	pool = tmem_new_pool(0);
	KUNIT_ASSERT_GT(test, pool, 0);
	KUNIT_EXPECT_EQ(test, 0, fake_last_call()->index);
	fake_forget_calls();

	KUNIT_EXPECT_EQ(test, 0, tmem_put_page(pool, &oid, U32_MAX,
					       folio_page(in, 1)));
	tmem_expect_call(test, FAKE_PUT_PAGE, pool, &oid, U32_MAX);
	KUNIT_EXPECT_EQ(test, 0, tmem_get_page(pool, &oid, U32_MAX,
					       folio_page(out, 1)));
	tmem_expect_call(test, FAKE_GET_PAGE, pool, &oid, U32_MAX);
	KUNIT_EXPECT_MEMEQ(test, page_address(folio_page(in, 1)),
			   page_address(folio_page(out, 1)), PAGE_SIZE);
	KUNIT_EXPECT_NULL(test, memchr_inv(page_address(folio_page(out, 0)), 0,
					   PAGE_SIZE));

	KUNIT_EXPECT_EQ(test, -ENOENT, tmem_get_page(pool, &oid, U32_MAX,
						     folio_page(out, 0)));
	tmem_expect_call(test, FAKE_GET_PAGE, pool, &oid, U32_MAX);

	KUNIT_EXPECT_EQ(test, 0, tmem_put_page(pool, &oid, 7,
					       folio_page(in, 0)));
	fake_forget_calls();
	KUNIT_EXPECT_EQ(test, 0, tmem_flush_page(pool, &oid, 7));
	tmem_expect_call(test, FAKE_FLUSH_PAGE, pool, &oid, 7);
	KUNIT_EXPECT_EQ(test, 0, fake_pages());

	KUNIT_EXPECT_EQ(test, 0, tmem_put_page(pool, &oid, 7,
					       folio_page(in, 0)));
	fake_forget_calls();
	KUNIT_EXPECT_EQ(test, 0, tmem_flush_object(pool, &oid));
	tmem_expect_call(test, FAKE_FLUSH_OBJECT, pool, &oid, 0);
	KUNIT_EXPECT_EQ(test, 0, fake_pages());

	tmem_destroy_pool(pool);
	tmem_expect_call(test, FAKE_DESTROY_POOL, pool, &none, 0);
	tmem_destroy_pool(pool - 1);
}

static void tmem_calls_report_failure(struct kunit *test)
{
	const struct tmem_oid oid = { };
	struct page *page = &fake_folio(test, 0, 0)->page;

	fake_fail(FAKE_NEW_POOL, 1, -ENOSPC);
	KUNIT_EXPECT_EQ(test, -ENOSPC, tmem_new_pool(0));
	fake_fail(FAKE_PUT_PAGE, 1, -ENOMEM);
	KUNIT_EXPECT_EQ(test, -ENOMEM, tmem_put_page(9, &oid, 0, page));
	fake_fail(FAKE_GET_PAGE, 1, -EINVAL);
	KUNIT_EXPECT_EQ(test, -EINVAL, tmem_get_page(9, &oid, 0, page));
	fake_fail(FAKE_FLUSH_PAGE, 1, -EPERM);
	KUNIT_EXPECT_EQ(test, -EPERM, tmem_flush_page(9, &oid, 0));
	fake_fail(FAKE_FLUSH_OBJECT, 1, -EIO);
	KUNIT_EXPECT_EQ(test, -EIO, tmem_flush_object(9, &oid));
	KUNIT_EXPECT_EQ(test, 5, fake_all_calls());
}

static struct kunit_case tmem_cases[] = {
	KUNIT_CASE(tmem_registration_makes_pools_preswap_first),
	KUNIT_CASE(tmem_second_backend_is_refused),
	KUNIT_CASE(tmem_unwanted_backend_is_refused),
	KUNIT_CASE(tmem_sysfs_names_the_backend),
	KUNIT_CASE(tmem_calls_pass_handle_and_page),
	KUNIT_CASE(tmem_calls_report_failure),
	{}
};

static struct kunit_suite tmem_suite = {
	.name = "tmem",
	.suite_init = tmem_suite_init,
	.init = tmem_test_init,
	.test_cases = tmem_cases,
};

kunit_test_suite(tmem_suite);
