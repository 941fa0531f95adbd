/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The counters of precache and preswap in /proc/vmstat.  This is their only
 * list: enum vm_event_item, the names in mm/vmstat.c and the tests follow from
 * it.  What each of them counts is in Documentation/mm/tmem.rst, "Counters".
 *
 * A name is ABI.  It is the enumerator in lower case.
 *
 * Nearly every file of the kernel includes this one, so it includes nothing.
 */
#ifndef _LINUX_TMEM_EVENTS_H
#define _LINUX_TMEM_EVENTS_H

#ifdef CONFIG_PRECACHE
#define PRECACHE_EVENTS(event)						\
	event(PRECACHE_PUT, precache_put)				\
	event(PRECACHE_PUT_FAIL, precache_put_fail)			\
	event(PRECACHE_GET, precache_get)				\
	event(PRECACHE_GET_MISS, precache_get_miss)			\
	event(PRECACHE_FLUSH, precache_flush)				\
	event(PRECACHE_FLUSH_INODE, precache_flush_inode)
#else
#define PRECACHE_EVENTS(event)
#endif

#ifdef CONFIG_PRESWAP
#define PRESWAP_EVENTS(event)						\
	event(PRESWAP_PUT, preswap_put)					\
	event(PRESWAP_PUT_FAIL, preswap_put_fail)			\
	event(PRESWAP_GET, preswap_get)					\
	event(PRESWAP_GET_FAIL, preswap_get_fail)			\
	event(PRESWAP_FLUSH, preswap_flush)				\
	event(PRESWAP_SHRINK, preswap_shrink)
#else
#define PRESWAP_EVENTS(event)
#endif

#define TMEM_EVENTS(event)						\
	PRECACHE_EVENTS(event)						\
	PRESWAP_EVENTS(event)

/* What an enum, and an array of strings, make of an event */
#define TMEM_EVENT_ITEM(item, name)	item,
#define TMEM_EVENT_NAME(item, name)	#name,

#endif /* _LINUX_TMEM_EVENTS_H */
