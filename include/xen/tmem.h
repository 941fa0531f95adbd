/* SPDX-License-Identifier: GPL-2.0 */
/* What do_suspend() must tell drivers/xen/tmem.c. */
#ifndef _XEN_TMEM_H
#define _XEN_TMEM_H

#ifdef CONFIG_XEN_TMEM
int xen_tmem_suspend(void);
void xen_tmem_suspend_end(void);
#else
static inline int xen_tmem_suspend(void) { return 0; }
static inline void xen_tmem_suspend_end(void) { }
#endif

#endif /* _XEN_TMEM_H */
