/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The fake backend that the KUnit tests of tmem and of its clients share; see
 * mm/tmem_kunit.c.
 */
#ifndef _MM_TMEM_KUNIT_H
#define _MM_TMEM_KUNIT_H

#include <kunit/test.h>
#include <linux/tmem.h>
#include <linux/vm_event_item.h>

struct folio;

enum fake_op {
	FAKE_NEW_POOL,
	FAKE_DESTROY_POOL,
	FAKE_PUT_PAGE,
	FAKE_GET_PAGE,
	FAKE_FLUSH_PAGE,
	FAKE_FLUSH_OBJECT,
	FAKE_NR_OPS
};

/**
 * struct fake_call - one call of the backend
 * @op: which operation
 * @pool: argument
 * @oid: argument
 * @index: argument; the flags for FAKE_NEW_POOL
 * @ret: what was returned
 */
struct fake_call {
	enum fake_op op;
	int pool;
	struct tmem_oid oid;
	u32 index;
	int ret;
};

int fake_register(struct kunit_suite *suite);
void fake_reset(void);
void fake_lose_pages(void);
void fake_forget_calls(void);
extern void (*fake_during_put)(void);
extern void (*fake_during_flush_object)(void);
void fake_fail(enum fake_op op, unsigned int nth, int err);

unsigned int fake_calls(enum fake_op op);
unsigned int fake_all_calls(void);
const struct fake_call *fake_call(unsigned int nr);
const struct fake_call *fake_last_call(void);
unsigned int fake_pages(void);
unsigned long fake_event(enum vm_event_item item);

struct folio *fake_folio(struct kunit *test, unsigned int order, u8 byte);
bool fake_folio_has(struct folio *folio, u8 byte);

ssize_t fake_sysfs_read(const char *name, char *buf);
ssize_t fake_sysfs_write(const char *name, const char *value);

#endif /* _MM_TMEM_KUNIT_H */
