#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# crash.sh write kill|reset|panic|kexec - write files until the guest ends
# crash.sh verify - all files that were reported as written are there
#
# Both in a guest that is only there for that, on $TMEM_DISK and $TMEM_SWAP0,
# which the second finds as the first has left them.  "written N" reports a file
# that is on the disk, as far as fsync() goes.  Files are read at the same time,
# and the agitator sees to it that much of all that is in tmem when the guest
# ends.  The guest ends by itself after some files; with "kill" the script that
# has started the guest ends it, when it reads "crash: kill".  After "kexec" the
# new kernel verifies by itself.
here=$(cd "$(dirname "$0")" && pwd)
dir=/tmp/crash
cgroup=/sys/fs/cgroup/crash
enough=30

content()
{
	seq $(($1 * 1000)) $(($1 * 1000 + 9999))
}

has()
{
	content "$1" | cmp -s - "$dir/$1"
}

vm()
{
	awk -v n="$1" '$1 == n { print $2 }' /proc/vmstat
}

crash()
{
	echo "# precache_put $(vm precache_put)" \
		"precache_get $(vm precache_get)" \
		"preswap_put $(vm preswap_put)"
	[ "$(vm precache_put)" -gt 0 ] && [ "$(vm preswap_put)" -gt 0 ] ||
		return
	# This report has to leave the guest before the guest ends
	echo "crash: $1"
	case $1 in
	reset) echo b >/proc/sysrq-trigger ;;
	panic) echo c >/proc/sysrq-trigger ;;
	kexec) "$here/kexec" "$here/vmlinuz" \
		"$(cat /proc/cmdline) job=$here/verify" ;;
	esac
	sleep infinity	# for kill; or that has failed, and a time limit ends us
}

write_files()
{
	local nr

	mke2fs -q -F -t ext3 -b 4096 -J size=4 "$TMEM_DISK" 200M &&
		mkswap -q "$TMEM_SWAP0" && swapon "$TMEM_SWAP0" &&
		mkdir -p $dir && mount -t ext3 "$TMEM_DISK" $dir || return
	echo +memory >/sys/fs/cgroup/cgroup.subtree_control
	mkdir $cgroup
	echo 24M >$cgroup/memory.max
	"$here/agitate" $dir --cgroup $cgroup --swap &
	echo $$ >$cgroup/cgroup.procs
	for ((nr = 0;; nr++)); do
		content $nr >$dir/new && mv $dir/new $dir/$nr &&
			sync $dir/$nr $dir || return
		echo "written $nr"
		# These are in tmem by now, or have been
		has $((nr / 2)) && has $((RANDOM % (nr + 1))) || {
			echo "wrong before the crash: $nr"
			return 1
		}
		# This file changes in memory, but not yet on the disk
		[ $nr -lt 3 ] || content $nr >>$dir/changed
		[ $nr -lt $enough ] || [ $((nr % 5)) -ne 0 ] || crash "$1"
	done
}

verify_files()
{
	local nr=0 wrong=0

	e2fsck -p "$TMEM_DISK" || [ $? -eq 1 ] || return
	mkdir -p $dir
	mount -t ext3 "$TMEM_DISK" $dir && swapon "$TMEM_SWAP0" || return
	while [ -e $dir/$nr ]; do
		has $nr || wrong=$((wrong + 1))
		nr=$((nr + 1))
	done
	echo "found $nr wrong $wrong"
	umount $dir && swapoff "$TMEM_SWAP0" && [ $wrong -eq 0 ]
}

case ${1-} in
write) write_files "$2" ;;
verify) verify_files ;;
esac
