/* SPDX-License-Identifier: GPL-2.0 */
/* What do_suspend() and the balloon want of drivers/xen/tmem.c. */
#ifndef _XEN_TMEM_H
#define _XEN_TMEM_H

#ifdef CONFIG_XEN_TMEM
int xen_tmem_suspend(void);
void xen_tmem_suspend_end(void);
unsigned long xen_tmem_pages(void);
int xen_tmem_bring_back(unsigned long nr, bool write);
#else
static inline int xen_tmem_suspend(void) { return 0; }
static inline void xen_tmem_suspend_end(void) { }
static inline unsigned long xen_tmem_pages(void) { return 0; }
static inline int xen_tmem_bring_back(unsigned long nr, bool write)
{
	return 0;
}
#endif

#endif /* _XEN_TMEM_H */
