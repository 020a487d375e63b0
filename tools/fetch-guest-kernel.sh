#!/bin/sh
# Unpack a Linux kernel for the guest of the recorder's test into build/guest.  Nothing is installed, and the
# kernel that this machine boots stays as it is.  Where Debian's package is not to be had, the test says so.
set -eu
target=build/guest
[ ! -e "$target/vmlinuz" ] || exit 0
if ! command -v apt-get > /dev/null || ! command -v dpkg-deb > /dev/null; then
    exit 0
fi

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
package=$(apt-cache depends linux-image-cloud-amd64 2> /dev/null | sed -n 's/^ *Depends: \(linux-image-[^ ]*\)$/\1/p' | head -n 1)
chmod 755 "$folder"
if [ -z "$package" ] || ! (cd "$folder" && apt-get download -qq "$package" > /dev/null 2>&1); then
    echo "No kernel for a test guest: Debian's package linux-image-cloud-amd64 cannot be downloaded here." >&2
    exit 0
fi
dpkg-deb -x "$folder"/*.deb "$folder/root"
mkdir -p "$folder/guest/modules"
for module in virtio virtio_ring virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci virtio_blk; do
    found=$(find "$folder/root" -name "$module.ko" | head -n 1)
    [ -z "$found" ] || cp "$found" "$folder/guest/modules/"
done
cp "$folder"/root/boot/vmlinuz-* "$folder/guest/vmlinuz"
chmod 644 "$folder/guest/vmlinuz"
mkdir -p build
rm -rf "$target"
mv "$folder/guest" "$target"
