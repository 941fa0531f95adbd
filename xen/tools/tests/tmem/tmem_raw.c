// SPDX-License-Identifier: GPL-2.0
/*
 * /dev/tmem_raw - hypercall 38 for tests: root may issue it with any bytes
 *
 * A kernel that uses tmem is a well-behaved guest.  This module is the
 * opposite: the hypervisor gets what user space gives, bad pointers and bad
 * frames included, on the CPU that the caller runs on.  Good frames are those
 * of a few pages that user space can map.
 *
 * Other hypercalls are passed on as they are, too.  The privcmd of a domU
 * would refuse those of a toolstack itself, but a test wants the hypervisor to
 * do so.
 *
 * The module can repeat a call.  A guest cannot be faster, so this shows what
 * a call costs.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/sched/signal.h>
#include <linux/timex.h>
#include <linux/uaccess.h>
#include <asm/xen/hypercall.h>
#include <xen/page.h>
#include <xen/xen.h>
#include "tmem_raw.h"

static struct page *pages[TMEM_RAW_PAGES];

static long call(struct tmem_raw_call *c)
{
	u64 start = rdtsc_ordered();
	u32 i;

	c->ones = 0;
	for (i = 0; i < c->nr; i++) {
		if (c->use_at)	/* perhaps in user memory */
			c->ret = privcmd_call(__HYPERVISOR_tmem_op, c->at,
					      0, 0, 0, 0);
		else
			c->ret = _hypercall1(int, tmem_op, &c->op);
		c->ones += c->ret == 1;
		c->op.index += c->step;
		if (!(i % 1024)) {
			cond_resched();
			if (signal_pending(current))
				return -EINTR;
		}
	}
	c->ticks = rdtsc_ordered() - start;
	return 0;
}

/* The way to copy a page that takes the fewest instructions */
static u64 copy(u64 nr)
{
	u64 start = rdtsc_ordered();

	while (nr--) {
		void *from = page_address(pages[0]);
		void *to = page_address(pages[1]);
		long words = PAGE_SIZE / 8;

		asm volatile("rep movsq" : "+D" (to), "+S" (from), "+c" (words)
			     : : "memory");
	}
	return rdtsc_ordered() - start;
}

static long tmem_raw_ioctl(struct file *file, unsigned int cmd,
			   unsigned long arg)
{
	void __user *uarg = (void __user *)arg;
	struct tmem_raw_hypercall h;
	struct tmem_raw_call c;
	long ret;
	u64 val;

	if (cmd == TMEM_RAW_CALL) {
		if (copy_from_user(&c, uarg, sizeof(c)))
			return -EFAULT;
		ret = call(&c);
		if (!ret && copy_to_user(uarg, &c, sizeof(c)))
			return -EFAULT;
		return ret;
	}

	if (cmd == TMEM_RAW_HYPERCALL) {
		if (copy_from_user(&h, uarg, sizeof(h)))
			return -EFAULT;
		h.ret = privcmd_call(h.nr, h.arg[0], h.arg[1], 0, 0, 0);
		return copy_to_user(uarg, &h, sizeof(h)) ? -EFAULT : 0;
	}

	if (get_user(val, (u64 __user *)uarg))
		return -EFAULT;
	switch (cmd) {
	case TMEM_RAW_FRAME:
		if (val >= TMEM_RAW_PAGES)
			return -EINVAL;
		val = pfn_to_gfn(page_to_pfn(pages[val]));
		break;
	case TMEM_RAW_PGD:
		val = virt_to_gfn(current->mm->pgd);
		break;
	case TMEM_RAW_COPY:
		val = copy(val);
		break;
	default:
		return -ENOTTY;
	}
	return put_user(val, (u64 __user *)uarg);
}

static int tmem_raw_mmap(struct file *file, struct vm_area_struct *vma)
{
	return vm_map_pages(vma, pages, TMEM_RAW_PAGES);
}

static const struct file_operations tmem_raw_fops = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = tmem_raw_ioctl,
	.mmap = tmem_raw_mmap,
};

static struct miscdevice tmem_raw_dev = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "tmem_raw",
	.mode = 0600,
	.fops = &tmem_raw_fops,
};

static void free_all(void)
{
	int i;

	for (i = 0; i < TMEM_RAW_PAGES && pages[i]; i++)
		__free_page(pages[i]);
}

static int __init tmem_raw_init(void)
{
	int i, err;

	BUILD_BUG_ON(sizeof(struct tmem_raw_op) != 56);
	if (!xen_domain())
		return -ENODEV;
	for (i = 0; i < TMEM_RAW_PAGES; i++) {
		pages[i] = alloc_page(GFP_KERNEL | __GFP_ZERO);
		if (!pages[i]) {
			free_all();
			return -ENOMEM;
		}
	}
	err = misc_register(&tmem_raw_dev);
	if (err)
		free_all();
	return err;
}
module_init(tmem_raw_init);

static void __exit tmem_raw_exit(void)
{
	misc_deregister(&tmem_raw_dev);
	free_all();
}
module_exit(tmem_raw_exit);

MODULE_DESCRIPTION("tmem: hypercall 38 for tests");
MODULE_LICENSE("GPL");
