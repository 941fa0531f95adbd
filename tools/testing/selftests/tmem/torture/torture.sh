#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# torture.sh ROUND SECONDS [ROUND SECONDS...] - torture tmem, in a guest that is
# only there for that
# torture.sh --list
#
# A round is named FILESYSTEM:WORK[:faults].  The file system is made on
# $TMEM_DISK and swap on $TMEM_SWAP0.  The work runs in a cgroup that has too
# little memory for it, and beside it the agitator, which takes more away, so
# that pages go to tmem and come back all the time.  With "faults", puts fail,
# gets miss, pages vanish, and operations take long.  The work knows what it has
# to read.
#
# Then all is taken down, and nothing may be left in tmem.  Each round is a line
# of TAP, and before it one for machines:
#
#	# torture: ROUND operations N put N got N faults N mismatches N leaks N
#
# put and got count pages in precache and preswap; mismatches is what the work,
# the agitator and CONFIG_TMEM_PARANOID have found; leaks are pages, and KiB of
# memory, that the backend still has when it should have none.
here=$(cd "$(dirname "$0")" && pwd)
tmem=/sys/kernel/mm/tmem
ram=/sys/module/tmem_ram/parameters
faults=/sys/kernel/debug/fail_tmem
paranoid=/sys/kernel/debug/tmem_paranoid
cgroup=/sys/fs/cgroup/torture
dir=/tmp/torture
memory=40	# MiB that the work may have

# What may fail without harm; and how often, in percent
kinds=(put put_dup get_ephemeral vanish delay) often=3
many=1000000000		# faults that are left; the kernel counts down

rounds=(
	ext2:exercise ext3:exercise ext4:exercise ext4-journal:exercise
	ext4-writeback:exercise
	ext2:exercise:faults ext3:exercise:faults ext4:exercise:faults
	ext4-journal:exercise:faults ext4-writeback:exercise:faults
	ext2:fio ext3:fio ext4:fio ext4-journal:fio ext4-writeback:fio
	ext2:stress ext3:stress ext4:stress ext4-journal:stress
	ext4-writeback:stress
	ext4:fio:faults ext4:stress:faults
	ext4:hog ext4:oom ext4:swapoff ext4:umount ext4:full ext4:noflush
)

vm()
{
	awk -v n="$1" '$1 == n { print $2 }' /proc/vmstat
}

value()
{
	cat "$1" 2>/dev/null || echo 0
}

number()
{
	sed -n "s/.*\<$1 \([0-9]*\).*/\1/p" "$2" | tail -n 1 | grep . || echo 0
}

# backend ephemeral_pages|persistent_pages|evicted_pages - how many?  On Xen the
# guest is dom0, and tmemctl shows its own
backend()
{
	local list of_dom0="\"domid\": 0,.*\"$1\": \([0-9]*\)"

	if [ -x "$here/tmemctl" ]; then
		list=$("$here/tmemctl" --json list) &&
			sed -n "s/.*$of_dom0.*/\1/p" <<<"$list" |
			grep . || echo 1000000
	else
		value "$ram/$1"
	fi
}

say()
{
	echo "# $*"
}

#
# Faults
#

set_faults()
{
	local kind

	for kind in "${kinds[@]}"; do
		echo 0 >"$faults/$kind/verbose"
		echo 1 >"$faults/$kind/interval"
		echo $many >"$faults/$kind/times"
		echo "$1" >"$faults/$kind/probability"
	done
}

faults_done()
{
	local kind sum=0

	for kind in "${kinds[@]}"; do
		sum=$((sum + many - $(value "$faults/$kind/times")))
	done
	echo $sum
}

#
# What a round needs
#

set_up()
{
	local options=() mount=

	case $1 in
	ext2 | ext3 | ext4) mkfs=$1 ;;
	ext4-journal) mkfs=ext4 mount=data=journal ;;
	ext4-writeback) mkfs=ext4 mount=data=writeback ;;
	esac
	[ "$mkfs" = ext2 ] || options=(-J size=4)
	mke2fs -q -F -t "$mkfs" -b 4096 "${options[@]}" "$TMEM_DISK" &&
		mkdir -p $dir "$cgroup" &&
		mount -t "$mkfs" ${mount:+-o "$mount"} "$TMEM_DISK" $dir &&
		mkswap -q "$TMEM_SWAP0" && swapon "$TMEM_SWAP0" &&
		echo "${memory}M" >$cgroup/memory.max
}

tear_down()
{
	set_faults 0
	echo 1 >$tmem/precache
	echo 1 >$tmem/preswap
	while read -r pid; do
		kill -9 "$pid"
	done <$cgroup/cgroup.procs 2>/dev/null
	until ! grep -q 'populated 1' $cgroup/cgroup.events; do sleep 0.1; done
	rmdir $cgroup
	! grep -q "^$TMEM_SWAP0\|^$(realpath "$TMEM_SWAP0")" /proc/swaps ||
		swapoff "$TMEM_SWAP0" || return
	! mountpoint -q $dir || umount $dir
}

inside()
{
	(echo "$BASHPID" >$cgroup/cgroup.procs && exec "$@")
}

# Leave the backend nothing that can be evicted: not of the root file system
# either, from which the programs come
empty()
{
	for _ in {1..50}; do
		[ "$(backend ephemeral_pages)" -ne 0 ] || break
		echo 2 >/proc/sys/vm/drop_caches
	done
}

used_kib()
{
	echo $(($(value $ram/used_bytes) / 1024))
}

# Pages and memory that the backend has, when it should have none
left()
{
	local kib

	empty
	kib=$(($(used_kib) - base))
	echo $(($(value $tmem/preswap_pages) + $(backend ephemeral_pages) +
		$(backend persistent_pages) + (kib > 0 ? kib : 0)))
}

#
# Work: sets $operations, adds to $wrong and $injected, and fails when something
# was wrong
#

exercise()
{
	local status=0

	inside "$here/exercise" $dir --seconds "$1" --seed "$seed" \
		>/tmp/work 2>&1 || status=$?
	operations=$(number ops /tmp/work)
	wrong=$((wrong + $(number mismatches /tmp/work)))
	return $status
}

# Every block that is read is one that was written, by any job and in any way
fio_verify()
{
	local status=0

	inside fio --output=/tmp/work --directory=$dir --group_reporting \
		--size=8M --verify=crc32c --verify_fatal=1 \
		--verify_backlog=256 --time_based --runtime="$1" \
		--randseed="$seed" --fallocate=none \
		--name=buffered --rw=randrw --bssplit=4k/50:16k/30:60k/20 \
		--ioengine=psync \
		--name=mapped --rw=randrw --bs=4k --ioengine=mmap \
		--name=direct --rw=randrw --bs=4k --direct=1 \
		--ioengine=libaio --iodepth=8 \
		--name=mixed --rw=randwrite --bs=4k --ioengine=psync \
		--direct=1 --verify_async=1 >/tmp/fio 2>&1 || status=$?
	cat /tmp/fio >>/tmp/work
	operations=$(sed -n \
		's/.*issued rwts: total=\([0-9]*\),\([0-9]*\),.*/\1 \2/p' \
		/tmp/work | awk '{ n += $1 + $2 } END { print n + 0 }')
	wrong=$((wrong + $(grep -c 'verify: bad' /tmp/work)))
	return $status
}

# Those stressors of stress-ng that invalidate the page cache, or swap.  Not
# madvise: it poisons pages, and is killed when it meets one
stressors=(hdd readahead fpunch fallocate copy-file sync-file iomix revio seek
	   sendfile mmap msync vm bigheap brk stack mlock memfd)
stress()
{
	local each=$(($1 / ${#stressors[@]} + 1)) status=0 name args n

	: >/tmp/work
	operations=0
	for name in "${stressors[@]}"; do
		args=(--"$name" 1)
		case $name in
		hdd) args+=(--hdd-bytes 8M
			    --hdd-opts "direct,rd-rnd,fadv-dontneed") ;;
		readahead | fallocate | iomix | revio)
			args+=(--"$name-bytes" 8M) ;;
		seek) args+=(--seek-size 8M) ;;
		copy-file) args+=(--copy-file-bytes 128M) ;;
		sync-file) args+=(--sync-file-bytes 8M) ;;
		mmap) args+=(--mmap-bytes 8M --mmap-file) ;;
		msync) args+=(--msync-bytes 4M) ;;
		vm | memfd) args+=(--"$name-bytes" 24M) ;;
		bigheap) args+=(--bigheap-growth 1M) ;;
		esac
		# Ends by itself; the limit is for one that never does
		inside timeout -k 5 $((each * 20 + 60)) stress-ng "${args[@]}" \
			--verify --timeout "$each" --temp-path $dir --oomable \
			--metrics-brief --seed "$seed" >/tmp/stress 2>&1
		case $? in
		0 | 3 | 4) ;;	# not supported here, or no resources
		*) say "stress-ng --$name: status $?"; status=1 ;;
		esac
		n=$(awk -v n="$name" '$4 == n && $5 ~ /^[0-9]+$/ { print $5 }' \
			/tmp/stress | grep . || echo 0)
		operations=$((operations + n))
		wrong=$((wrong + $(grep -c ' fail: ' /tmp/stress)))
		cat /tmp/stress >>/tmp/work
	done
	return $status
}

# Nine tenths of the cgroup's memory are locked, and locked again, at full speed
hog()
{
	local pid status=0 all=$((memory * 4))

	# The rest has to be enough for the work
	echo "${all}M" >$cgroup/memory.max
	inside stress-ng --vm 1 --vm-bytes "$((all * 9 / 10))M" --vm-locked \
		--temp-path /tmp >/tmp/hog 2>&1 &
	pid=$!
	exercise "$1" || status=1
	kill $pid
	wait $pid
	return $status
}

# The kernel kills a process that wants too much, again and again; the others go
# on
oom()
{
	local pid kills status=0 i

	kills=$(vm oom_kill)
	echo 16M >$cgroup/memory.swap.max
	while :; do
		inside tail /dev/zero
	done 2>/dev/null &
	pid=$!
	exercise "$1" || status=1
	# A slow machine may not have come so far
	for ((i = 0; i < 600 && $(vm oom_kill) == kills; i++)); do
		sleep 0.2
	done
	kill $pid
	wait $pid
	kills=$(($(vm oom_kill) - kills))
	say "$kills killed"
	[ $kills -gt 0 ] && [ $status -eq 0 ]
}

# swapoff and swapon, under pressure, and some swapoffs are interrupted
swapoff_again_and_again()
{
	local pid n=0 status=0

	exercise "$1" &
	pid=$!
	while kill -0 $pid 2>/dev/null; do
		if ((n++ % 3)); then
			swapoff "$TMEM_SWAP0"
		else
			timeout -s INT 0.2 swapoff "$TMEM_SWAP0"
		fi && swapon "$TMEM_SWAP0"
	done 2>/dev/null
	wait $pid || status=1
	wrong=$((wrong + $(number mismatches /tmp/work)))
	operations=$n
	return $status
}

# umount, with all that is in tmem, and mount again: the files are as before
umount_again_and_again()
{
	local end=$((SECONDS + $1)) status=0 n=0 sum

	seq 1000000 >$dir/file
	sum=$(sha256sum <$dir/file)
	while [ $SECONDS -lt $end ]; do
		[ "$(inside sha256sum <$dir/file)" = "$sum" ] || status=1
		echo 16M >$cgroup/memory.reclaim
		[ "$(inside sha256sum <$dir/file)" = "$sum" ] || status=1
		umount $dir && mount -t "$mkfs" "$TMEM_DISK" $dir || sleep 0.1
		n=$((n + 1))
	done 2>/dev/null
	operations=$n
	wrong=$((wrong + status))
	return $status
}

# The engine has no room at all, and then some, and then none
full()
{
	local status=0 pid percent p

	percent=$(value $ram/max_percent)
	while :; do
		for p in 1 2 0 3; do
			echo $p >$ram/max_percent
			sleep 1
		done
	done &
	pid=$!
	exercise "$1" || status=1
	kill $pid
	wait $pid 2>/dev/null
	echo "$percent" >$ram/max_percent
	return $status
}

# A flush fails: this file system has no precache from then on, and all is right
noflush()
{
	local status=0

	exercise $(($1 / 2)) || status=1
	echo 1 >$faults/flush_page/times
	echo 100 >$faults/flush_page/probability
	exercise $(($1 / 2)) || status=1
	echo 0 >$faults/flush_page/probability
	injected=$((injected + 1 - $(cat $faults/flush_page/times)))
	[ $injected -eq 1 ] && [ $status -eq 0 ]
}

# All memory that the hypervisor has goes to dom0, and back, again and again:
# pages in tmem give way, and no memory is left for puts
shortage()
{
	local target=/sys/devices/system/xen_memory/xen_memory0/target_kb now

	now=$(cat $target)
	trap 'echo "$now" >$target; exit' TERM
	while :; do
		echo $((now + (128 << 10))) >$target
		sleep 1
		echo "$now" >$target
		sleep 1
	done
}

#
# Rounds
#

# For run_round: adds to $failed what its numbers say
judge()
{
	[ $wrong -eq 0 ] || failed+=" mismatches"
	[ "$leaks" -eq 0 ] || failed+=" leaks"
	[ $operations -gt 0 ] || failed+=" nothing-done"
	# With less it was no torture
	[ $put -ge 100 ] || failed+=" too-few-puts"
	[ $got -ge 20 ] || failed+=" too-few-gets"
	[ "$evicted" -ge 1 ] || failed+=" nothing-evicted"
	[ "$with" -eq 0 ] || [ "$injected" -ge 10 ] || failed+=" too-few-faults"
}

# run_round NAME SECONDS
run_round()
{
	local fs work with failed='' put got mistakes agitator leaks=0
	local operations=0 wrong=0 injected=0 fatal shortage='' evicted=1

	IFS=: read -r fs work with <<<"$1"
	with=$([ "$with" ] && echo 1 || echo 0)
	seed=$RANDOM
	say "$1: seed $seed"
	put=$(($(vm precache_put) + $(vm preswap_put)))
	got=$(($(vm precache_get) + $(vm preswap_get)))
	fatal=$(vm preswap_get_fail)
	mistakes=$(value $paranoid/mistakes)
	set_up "$fs" || failed+=" set-up"
	set_faults $((with ? often : 0))
	"$here/agitate" $dir --cgroup $cgroup --swap >/tmp/agitate 2>&1 &
	agitator=$!
	if [ -x "$here/tmemctl" ]; then
		evicted=$(backend evicted_pages)
		shortage &
		shortage=$!
	fi
	case $work in
	exercise | hog | oom | full | noflush | stress) "$work" "$2" ;;
	fio) fio_verify "$2" ;;
	swapoff | umount) "${work}_again_and_again" "$2" ;;
	esac || failed+=" work"
	injected=$((injected + $(faults_done)))
	kill $agitator
	wait $agitator || failed+=" agitator"
	say "$(grep '^agitate:' /tmp/agitate)"
	if [ "$shortage" ]; then
		kill "$shortage"
		wait "$shortage"
		evicted=$(($(backend evicted_pages) - evicted))
		say "the hypervisor has $(backend ephemeral_pages) ephemeral" \
			"pages and $(backend persistent_pages) persistent;" \
			"it has evicted $evicted"
	fi
	wrong=$((wrong + $(number mismatches /tmp/agitate)))
	tear_down || failed+=" tear-down"
	leaks=$(left)
	[ "$leaks" -eq 0 ] ||
		grep . $tmem/preswap_pages $ram/{used_bytes,*_pages} |
			sed 's/^/# left: /'
	put=$(($(vm precache_put) + $(vm preswap_put) - put))
	got=$(($(vm precache_get) + $(vm preswap_get) - got))
	wrong=$((wrong + $(value $paranoid/mistakes) - mistakes +
		 $(vm preswap_get_fail) - fatal))
	echo "# torture: $1 operations $operations put $put got $got" \
		"faults $injected mismatches $wrong leaks $leaks"
	judge
	if [ "$failed" ]; then
		tail -n 100 /tmp/work /tmp/agitate | sed 's/^/# /'
		echo "not ok $((++nr)) - $1 # failed:$failed"
	else
		echo "ok $((++nr)) - $1"
	fi
}

if [ "${1-}" = --list ]; then
	printf '%s\n' "${rounds[@]}"
	exit
fi
nr=0
echo +memory >/sys/fs/cgroup/cgroup.subtree_control
# The backend keeps something for each pool, once there was one: that is no leak
set_up ext4 && tear_down
empty
base=$(used_kib)
while [ $# -ge 2 ]; do
	run_round "$1" "$2"
	shift 2
done
echo "1..$nr"
