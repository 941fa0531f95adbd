// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of the Xen backend, included by tmem.c.
 *
 * They stand in for the hypervisor, and for the core where a suspend calls it.
 * So there must be no real hypervisor: the kernel has to run elsewhere, with
 * another backend or none.
 */

#include <kunit/test.h>
#include <kunit/test-bug.h>

struct xen_tmem_test {
	int pools;		/* made so far; the ids are 0, 1, 2, ... */
	int destroyed;
	int ret;		/* of put, get and flush of an object, ... */
	int flush_ret;		/* ... and flush of a page */
	int ops;		/* of these */
	int drains, resumes;
	int drain_ret;
	unsigned long drain_timeout;
};

static struct xen_tmem_test *xen_tmem_test(void)
{
	return kunit_get_current_test()->priv;
}

static int fake_hypercall(struct tmem_op *op)
{
	struct xen_tmem_test *t = xen_tmem_test();

	switch (op->cmd) {
	case TMEM_NEW_POOL:
		return t->pools++;
	case TMEM_DESTROY_POOL:
		t->destroyed++;
		return 1;
	default:
		t->ops++;
		return op->cmd == TMEM_FLUSH_PAGE ? t->flush_ret : t->ret;
	}
}

static int fake_suspend(unsigned long timeout)
{
	struct xen_tmem_test *t = xen_tmem_test();

	t->drains++;
	t->drain_timeout = timeout;
	return t->drain_ret;
}

static void fake_resume(void)
{
	xen_tmem_test()->resumes++;
}

static int xen_tmem_test_init(struct kunit *test)
{
	if (xen_domain())
		kunit_skip(test, "the hypervisor is real");
	test->priv = kunit_kzalloc(test, sizeof(struct xen_tmem_test),
				   GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, test->priv);
	kunit_activate_static_stub(test, HYPERVISOR_tmem_op, fake_hypercall);
	kunit_activate_static_stub(test, tmem_suspend, fake_suspend);
	kunit_activate_static_stub(test, tmem_resume, fake_resume);
	return 0;
}

static void xen_tmem_test_exit(struct kunit *test)
{
	unsigned long pool;
	void *entry;

	/* Under a real hypervisor the pools are not ours */
	if (!test->priv)
		return;
	xa_for_each(&xen_tmem_pools, pool, entry)
		xen_tmem_destroy_pool(pool);
}

/* Another backend's pages are in this memory: they need not come back */
static void suspend_drains_this_backend_only(struct kunit *test)
{
	struct xen_tmem_test *t = xen_tmem_test();

	KUNIT_EXPECT_EQ(test, 0, xen_tmem_suspend());
	xen_tmem_suspend_end();
	KUNIT_EXPECT_EQ(test, 0, t->drains);
	KUNIT_EXPECT_EQ(test, 0, t->resumes);

	KUNIT_ASSERT_EQ(test, 0, xen_tmem_new_pool(TMEM_POOL_PERSISTENT));
	KUNIT_EXPECT_EQ(test, 0, xen_tmem_suspend());
	KUNIT_EXPECT_EQ(test, 1, t->drains);
	KUNIT_EXPECT_LT(test, t->drain_timeout, 20 * HZ);
	KUNIT_EXPECT_EQ(test, 0, t->resumes);
	xen_tmem_suspend_end();
	KUNIT_EXPECT_EQ(test, 1, t->resumes);
}

/* A refused suspend has stopped no puts, and must not resume any */
static void refused_suspend_resumes_nothing(struct kunit *test)
{
	struct xen_tmem_test *t = xen_tmem_test();

	KUNIT_ASSERT_EQ(test, 0, xen_tmem_new_pool(TMEM_POOL_PERSISTENT));
	t->drain_ret = -EBUSY;
	KUNIT_EXPECT_EQ(test, -EBUSY, xen_tmem_suspend());
	xen_tmem_suspend_end();
	KUNIT_EXPECT_EQ(test, 1, t->drains);
	KUNIT_EXPECT_EQ(test, 0, t->resumes);
}

static const struct flush_answer {
	int raw;
	int ret;
} flush_answers[] = {
	/* The page cannot be got any more */
	{ 1, 0 }, { 0, 0 }, { -XEN_TMEM_EEMPTY, 0 }, { -XEN_TMEM_EFROZEN, 0 },
	{ -ENODEV, 0 }, { -ENOSYS, 0 },
	/* It may still be got */
	{ -ENOENT, -ENOENT }, { -EBUSY, -EBUSY }, { -ENOMEM, -ENOMEM },
	{ -EPERM, -EPERM }, { -EFAULT, -EFAULT }, { -EIO, -EIO },
	{ 2, -EIO }, { INT_MAX, -EIO }, { INT_MIN, -EIO }, { -4096, -EIO },
};

/* Only the exact value says that a flush has succeeded, not a similar one */
static void flush_believes_exact_answers_only(struct kunit *test)
{
	const struct tmem_oid oid = { };
	struct xen_tmem_test *t = xen_tmem_test();
	const struct flush_answer *a = flush_answers;
	int put, pool = xen_tmem_new_pool(0);

	for (; a < flush_answers + ARRAY_SIZE(flush_answers); a++) {
		t->ret = a->raw;
		t->flush_ret = a->raw;
		KUNIT_EXPECT_EQ_MSG(test, a->ret,
				    xen_tmem_flush_page(pool, &oid, 7), "%d",
				    a->raw);
		KUNIT_EXPECT_EQ_MSG(test, a->ret,
				    xen_tmem_flush_object(pool, &oid), "%d",
				    a->raw);
		/* A refused put flushes; if that fails it is always -EIO */
		t->ret = -ENOMEM;
		put = xen_tmem_put_page(pool, &oid, 7, ZERO_PAGE(0));
		KUNIT_EXPECT_EQ_MSG(test, a->ret ? -EIO : -ENOMEM, put, "%d",
				    a->raw);
	}
}

/* No hypercall is made for a pool that is not there */
static void no_pool_has_no_pages(struct kunit *test)
{
	const struct tmem_oid oid = { };
	struct xen_tmem_test *t = xen_tmem_test();

	t->ret = -EIO;
	t->flush_ret = -EIO;
	KUNIT_EXPECT_EQ(test, 0, xen_tmem_flush_page(3, &oid, 7));
	KUNIT_EXPECT_EQ(test, 0, xen_tmem_flush_object(3, &oid));
	KUNIT_EXPECT_EQ(test, -ENODEV,
			xen_tmem_put_page(3, &oid, 7, ZERO_PAGE(0)));
	KUNIT_EXPECT_EQ(test, 0, t->ops);
}

static int fake_id(int pool)
{
	return xen_tmem_id(xa_load(&xen_tmem_pools, pool));
}

/*
 * The image must have no id of a pool: after the resume that would name a pool
 * of the kernel which read the image.
 */
static void image_has_no_pools(struct kunit *test)
{
	struct xen_tmem_test *t = xen_tmem_test();
	int swap = xen_tmem_new_pool(TMEM_POOL_PERSISTENT);
	int fs = xen_tmem_new_pool(0), later, ret;

	KUNIT_EXPECT_EQ(test, 1, fake_id(fs));
	t->drain_ret = -EBUSY;
	ret = xen_tmem_pm_notify(NULL, PM_HIBERNATION_PREPARE, NULL);
	KUNIT_EXPECT_EQ(test, -EBUSY, notifier_to_errno(ret));
	KUNIT_EXPECT_EQ(test, 1, fake_id(fs));

	t->drain_ret = 0;
	xen_tmem_pm_notify(NULL, PM_HIBERNATION_PREPARE, NULL);
	KUNIT_EXPECT_EQ(test, 2, t->destroyed);
	/* A task that is not frozen yet gets no pool made, either */
	later = xen_tmem_new_pool(0);
	KUNIT_ASSERT_GE(test, later, 0);
	xen_tmem_renew(NULL);
	KUNIT_EXPECT_EQ(test, 2, t->pools);
	KUNIT_EXPECT_EQ(test, XEN_TMEM_NO_POOL, fake_id(swap));
	KUNIT_EXPECT_EQ(test, XEN_TMEM_NO_POOL, fake_id(fs));
	KUNIT_EXPECT_EQ(test, XEN_TMEM_NO_POOL, fake_id(later));
	KUNIT_EXPECT_EQ(test, 0, t->resumes);

	xen_tmem_pm_notify(NULL, PM_POST_HIBERNATION, NULL);
	KUNIT_EXPECT_EQ(test, 5, t->pools);
	KUNIT_EXPECT_NE(test, XEN_TMEM_NO_POOL, fake_id(swap));
	KUNIT_EXPECT_NE(test, XEN_TMEM_NO_POOL, fake_id(fs));
	KUNIT_EXPECT_NE(test, XEN_TMEM_NO_POOL, fake_id(later));
	KUNIT_EXPECT_EQ(test, 1, t->resumes);
}

/*
 * Or else the ids in the image would name this kernel's pools.  If it cannot
 * read the image it goes on, with new pools.
 */
static void reader_of_the_image_has_no_pools(struct kunit *test)
{
	struct xen_tmem_test *t = xen_tmem_test();
	int fs = xen_tmem_new_pool(0);

	xen_tmem_pm_notify(NULL, PM_RESTORE_PREPARE, NULL);
	KUNIT_EXPECT_EQ(test, 1, t->destroyed);
	KUNIT_EXPECT_EQ(test, XEN_TMEM_NO_POOL, fake_id(fs));
	KUNIT_EXPECT_EQ(test, 0, t->resumes);

	xen_tmem_pm_notify(NULL, PM_POST_RESTORE, NULL);
	KUNIT_EXPECT_NE(test, XEN_TMEM_NO_POOL, fake_id(fs));
	KUNIT_EXPECT_EQ(test, 1, t->resumes);
}

static struct kunit_case xen_tmem_cases[] = {
	KUNIT_CASE(suspend_drains_this_backend_only),
	KUNIT_CASE(refused_suspend_resumes_nothing),
	KUNIT_CASE(flush_believes_exact_answers_only),
	KUNIT_CASE(no_pool_has_no_pages),
	KUNIT_CASE(image_has_no_pools),
	KUNIT_CASE(reader_of_the_image_has_no_pools),
	{}
};

static struct kunit_suite xen_tmem_suite = {
	.name = "xen_tmem",
	.init = xen_tmem_test_init,
	.exit = xen_tmem_test_exit,
	.test_cases = xen_tmem_cases,
};

kunit_test_suite(xen_tmem_suite);
