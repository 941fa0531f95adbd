/* SPDX-License-Identifier: GPL-2.0 */
/* Self-ballooning: what others ask of drivers/xen/xen-selfballoon.c. */
#ifndef _XEN_SELFBALLOON_H
#define _XEN_SELFBALLOON_H

#ifdef CONFIG_XEN_SELFBALLOONING
unsigned long xen_selfballoon_target(unsigned long target);
void xen_selfballoon_hold(void);
void xen_selfballoon_release(void);
#else
static inline unsigned long xen_selfballoon_target(unsigned long target)
{
	return target;
}

static inline void xen_selfballoon_hold(void) { }
static inline void xen_selfballoon_release(void) { }
#endif

#endif /* _XEN_SELFBALLOON_H */
