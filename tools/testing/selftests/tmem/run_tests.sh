#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# run_tests.sh [TEST...] - run the tests in a guest that is only there for that
#
# It needs a kernel with what is in ./config, three scratch disks in $TMEM_DISK
# (700 MiB), $TMEM_SWAP0 and $TMEM_SWAP1 (128 MiB each), and a command line that
# the tests in options.c want: all tests in one guest cannot pass.
cd "$(dirname "$0")" || exit 1
failed=0
for program in precache_dio precache_truncate precache_mount precache_error \
	       precache_exclude precache_steal preswap preswap_shrink \
	       preswap_users hibernate faults paranoid options memory; do
	./$program "$@" || failed=1
done
exit $failed
