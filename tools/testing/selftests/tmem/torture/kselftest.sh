#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# kselftest.sh - Linux's own tests of memory, those that are beside this in
# kselftest/, with swap; in a guest that is only there for that
#
# Prints "passed PROGRAM NAME" for each case that passed, and at the end what
# tmem did during all of them.  Many fail or are skipped in a small guest, with
# tmem or without: what passes without tmem has to pass with it.
here=$(cd "$(dirname "$0")" && pwd)

mkswap -q "$TMEM_SWAP0" && swapon "$TMEM_SWAP0" || exit
mkdir -p /tmp/disk
mke2fs -q -F -t ext4 -b 4096 "$TMEM_DISK" &&
	mount "$TMEM_DISK" /tmp/disk || exit
for program in "$here"/kselftest/*/*; do
	name=${program##*/}
	cd /tmp/disk || exit
	# The tests of mm that use files want a file system with large folios
	case $name in
	uffd-stress) args=(anon 16 4) ;;
	transhuge-stress) args=(-d 2) ;;
	*) args=() ;;
	esac
	timeout -k 5 900 "$program" "${args[@]}" >/tmp/out 2>&1
	status=$?
	sed "s/^/# $name: /" /tmp/out | tail -n 300
	[ $status -ne 0 ] || echo "passed $name"
	# Numbers, addresses and sizes differ from run to run
	sed -n 's/^ok [0-9]* //p' /tmp/out | grep -v '# SKIP' |
		sed 's/^- //; s/0x[0-9a-f]*//g' |
		sort -u | sed "s/^/passed $name /"
done
cd /
swapoff "$TMEM_SWAP0" && umount /tmp/disk
awk '/^pre/ { printf "# %s %s\n", $1, $2 }' /proc/vmstat
