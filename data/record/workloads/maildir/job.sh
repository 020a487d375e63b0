#!/bin/bash
# shellcheck disable=SC1091,SC2046,SC2086
# A mail store: messages arrive, are read, flagged, moved and expunged; the file system discards what is freed.
. /root/lib.sh
mkdir -p /srv/mail

mail() { python3 /root/job.py "$@" --path /srv/mail --users $USERS --median $MEDIAN --seed $SEED; }
times() { awk -v rate=$RATE -v n=$1 'BEGIN { print rate * n }'; }

nightly() {     # what a mail server does at night: old mail out of the bins, indexes rewritten, an archive
    mail expire && mail reindex && tar -C /srv -czf /var/backups/mail-first.tar.gz mail/user00 mail/user01
}

report stat boot $(cat /sys/block/vda/stat)
phase settle   "idle after boot"                                                 idle 0.5
phase old-mail "$USERS mailboxes filled with $OLD messages each"                 mail fill --old $OLD
phase morning  "deliveries and readers at the full rate"                         mail serve --seconds $(units 5) --rate $(times 1)
phase burst    "a mailing list: three times the rate, few readers"               mail serve --seconds $(units 2) --rate $(times 3) --readers 0.3
phase quiet    "a quarter of the rate"                                           mail serve --seconds $(units 3) --rate $(times 0.25)
phase clean-up "users empty their folders: many expunges"                        mail serve --seconds $(units 3) --rate $(times 0.5) --readers 4
phase nightly  "bins emptied, indexes rewritten, two mailboxes archived"         nightly
phase idle     "idle"                                                            idle 1
phase evening  "deliveries and readers at the full rate"                         mail serve --seconds $(units 5) --rate $(times 1)
phase idle-end "idle"                                                            idle 1
finish
