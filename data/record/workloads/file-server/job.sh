#!/bin/bash
# shellcheck disable=SC1091,SC2012,SC2046,SC2086,SC2153
# A file server from Monday 00:00 to Sunday 24:00: users work on files by day, rsync backs them up by night.
. /root/lib.sh
mkdir -p /srv/share /srv/backup /srv/logs

days=(monday tuesday wednesday thursday friday saturday sunday)
files() { python3 /root/job.py "$@" --path /srv/share --users $USERS --seed $SEED; }

prepare() { files fill --old $OLD && sync; }

# Unchanged files are hard links to the backup before; changed ones are copied whole.
backup() {
    local name=$1 last
    last=$(ls /srv/backup | tail -n 1)
    rsync -a ${last:+--link-dest=/srv/backup/$last} /srv/share/ /srv/backup/$name.part/ &&
    mv /srv/backup/$name.part /srv/backup/$name && sync -f /srv/backup &&
    ls -d /srv/backup/* | head -n -$KEPT | xargs -r rm -r
}

rotate() {
    local log
    for log in /srv/logs/*.log; do gzip -c $log > $log.$1.gz && : > $log; done
}

day() {         # day NUMBER: the users' work, and beside it what starts at its hour
    local number=$1 status=0 beside=()
    files day --number $number --zero $REPRESENTED_ZERO --unit $UNIT --busy $BUSY --logs /srv/logs & beside+=($!)
    until_hour $((number * 24 + 1))
    event backup "rsync --link-dest, ${days[number]} 01:00" backup $number || status=$?
    if [ $number = 6 ]; then
        until_hour $((number * 24 + 7))
        event trim "fstrim, sunday 07:00" trim || status=$?
    fi
    until_hour $((number * 24 + 23))
    [ $number = 0 ] || event rotation "logs compressed" rotate $number || status=$?
    for job in "${beside[@]}"; do wait $job || status=$?; done
    until_hour $((number * 24 + 24))
    return $status
}

report stat boot $(cat /sys/block/vda/stat)
phase prepare "$OLD MiB of files of $USERS users" prepare
begin_represented_time
for number in $(seq 0 $((DAYS - 1))); do
    phase "${days[number]}" "24 represented hours, up to $BUSY operations a second; backup at 01:00" day $number
done
finish
