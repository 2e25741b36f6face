//! What the machine starts from: a small initramfs that finds the disk, and a disk with the root file system.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{CASES, Kernel};
use crate::run::{Result, command, output};

/// Programs of this system that the cases use, with their libraries.
const PROGRAMS: &[&str] = &["bash", "conntrack", "curl", "docker", "ip", "kubectl", "nft", "socat"];

/// Modules that the kernel may ask for: what begins so in `modules.dep`. What they depend on comes along.
const MODULES: &[&str] = &[
    "kernel/drivers/block/virtio_blk",
    "kernel/drivers/net/dummy",
    "kernel/drivers/net/tun",
    "kernel/drivers/net/veth",
    "kernel/drivers/virtio/",
    "kernel/fs/overlayfs/",
    "kernel/net/bridge/",
    "kernel/net/ipv4/inet_diag",
    "kernel/net/ipv4/netfilter/",
    "kernel/net/ipv4/tcp_diag",
    "kernel/net/ipv4/udp_diag",
    "kernel/net/ipv6/netfilter/",
    "kernel/net/netfilter/",
];

/// What the emulator is given.
pub struct Disks {
    /// Finds the root.
    pub initramfs: PathBuf,
    /// An ext4 file system.
    pub root: PathBuf,
}

/// Makes both.
pub fn make(kernel: &Kernel, cases: &[String]) -> Result<Disks> {
    let disks = Disks { initramfs: kernel.dir.join("initramfs"), root: kernel.dir.join("root.ext4") };
    let tree = kernel.dir.join("root");
    fresh(&tree)?;
    fs::create_dir_all(tree.join("cases")).map_err(failed(&tree))?;
    for case in cases {
        copy(&Path::new(CASES).join(format!("{case}.sh")), &tree.join(format!("cases/{case}.sh")))?;
    }
    for file in ["init", "prelude.sh"] {
        copy(&Path::new("tests/vm").join(file), &tree.join(file))?;
    }
    fs::write(tree.join("network.sh"), conformance::NETWORK).map_err(failed(&tree))?;
    conformance::image::write(&tree.join("busybox.tar"));
    modules(kernel, &tree)?;
    shell(ROOT, &[&tree, &binary(), &disks.root], PROGRAMS)?;
    shell(INITRAMFS, &[&tree, &disks.initramfs], &[])?;
    Ok(disks)
}

/// The root's programs, and the disk. Without its debugging symbols the binary is a fifth.
const ROOT: &str = r#"
    root=$1 binary=$2 disk=$3; shift 3
    mkdir -p "$root/bin" "$root/dev" "$root/etc" "$root/proc" "$root/run" "$root/sys" "$root/tmp" "$root/var/run"
    ln -s bin "$root/sbin"
    cp -L "$(command -v busybox)" "$root/bin/busybox"
    for applet in $("$root/bin/busybox" --list); do [ -e "$root/bin/$applet" ] || ln -s busybox "$root/bin/$applet"; done
    for program in "$@"; do
        # Only one case wants kubectl, and it fails without.
        file=$(command -v "$program") || { [ "$program" = kubectl ] && continue; echo "$program is not installed" >&2; exit 1; }
        cp -L --remove-destination "$file" "$root/bin/$program"
        for lib in $(ldd "$file" 2>/dev/null | grep -o '/[^ ]*'); do
            mkdir -p "$root$(dirname "$lib")"; cp -L "$lib" "$root$lib"
        done
    done
    # What busybox runs prefers its applets to the programs of the same name, so the shell is another.
    ln -sf bash "$root/bin/sh"
    strip -o "$root/bin/linkspan" "$binary"
    echo root:x:0:0:root:/:/bin/sh > "$root/etc/passwd"
    echo root:x:0: > "$root/etc/group"
    rm -f "$disk"
    mke2fs -q -t ext4 -E root_owner=0:0 -d "$root" "$disk" 1G
"#;

/// Loads what a disk needs, and goes on there.
const INITRAMFS: &str = r#"
    root=$1 archive=$2
    tree=$(mktemp -d); trap 'rm -rf "$tree"' EXIT
    mkdir -p "$tree/bin" "$tree/dev" "$tree/lib" "$tree/proc" "$tree/root" "$tree/sys"
    cp "$root/bin/busybox" "$tree/bin/"
    cp -r "$root/lib/modules" "$tree/lib/"
    cat > "$tree/init" <<'END'
#!/bin/busybox sh
b=/bin/busybox
$b mount -t devtmpfs dev /dev
for module in virtio_pci virtio_mmio virtio_blk ext4; do $b modprobe $module 2>/dev/null; done
n=0; while ! [ -e /dev/vda ] && [ $n -lt 100 ]; do $b sleep 0.1; n=$((n + 1)); done
$b mount -t ext4 /dev/vda /root
$b mount --move /dev /root/dev
exec $b switch_root /root /init
END
    chmod 755 "$tree/init"
    (cd "$tree" && find . | "$tree/bin/busybox" cpio -o -H newc 2>/dev/null) > "$archive"
"#;

fn modules(kernel: &Kernel, tree: &Path) -> Result<()> {
    let list = kernel.modules.join("modules.dep");
    let list = fs::read_to_string(&list).map_err(failed(&list))?;
    let to = tree.join("lib/modules").join(&kernel.release);
    for (module, needs) in list.lines().filter_map(|line| line.split_once(':')) {
        if MODULES.iter().any(|wanted| module.starts_with(wanted)) {
            for file in std::iter::once(module).chain(needs.split_whitespace()) {
                copy(&kernel.modules.join(file), &to.join(file))?;
            }
        }
    }
    for file in ["modules.builtin", "modules.order"] {
        copy(&kernel.modules.join(file), &to.join(file))?;
    }
    output(command("depmod", ["-b"]).arg(tree).arg(&kernel.release)).map(drop)
}

/// The binary that this build made, beside this program.
fn binary() -> PathBuf {
    std::env::current_exe().map(|path| path.with_file_name("linkspan")).unwrap_or_default()
}

fn shell(script: &str, paths: &[&Path], words: &[&str]) -> Result<()> {
    let mut sh = command("sh", ["-ec", script, "sh"]);
    output(sh.args(paths).args(words)).map(drop)
}

fn fresh(dir: &Path) -> Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(failed(dir)(error)),
        _ => fs::create_dir_all(dir).map_err(failed(dir)),
    }
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    if let Some(dir) = to.parent() {
        fs::create_dir_all(dir).map_err(failed(dir))?;
    }
    fs::copy(from, to).map(drop).map_err(failed(from))
}

fn failed(path: &Path) -> impl Fn(std::io::Error) -> String {
    move |error| format!("{}: {error}", path.display())
}
