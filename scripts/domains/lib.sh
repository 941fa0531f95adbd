# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# What the tests in dom0 know of domains:
#
# a, b, h	have kernels that do not use tmem, for abi_test; h is a PVH one
# c, p		have a kernel that does, a swap disk and files; p is a PVH one
# d		comes and goes
# g		is larger, and gives up what it does not need (balloon.sh)

by_id=/dev/disk/by-id/virtio-

fail()
{
	echo "# FAILED: $*" >&2
	exit 1
}

# Why does nothing happen? Domains stand still for many reasons. What Xen knows
# of it, timers and event channels, goes to its console. A trace with exc_int3
# on a domain's console means that the emulator ran a breakpoint which the
# kernel had removed already. QEMU before 8.1 may do so, when one CPU translates
# code while another one changes it.
stuck()
{
	local id xenctx

	xenctx=$(echo /usr/lib/xen-*/bin/xenctx)
	for id in $(xl list | awk '$2 ~ /^[1-9]/ { print $2 }'); do
		xl vcpu-list "$id"
		"$xenctx" -C "$id" || :
	done
	xl debug-keys aeqr
}

# wait_for SECONDS COMMAND...
wait_for()
{
	local end=$((SECONDS + $1))

	shift
	until "$@"; do
		if [ $SECONDS -ge $end ]; then
			{ stuck 2>&1 | sed 's/^/# /' || :; } >&2
			fail "never came: $*"
		fi
		sleep 0.3
	done
}

# expect LEFT OPERATOR RIGHT TITLE
expect()
{
	test "$1" "$2" "$3" || fail "$4 ($1 $2 $3 is not so)"
}

#
# Domains
#

domid()
{
	cat "/tmp/$1.domid"
}

lives()
{
	[ -e "/tmp/$1.domid" ]
}

find_domid()
{
	local new=/tmp/$1.new

	xl domid "$1" >"$new" 2>/dev/null &&
		xenstore-exists "/local/domain/$(cat "$new")/data/ready" &&
		mv "$new" "/tmp/$1.domid"
}

disk()
{
	echo "$1=$(realpath "$by_id$2")"
}

domain()
{
	local args=(memory=64 maxmem=96 job=/payload/guest) append=

	! lives "$1" || return 0
	case $1 in
	g)
		append=tmem
		args=(memory=384 job=/payload/guest
		      disks="$(disk root disk3) $(disk swap scratch1)
			     $(disk data scratch2)") ;;
	a) args+=(vcpus=2 disks="$(disk root disk1)") ;;
	b) args+=(disks="$(disk root disk2)") ;;
	h) args+=(vcpus=2 disks="$(disk root disk4)"
		  extra="on_soft_reset = 'preserve'") ;;
	c | p)
		append=tmem
		args+=(disks="$(disk root disk3) $(disk swap scratch1)
			      $(disk data scratch2)") ;;
	esac
	# An emulated processor does not switch XCR0 for a guest of a hypervisor
	[[ $1 != [hp] ]] || args+=(type=pvh) append+=" noxsave"
	domu "$1" "${args[@]}" append="$append" >"/tmp/$1.out" 2>&1 &
	wait_for 600 find_domid "$1"
	echo "# $1 is domain $(domid "$1")"
}

# gone NAME|ID
gone()
{
	! xl list "$1" >/dev/null 2>&1
}

# When Xen does not list a domain's number any more, nothing of it is left
destroy()
{
	local id

	lives "$1" || return 0
	id=$(domid "$1")
	rm "/tmp/$1.domid"
	xl destroy "$id"
	wait_for 300 gone "$id"
}

# Where the images of domains go
room_for_images()
{
	! mountpoint -q /tmp/save || return 0
	mke2fs -q -t ext2 ${by_id}scratch3
	mkdir -p /tmp/save
	mount ${by_id}scratch3 /tmp/save
}

# answered ID NR - the result of command NR is there, and then in /tmp/result
answered()
{
	local of=/local/domain/$1

	xenstore-read "$of/data/result" 2>/dev/null >/tmp/result ||
		xenstore-exists "$of" || fail "domain $1 has ended"
	grep -q "^$2 " /tmp/result
}

# on NAME COMMAND - run a line in a domain. Its output, and its status
on()
{
	local id nr result

	id=$(domid "$1") nr=$(date +%s%N)
	xenstore-write "/local/domain/$id/data/command" "$nr $2"
	wait_for 600 answered "$id" "$nr"
	result=$(</tmp/result)
	result=${result#* }
	echo "${result#* }"
	return "${result%% *}"
}

# End what uses the pools of a domain, and destroy these
forget_pools()
{
	on "$1" 'stop_jobs; ./abi_test --destroy' >/dev/null
}

hog()
{
	now "$1" evicted_pages >"/tmp/$1.evicted"
	on "$1" './abi_test --hog forever >/dev/null 2>&1 4>&- &' >/dev/null
}

#
# Numbers
#

look()
{
	json=$(./tmemctl --json list)
}

# value NAME KEY - of a client, when look was called last
value()
{
	sed -n "s/.*\"name\": \"$1\".*\"$2\": \([0-9]*\).*/\1/p" <<<"$json"
}

now()
{
	look
	value "$1" "$2"
}

at_least()
{
	[ "$(now "$1" "$2")" -ge "$3" ]
}

at_most()
{
	[ "$(now "$1" "$2")" -le "$3" ]
}

# When Xen has stopped to list a domain, its last memory is still to be freed
heap()
{
	local now=0 last=-1

	until [ "$now" -eq "$last" ]; do
		last=$now
		sleep 3
		now=$(./abi_test --heap)
	done
	echo "$now"
}

# dom0's table of the grants that it maps only grows. Before a test counts pages
# it is made to grow, by more requests at a time than the test makes
map_grants()
{
	local how="bs=4M count=16 iflag=direct status=none"

	on "$1" "dd if=${by_id}root of=/dev/null $how"
}

# All memory is used since the domain began to hog, and it loses pages
full()
{
	at_least "$1" evicted_pages $(($(cat "/tmp/$1.evicted") + 1000))
}
