# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# Tests of the balloon: what a domain gives up by itself, and how it gets that
# back. g has 384 MiB and gives up what it does not need; it and its disks are
# made by lib.sh.

# shellcheck disable=SC2034 # dom0 has them in its list
balloon_tests=(
	idle_domain_gives_up_its_memory
	burst_gets_memory_back_at_once
	burst_gets_memory_back_from_a_full_host
	slabs_and_locked_memory_are_needed
	promises_are_not_needed
	toolstack_sets_the_ceiling
	bad_values_of_the_balloon_are_refused
	shrunk_domain_with_full_preswap_moves
	drain_brings_pages_back
	preswap_makes_room_for_the_balloon
)

balloon=/sys/devices/system/xen_memory/xen_memory0
parameters=/sys/module/xen_selfballoon/parameters

# own NAME - KiB of memory that a domain has, as its kernel says
own()
{
	on "$1" "cat $balloon/info/current_kb"
}

owns_at_most()
{
	[ "$(own "$1")" -le "$2" ]
}

owns_at_least()
{
	[ "$(own "$1")" -ge "$2" ]
}

seconds_of()
{
	on "$1" 'cut -d . -f 1 /proc/uptime'
}

parameter()
{
	on "$1" "cat $parameters/$2"
}

# What must not happen while memory comes and goes
begin_watch()
{
	local name

	for name in oom_kill pswpout preswap_put; do
		before[$name]=$(count "$1" $name)
	done
}
declare -A before

end_watch()
{
	local name

	for name in oom_kill pswpout preswap_put; do
		since[$name]=$(($(count "$1" $name) - before[$name]))
	done
	echo "# $1 has $(own "$1") KiB; processes killed: ${since[oom_kill]}," \
		"pages written to the swap disk: ${since[pswpout]}," \
		"put into preswap: ${since[preswap_put]}"
	expect "${since[oom_kill]}" -eq 0 "no process is killed"
	expect "${since[pswpout]}" -eq 0 "no page is written to the swap disk"
	expect "${since[preswap_put]}" -lt 5000 "it came from the balloon"
}
declare -A since

# lives_on NAME SECONDS - of its own time
lives_on()
{
	local until=$(($(seconds_of "$1") + $2))

	wait_for 600 is_past "$1" "$until"
}

is_past()
{
	[ "$(seconds_of "$1")" -ge "$2" ]
}

# g, with self-ballooning on
balloonist()
{
	domain g
	[ "$(parameter g enabled)" = Y ] ||
		on g "echo 1 >$parameters/enabled"
}

# shrunk NAME KIB - it has given up what it had beyond that; in how many seconds
# of its own time
shrunk()
{
	local start

	start=$(seconds_of "$1")
	wait_for 900 owns_at_most "$1" "$2"
	took=$(($(seconds_of "$1") - start))
	echo "# $1 has $(own "$1") KiB after $took s; in KiB, goal" \
		"$(parameter "$1" goal_kb), trim $(parameter "$1" trim_kb)"
}

idle_domain_gives_up_its_memory()
{
	domain g
	echo "# $(own g) KiB"
	expect "$(own g)" -gt 380000 "it has all of it"
	balloonist
	shrunk g 196608
	expect "$took" -le 60 "half of it within a minute"
}

# comes_back NAME MIB - a process needs that much at once
comes_back()
{
	begin_watch "$1"
	on "$1" "burst touch $2"
	end_watch "$1"
	expect "$(own "$1")" -ge $(($2 << 10)) "it has what it needs"
	on "$1" end_burst
}

burst_gets_memory_back_at_once()
{
	balloonist
	shrunk g 196608
	comes_back g 280
	# And is given up again
	shrunk g 196608
}

burst_gets_memory_back_from_a_full_host()
{
	balloonist
	domain a
	shrunk g 196608
	hog a
	wait_for 600 full a
	comes_back g 280
	forget_pools a
	shrunk g 196608
}

slabs_and_locked_memory_are_needed()
{
	local small

	balloonist
	shrunk g 196608
	small=$(own g)
	begin_watch g
	on g 'mount -o remount,nr_inodes=0 /dev/shm && burst slab 60000'
	on g 'burst locked 120'
	lives_on g 30
	end_watch g
	expect "$(own g)" -ge $((small + (100 << 10))) "it has what it needs"
	on g 'end_burst; rm -rf /dev/shm/burst*'
}

# 10 GiB that were promised, of which hardly anything is used
promises_are_not_needed()
{
	balloonist
	shrunk g 196608
	on g 'echo 1 >/proc/sys/vm/overcommit_memory; burst sparse 10240'
	on g 'grep Committed_AS /proc/meminfo' | sed 's/^/# /'
	lives_on g 15
	expect "$(own g)" -le 230000 "it stays small"
	on g 'end_burst; echo 0 >/proc/sys/vm/overcommit_memory'
}

toolstack_sets_the_ceiling()
{
	balloonist
	xl mem-set g 160
	shrunk g $((160 << 10))
	on g 'burst touch 200'
	expect "$(own g)" -le $((161 << 10)) "it stays below the ceiling"
	expect "$(parameter g ceiling_kb)" -le $((160 << 10)) "the ceiling"
	xl mem-set g 384
	wait_for 300 owns_at_least g $((200 << 10))
	on g end_burst
	expect "$(parameter g ceiling_kb)" -gt $((380 << 10)) "the ceiling"

	# Off: it has what the toolstack says
	on g "echo 0 >$parameters/enabled"
	wait_for 300 owns_at_least g $((380 << 10))
	on g "echo 1 >$parameters/enabled"
	shrunk g 196608
}

bad_values_of_the_balloon_are_refused()
{
	local value

	balloonist
	for value in enabled=2 enabled=maybe floor_kb=-1 floor_kb=text \
		     floor_kb=99999999; do
		! on g "echo ${value#*=} >$parameters/${value%=*}" ||
			fail "$value was taken"
	done
	expect "$(parameter g enabled)" = Y "it is still on"
	# A floor above what the toolstack allows gives way
	on g "echo 300000 >$parameters/floor_kb"
	wait_for 300 owns_at_least g 299000
	xl mem-set g 200
	wait_for 300 owns_at_most g $((200 << 10))
	xl mem-set g 384
	wait_for 300 owns_at_least g 299000
	on g "echo 90000 >$parameters/floor_kb"
	shrunk g 196608
}

# With the toolstack's own timeouts
shrunk_domain_with_full_preswap_moves()
{
	local old

	room_for_images
	balloonist
	shrunk g 196608
	on g 'hold 120 24 write'
	echo "# preswap has $(preswap_pages g) pages, g $(own g) KiB"
	expect "$(preswap_pages g)" -gt 20000 "preswap is full"
	old=$(domid g)
	tries=1 moves g save_and_restore g
	expect "$(domid g)" -ne "$old" "another domain"
	shrunk g 262144
	on g check_hold		# which swaps
	echo "# preswap has $(preswap_pages g) pages, g $(own g) KiB"
	expect "$(preswap_pages g)" -gt 10000 "preswap is full"
	old=$(domid g)
	tries=1 moves g live_migration g
	expect "$(domid g)" -ne "$old" "another domain"
	on g check_hold
}

# `tmemctl drain`: pages come back before, and stay until it is told otherwise
drain_brings_pages_back()
{
	local put

	balloonist
	on g check_hold
	echo "# preswap has $(preswap_pages g) pages, g $(own g) KiB"
	expect "$(preswap_pages g)" -gt 5000 "preswap has something"
	./tmemctl drain g >/tmp/drain.out 2>&1 || fail "$(cat /tmp/drain.out)"
	sed 's/^/# /' /tmp/drain.out | tail -n 2
	expect "$(preswap_pages g)" -eq 0 "preswap is empty"
	put=$(count g preswap_put)
	on g check_hold
	expect "$(count g preswap_put)" -eq "$put" "nothing is put"
	./tmemctl undrain g
	on g 'check_hold && check_hold'
	expect "$(count g preswap_put)" -gt "$put" "pages are put again"
	destroy g
}

# Without self-ballooning: the target is raised, and preswap is in the way
preswap_makes_room_for_the_balloon()
{
	local held

	domain g
	on g "echo 0 >$parameters/enabled"
	xl mem-max g 384
	on g "echo 204800 >$balloon/target_kb"
	wait_for 300 owns_at_most g $((200 << 10))
	on g 'hold 200 24 write'
	held=$(preswap_pages g)
	echo "# preswap has $held pages, g $(own g) KiB"
	expect "$held" -gt $((100 << 8)) "preswap has the room"
	xl mem-set g 384
	wait_for 600 owns_at_least g $((380 << 10))
	echo "# preswap has $(preswap_pages g) pages, g $(own g) KiB"
	on g check_hold
	destroy g
}
