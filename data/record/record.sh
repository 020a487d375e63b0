#!/bin/bash
# shellcheck disable=SC1090,SC1091,SC2015,SC2016,SC2034,SC2054,SC2086,SC2154
# Record the requests of a virtual machine's disk while it does the work of workloads/NAME.
#
# A Debian guest is installed into a directory, packed into an ext4 image, and booted under qemu with
# that image served by nbdkit, which writes every request down. The guest runs the workload's job.sh and
# powers itself off. What stays in WORKDIR: the raw log, what is needed to read it, and where it came from.
#
# workloads/NAME/workload.conf says what differs between the workloads; its variables are described below.
set -euo pipefail
export LC_ALL=C

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
accel=auto suite='' keep=no base='' workload='' work='' settings=()

# What a workload.conf may set, and what holds if it does not.
title=''                # one line: what was recorded
paced=no                # yes: a unit is one represented hour, beginning at represented_from
limit_units=90          # the guest is stopped after so many units, and an hour
represented_from=''     # the time that the job's represented-from line stands for
unit=60                 # seconds in which the timed phases are counted
disk=8G memory=1024
suites=updated          # release: the guest is installed without security and other updates
updates=no              # yes: download the updates that the guest will install itself
mount_options=errors=remount-ro
contents=no             # yes: digests of what is written are recorded too
packages=()             # installed beforehand, beside the common ones
work_packages=()        # only downloaded: the guest installs them itself
source_packages=()      # their upstream archives go to /root/sources
versions=()             # packages whose versions the provenance names
parameters=()           # NAME=VALUE: in the job's configuration and in the provenance; --set changes them

common_packages=(systemd-sysv udev kmod dbus e2fsprogs linux-image-cloud-amd64 initramfs-tools
                 cron logrotate sysstat)

usage() {
    cat <<TEXT
usage: $(basename "$0") [options] WORKLOAD WORKDIR

Records the disk of a Debian guest while it works. Needs root.
Workloads: $(cd "$here/workloads" && echo *)

  --unit SECONDS     length of the unit in which the timed phases are counted (60); where the recording
                     is paced it is one represented hour (10: one second stands for 360).
                     A small one makes a trial run
  --set NAME=VALUE   change one of the workload's parameters (see its workload.conf); may be repeated
  --disk SIZE        capacity of the guest's disk
  --memory MIB       memory of the guest
  --accel NAME       kvm, tcg or auto: kvm if a trial boot succeeds, else tcg [$accel]
  --suite NAME       Debian release of the guest [the host's]
  --base DIRECTORY   keep the bare guest system there as an archive, and take it from there the next time
  --keep             keep the guest's files and image; the next run takes its guest from there

Left in WORKDIR: disk.log (raw log, times in UTC), initial-map.json (what was allocated before the first
request), console.log (the guest's serial console, each line stamped by the host), guest-packages.txt
(name, version, and whether installed beforehand or only in the guest's package archive), provenance.toml;
disk.log.key, where contents are recorded: the secret of their digests.
TEXT
}

say() { printf '%(%H:%M:%S)T  %s\n' -1 "$*"; }
die() { printf 'record: %s\n' "$*" >&2; exit 2; }

options=()
while [ $# -gt 0 ]; do
    case $1 in
        --unit | --disk | --memory)
            [ $# -ge 2 ] || die "$1 needs a value; see --help"
            options+=("${1#--}=$2"); shift 2 ;;
        --accel | --suite | --base)
            [ $# -ge 2 ] || die "$1 needs a value; see --help"
            printf -v "${1#--}" %s "$2"; shift 2 ;;
        --set)
            [[ ${2-} =~ ^[a-z_]+=[A-Za-z0-9.]+$ ]] || die "--set needs NAME=VALUE, not '${2-}'; see --help"
            settings+=("$2"); shift 2 ;;
        --keep) keep=yes; shift ;;
        -h | --help) usage; exit 0 ;;
        -*) die "unknown option $1; see --help" ;;
        *)  if [ -z "$workload" ]; then workload=$1
            elif [ -z "$work" ]; then work=$1
            else die "a WORKLOAD and a WORKDIR, not also $1; see --help"; fi
            shift ;;
    esac
done

# -- prerequisites ---------------------------------------------------------------------------------------

[ -n "$work" ] || { usage >&2; exit 2; }
job=$here/workloads/$workload
[ -f "$job/workload.conf" ] || die "no workload '$workload'; there are: $(cd "$here/workloads" && echo *)"
. "$job/workload.conf"
for option in "${options[@]}"; do printf -v "${option%%=*}" %s "${option#*=}"; done
for setting in "${settings[@]}"; do
    known=no
    for i in "${!parameters[@]}"; do
        [ "${parameters[$i]%%=*}" != "${setting%%=*}" ] || { parameters[i]=$setting; known=yes; }
    done
    [ $known = yes ] || die "$workload has no parameter '${setting%%=*}', only: ${parameters[*]%%=*}"
done
for number in unit memory; do
    [[ ${!number} =~ ^[1-9][0-9]*$ ]] || die "--$number must be a positive whole number, not '${!number}'"
done
[[ $disk =~ ^[1-9][0-9]*[MGT]$ ]] || die "--disk must be a size such as 8G, not '$disk'"
time_scale=1
if [ $paced = yes ]; then
    [ $((3600 % unit)) = 0 ] || die "--unit must divide the 3600 seconds of a represented hour, $unit does not"
    time_scale=$((3600 / unit))
fi
[[ $accel =~ ^(auto|kvm|tcg)$ ]] || die "--accel must be auto, kvm or tcg, not '$accel'"
command -v apt-get > /dev/null || die "must run on Debian: the guest is installed from the machine's own apt sources"
[ "$(id -u)" = 0 ] || die "must run as root: installing a guest needs chroot and mount"
needed=(debootstrap:debootstrap qemu-system-x86_64:qemu-system-x86 qemu-img:qemu-utils nbdkit:nbdkit mke2fs:e2fsprogs)
missing=()
for pair in "${needed[@]}"; do
    command -v "${pair%:*}" > /dev/null || missing+=("${pair#*:}")
done
[ ${#missing[@]} = 0 ] || die "programs are missing; run: apt-get install ${missing[*]}"
if [ $contents = yes ]; then
    nbdkit --dump-plugin python > /dev/null 2>&1 || die "nbdkit has no python plugin; run: apt-get install nbdkit-plugin-python"
else
    nbdkit --dump-plugin --filter=log file > /dev/null 2>&1 || die "this nbdkit has no log filter; install Debian's package nbdkit"
fi

. /etc/os-release
suite=${suite:-$VERSION_CODENAME}
# The guest installs from wherever this machine does: the same mirror, the same suites.
sources=$(apt-get indextargets --format '$(ORIGIN) $(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' |
          awk -v suite="$suite" '$1 == "Debian" && $4 == "main" && ($3 == suite || index($3, suite "-") == 1) {
              print "deb", $2, $3, $4 }' | sort -u)
mirror=$(awk -v suite="$suite" '$3 == suite { print $2; exit }' <<< "$sources")
[ -n "$mirror" ] || die "no Debian $suite among this machine's apt sources; configure a mirror and run: apt-get update"
release_sources="deb $mirror $suite main"

[ -z "$base" ] || { mkdir -p "$base"; base=$(cd "$base" && pwd); }
mkdir -p "$work" 2> /dev/null && [ -w "$work" ] || die "$work is no folder that can be written to"
free=$(df --output=avail -B 1M "$work" | tail -n 1 | tr -d " ")
[ "$free" -ge 4096 ] || die "$work has $free MiB free; a recording needs about 4096 MiB"
cd "$work"                         # everything below is relative, so that command lines are the same everywhere
rm -f disk.raw disk.log disk.log.key initial-map.json console.log provenance.toml nbd.sock nbdkit.pid

nbdkit_pid='' qemu_pid='' watch_pid=''
cleanup() {
    status=$?
    trap - EXIT INT TERM
    for pid in $watch_pid $qemu_pid $nbdkit_pid; do
        kill "$pid" 2> /dev/null && wait "$pid" 2> /dev/null || true
    done
    for folder in proc sys; do
        mountpoint -q "rootfs/$folder" 2> /dev/null && umount "rootfs/$folder" || true
    done
    rm -f nbd.sock nbdkit.pid console.pipe probe.log project
    if [ $keep = no ] && ! mountpoint -q rootfs/proc && ! mountpoint -q rootfs/sys; then
        rm -rf --one-file-system rootfs rootfs.done disk.raw
    fi
    exit $status
}
trap cleanup EXIT
trap 'exit 130' INT TERM

# -- the guest's files -----------------------------------------------------------------------------------

in_guest() { chroot rootfs env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 \
                 DEBIAN_FRONTEND=noninteractive "$@" < /dev/null >> install.log 2>&1; }
guest_apt() { in_guest apt-get -y --no-install-recommends "$@" || die "apt-get $1 failed in the guest; see $work/install.log"; }

mount_guest() { mount -t proc proc rootfs/proc && mount -t sysfs -o ro sysfs rootfs/sys; }

bare_system() {         # the system that all workloads share
    say "installing Debian $suite into rootfs (log: install.log)"
    debootstrap --variant=minbase "$suite" rootfs "$mirror" > install.log 2>&1 ||
        die "debootstrap failed: $(tail -n 1 install.log)"
    if [ $suites = release ]; then echo "$release_sources"; else echo "$sources"; fi > rootfs/etc/apt/sources.list
    cp /etc/resolv.conf rootfs/etc/resolv.conf
    printf '#!/bin/sh\nexit 101\n' > rootfs/usr/sbin/policy-rc.d     # no daemon starts inside the chroot
    chmod +x rootfs/usr/sbin/policy-rc.d
    mount_guest
    say "installing the kernel in it"
    guest_apt update
    guest_apt install "${common_packages[@]}"
    in_guest apt-get clean
    umount rootfs/proc rootfs/sys
}

# Several recordings may be started at once: the first makes the archive, the others wait for it.
archived_system() {
    local archive=$base/debian-$suite-$suites.tar
    exec 9> "$archive.lock"
    flock 9
    if [ -e "$archive" ]; then
        say "unpacking $(basename "$archive")"
        mkdir rootfs
        tar -C rootfs --numeric-owner --xattrs -xpf "$archive"
        cp /etc/resolv.conf rootfs/etc/resolv.conf
    else
        bare_system
        tar -C rootfs --numeric-owner --xattrs -cf "$archive.part" .
        mv "$archive.part" "$archive"
    fi
    exec 9>&-
}

if [ ! -e rootfs.done ]; then
    rm -rf --one-file-system rootfs
    rm -f install.log
    if [ -n "$base" ]; then archived_system; else bare_system; fi
    mount_guest
    say "installing the workload's packages"
    [ ${#packages[@]} = 0 ] || guest_apt install "${packages[@]}"
    in_guest apt-get clean
    if [ $updates = yes ]; then
        echo "$sources" > rootfs/etc/apt/sources.list
        guest_apt update
        say "downloading the updates that the guest will install itself"
        guest_apt dist-upgrade --download-only
    fi
    if [ ${#work_packages[@]} != 0 ]; then
        say "downloading the packages that the guest will install itself"
        guest_apt install --download-only "${work_packages[@]}"
    fi
    if [ ${#source_packages[@]} != 0 ]; then
        echo "${sources//deb /deb-src }" > rootfs/etc/apt/sources.list.d/sources.list
        guest_apt update
        mkdir -p rootfs/root/sources
        in_guest sh -c "cd /root/sources && apt-get source --download-only ${source_packages[*]}" ||
            die "downloading source packages failed; see $work/install.log"
        rm rootfs/etc/apt/sources.list.d/sources.list rootfs/root/sources/*.dsc rootfs/root/sources/*.debian.tar.*
    fi
    umount rootfs/proc rootfs/sys
    rm rootfs/usr/sbin/policy-rc.d rootfs/etc/resolv.conf

    echo vm > rootfs/etc/hostname
    echo "/dev/vda / ext4 $mount_options 0 1" > rootfs/etc/fstab
    sed -i 's/^ENABLED=.*/ENABLED="true"/' rootfs/etc/default/sysstat
    mkdir -p rootfs/var/log/journal
    # The guest has no network, and the console belongs to the job.
    for name in apt-daily.timer apt-daily-upgrade.timer serial-getty@ttyS0.service \
                systemd-firstboot.service systemd-networkd-wait-online.service; do
        ln -sf /dev/null "rootfs/etc/systemd/system/$name"
    done
    touch rootfs.done
fi

for file in "$job"/job.*; do install -m 755 "$file" rootfs/root/; done
install -m 755 "$here/guest/lib.sh" rootfs/root/lib.sh
install -m 755 "$here/guest/health.sh" rootfs/usr/local/sbin/health
install -m 755 "$here/guest/final-stat.sh" rootfs/usr/lib/systemd/system-shutdown/final-stat
install -m 644 "$here/guest/health.cron" rootfs/etc/cron.d/health
install -m 644 "$here/guest/job.service" rootfs/etc/systemd/system/job.service
mkdir -p rootfs/etc/systemd/system/multi-user.target.wants
ln -sf ../job.service rootfs/etc/systemd/system/multi-user.target.wants/job.service
{   printf 'UNIT=%s\nREPRESENTED_FROM=%s\nPACKAGES="%s"\n' "$unit" "$represented_from" "${work_packages[*]}"
    for parameter in "${parameters[@]}"; do
        name=${parameter%%=*}
        printf '%s=%s\n' "${name^^}" "${parameter#*=}"
    done
} > rootfs/root/job.conf
{   chroot rootfs dpkg-query -W -f '${Package} ${Version} installed\n'
    for file in rootfs/var/cache/apt/archives/*.deb; do
        [ ! -e "$file" ] || chroot rootfs dpkg-deb -W --showformat '${Package} ${Version} archive\n' "${file#rootfs}"
    done
} > guest-packages.txt
kernel=$(echo rootfs/boot/vmlinuz-*-cloud-amd64)
initrd=$(echo rootfs/boot/initrd.img-*-cloud-amd64)

say "packing rootfs into disk.raw ($disk, ext4)"
truncate -s "$disk" disk.raw
# nodiscard, lazy_itable_init: as on a disk that mke2fs cannot know to be empty. The guest's kernel then zeroes
# the inode tables in its first minutes, with WRITE_ZEROES, as it does on any freshly made file system.
mke2fs_command=(mke2fs -q -t ext4 -L root -E nodiscard,lazy_itable_init=1 -d rootfs disk.raw)
"${mke2fs_command[@]}"
qemu-img map --output=json -f raw disk.raw > initial-map.json

# -- the recording ---------------------------------------------------------------------------------------

machine() { qemu-system-x86_64 -nodefaults -no-user-config -display none -no-reboot -serial stdio \
                -kernel "$kernel" -initrd "$initrd" "$@"; }

# /dev/kvm may exist and still not run a guest: believe it only after a kernel came up and ended by itself.
kvm_works() {
    [ -w /dev/kvm ] || return 1
    timeout 40 bash -c "$(declare -f machine); kernel=$kernel initrd=$initrd; machine -accel kvm -cpu host -m 512 \
        -append 'console=ttyS0 panic=-1 rdinit=/bin/true'" < /dev/null > probe.log 2>&1 || return 1
    grep -q 'Run /bin/true as init' probe.log
}
if [ $accel = auto ]; then
    if kvm_works; then accel=kvm; else accel=tcg; fi
fi
case $accel in
    kvm) processor=(-accel kvm -cpu host) ;;
    tcg) processor=(-accel tcg,thread=single -cpu max) ;;
esac
say "acceleration: $accel"

if [ $contents = yes ]; then
    ln -sfn "$here/../.." project
    nbdkit_command=(nbdkit -f -U nbd.sock -P nbdkit.pid python project/snapsim/recording/contents_plugin.py
        file=disk.raw logfile=disk.log contents=writes)
else
    nbdkit_command=(nbdkit -f -U nbd.sock -P nbdkit.pid --filter=log file disk.raw logfile=disk.log)
fi
# request-merging=off: without it qemu joins neighbouring requests, and the log would not be the guest's.
qemu_command=(qemu-system-x86_64 -nodefaults -no-user-config "${processor[@]}" -m "$memory" -smp 1
    -display none -serial stdio -nic none -no-reboot -rtc base=utc -device virtio-rng-pci
    -kernel "$kernel" -initrd "$initrd"
    -append "root=/dev/vda rw console=ttyS0 quiet loglevel=3 systemd.firstboot=off systemd.show_status=false panic=10"
    -drive "file=nbd+unix:///?socket=nbd.sock,if=none,id=disk,format=raw,cache=none,discard=unmap,detect-zeroes=off"
    -device virtio-blk-pci,drive=disk,request-merging=off)

TZ=UTC "${nbdkit_command[@]}" &     # the log has local time
nbdkit_pid=$!
for _ in $(seq 100); do [ -e nbdkit.pid ] && break; sleep 0.1; done
[ -e nbdkit.pid ] || die "nbdkit did not start within 10 s"

limit=$((unit * (limit_units) + 3600))
start=$(date -u +%Y-%m-%dT%H:%M:%S.%6NZ)
say "booting the guest; it powers itself off when done (limit $limit s)"
progress='@@ [^ ]+ (start|stop|summary|event) (.*)'
rm -f console.pipe; mkfifo console.pipe
timeout "$limit" "${qemu_command[@]}" < /dev/null > console.pipe 2> qemu.err &
qemu_pid=$!
# a guest whose disk is gone may never end
{ while kill -0 "$nbdkit_pid"; do sleep 1; done; kill "$qemu_pid"; } 2> /dev/null &
watch_pid=$!
while IFS= read -r line; do
    line=${line%$'\r'}
    printf '%s %s\n' "$EPOCHREALTIME" "$line" >> console.log
    [[ $line =~ $progress ]] && say "guest: ${BASH_REMATCH[1]} ${BASH_REMATCH[2]}"
done < console.pipe
rm -f console.pipe
kill "$watch_pid" 2> /dev/null || true
watch_pid=''
status=0; wait $qemu_pid || status=$?
qemu_pid=''
stop=$(date -u +%Y-%m-%dT%H:%M:%S.%6NZ)
kill "$nbdkit_pid" 2> /dev/null || die "nbdkit ended before the guest did, so the recording is not whole; see its message above"
wait "$nbdkit_pid" || true
nbdkit_pid=''
[ $status != 124 ] || die "the guest did not finish within $limit s; see $work/console.log"
[ $status = 0 ] || die "qemu ended with status $status: $(tail -n 1 qemu.err)"
grep -q '@@ [^ ]* done' console.log || die "the guest stopped before its job was done; see $work/console.log"
failed=$(grep -c '@@ [^ ]* stop [^ ]* status=[1-9]' console.log || true)

# -- where it came from ----------------------------------------------------------------------------------

quote() { local text=${1//\\/\\\\}; printf '"%s"' "${text//\"/\\\"}"; }
command_line() {
    local word words=()
    for word; do
        [[ $word =~ ^[A-Za-z0-9_./:=,+@%-]+$ ]] || word="'$word'"
        words+=("$word")
    done
    quote "${words[*]}"
}
installed() { chroot rootfs dpkg-query -W -f '${Version}' "$1"; }
numbers() { printf 'stat = [%s' "$1"; shift; printf ', %s' "$@"; echo ']'; }
utc() { date -u -d "@$1" +%Y-%m-%dT%H:%M:%S.%6NZ; }

{
    echo "# Written by record.sh. Times are UTC."
    echo "[recording]"
    echo "title = $(quote "$title")"
    echo "workload = $(quote "$workload")"
    echo "start = $start"
    echo "stop = $stop"
    echo "licence = \"Apache-2.0\""
    echo "capacity_bytes = $(stat -c %s disk.raw)"
    if [ $paced = yes ]; then
        represented=$(sed -nE 's/^([0-9.]+) @@ [^ ]+ represented-from .*/\1/p' console.log)
        echo "time_scale = $time_scale.0                      # paced in the guest: one second stands for $time_scale"
        echo "represented_from = $represented_from    # what the following moment stands for"
        echo "represented_from_host = $(utc "$represented")"
    else
        echo "time_scale = 1.0                        # real time, no pacing"
    fi
    echo "contents = $([ $contents = yes ] && echo '"snapsim-1"           # digests of what was written' || echo '""')"
    echo "clock = \"the host's wall clock in nbdkit, run with TZ=UTC: the stamps in the log are UTC\""
    echo "failed_phases = $failed"
    echo
    echo "[parameters]"
    if [ $paced = yes ]; then echo "unit_seconds = $unit                       # one represented hour"
    else echo "unit_seconds = $unit"; fi
    for parameter in "${parameters[@]}"; do
        value=${parameter#*=}
        [[ $value =~ ^(0|[1-9][0-9]*)(\.[0-9]+)?$ ]] || value=$(quote "$value")
        echo "${parameter%%=*} = $value"
    done
    echo "guest_memory_mib = $memory"
    echo "guest_processors = 1"
    echo "accelerator = \"$accel\""
    echo
    echo "[host]"
    echo "system = $(quote "$PRETTY_NAME")"
    echo "kernel = $(quote "$(uname -r | cut -d - -f 1)")"
    echo "processor = $(quote "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), $(nproc) cores")"
    echo "nbdkit = $(quote "$(nbdkit --version)")"
    echo "qemu = $(quote "$(qemu-system-x86_64 --version | head -n 1)")"
    echo "debootstrap = $(quote "$(dpkg-query -W -f '${Version}' debootstrap)")"
    echo "mke2fs = $(quote "$(mke2fs -V 2>&1 | head -n 1)")"
    echo
    echo "[guest]"
    echo "system = $(quote "$(. rootfs/etc/os-release; echo "$PRETTY_NAME") ($(cat rootfs/etc/debian_version))")"
    echo "kernel = $(quote "${kernel#rootfs/boot/vmlinuz-}")"
    echo "file_system = \"ext4 on the whole disk, made with default options, mounted with $mount_options\""
    echo "init = $(quote "systemd $(installed systemd)")"
    for name in dpkg "${versions[@]}"; do echo "${name//./-} = $(quote "$(installed "$name")")"; done
    echo "packages_installed_before = $(grep -c ' installed$' guest-packages.txt)"
    echo "work_packages = $(quote "${work_packages[*]}")"
    echo "work_packages_with_dependencies = $(grep -c ' archive$' guest-packages.txt)"
    echo
    echo "[commands]"
    echo "image = $(command_line "${mke2fs_command[@]}")"
    echo "disk = $(command_line env TZ=UTC "${nbdkit_command[@]}")"
    echo "machine = $(command_line "${qemu_command[@]}")"
    echo
    echo "# One table per phase of workloads/$workload/job.sh. guest_* is the guest's clock, host_* the host's clock when the line"
    echo "# arrived; stat is the guest's /sys/block/vda/stat at the end of the phase, counted since boot."
    # console line: HOST @@ GUEST start|stop|stat NAME [words]
    awk '$2 == "@@"' console.log | while read -r host _ guest what name rest; do
        case $what in
            start)
                host_start=$host guest_start=$guest about=$rest ;;
            stop)
                echo; echo "[[phase]]"
                echo "name = \"$name\""
                echo "about = $(quote "$about")"
                echo "guest_start = $guest_start"
                echo "guest_stop = $guest"
                echo "host_start = $(utc "$host_start")"
                echo "host_stop = $(utc "$host")"
                echo "seconds = $(awk -v a="$host_start" -v b="$host" 'BEGIN { printf "%.3f", b - a }')"
                echo "status = ${rest#status=}" ;;
            stat)
                [ "$name" != boot ] || printf '\n[boot]\n'
                numbers $rest ;;
            final)
                echo; echo "[final]                      # after the root file system was remounted read-only"
                echo "host_time = $(utc "$host")"
                numbers $name $rest ;;
            event)
                echo; echo "[[event]]"
                echo "name = \"$name\""
                echo "about = $(quote "$rest")"
                echo "host_time = $(utc "$host")" ;;
            summary)
                echo "result = $(quote "$rest")" ;;
        esac
    done
} > provenance.toml.part
mv provenance.toml.part provenance.toml

rm -f qemu.err
say "recorded $(grep -c 'connection=[0-9]* [A-Z]' disk.log) calls in $work/disk.log ($(du -h disk.log | cut -f 1))"
[ "$failed" = 0 ] || { printf 'record: %s phases failed in the guest; see %s/console.log\n' "$failed" "$work" >&2; exit 1; }
