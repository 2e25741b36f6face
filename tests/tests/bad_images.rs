//! Hostile archives through `docker load` and `docker import`: what they hold stays inside an image or is refused, and nothing is left of
//! what was refused.

use std::{
    fs,
    path::{Path, PathBuf},
};

use conformance::{Host, Said, eventually};

/// Python that writes archives entry by entry: `add(tar, NAME, TYPE, LINK, CONTENT)`.
const ARCHIVE: &str = r#"
import hashlib, io, json, sys, tarfile as t

def add(tar, name, kind=t.REGTYPE, link='', content=b'', mode=0o644):
    entry = t.TarInfo(name)
    entry.type, entry.linkname, entry.size, entry.mode = kind, link, len(content), mode
    entry.devmajor, entry.devminor = 1, 1
    tar.addfile(entry, io.BytesIO(content))

def layer(*entries):
    out = io.BytesIO()
    with t.open(fileobj=out, mode='w', format=t.GNU_FORMAT) as tar:
        for entry in entries: add(tar, *entry)
    return out.getvalue()

def image(layers, diff_ids=None, manifest=None, config=None):
    ids = diff_ids or ['sha256:' + hashlib.sha256(l).hexdigest() for l in layers]
    config = config or json.dumps({'architecture': 'amd64', 'os': 'linux', 'config': {}, 'rootfs': {'type': 'layers', 'diff_ids': ids}}).encode()
    names = ['%d.tar' % n for n in range(len(layers))]
    manifest = manifest or json.dumps([{'Config': 'c.json', 'RepoTags': ['hostile:1'], 'Layers': names}]).encode()
    return layer(('manifest.json', t.REGTYPE, '', manifest), ('c.json', t.REGTYPE, '', config), *[(n, t.REGTYPE, '', l) for n, l in zip(names, layers)])

out = sys.stdout.buffer
"#;

/// The archive that a Python expression or statement writes to `out`.
fn archive(host: &Host, python: &str) -> PathBuf {
    let (script, archive) = (host.path().join("archive.py"), host.path().join("archive.tar"));
    fs::write(&script, format!("{ARCHIVE}\n{python}\n")).expect("a script");
    host.sh(&format!("python3 {} > {}", script.display(), archive.display())).ok();
    archive
}

/// A docker command that reads an archive, and the same request.
type Reader = (&'static str, &'static str);

const LOAD: Reader = ("load", "POST /v1.50/images/load");
const IMPORT: Reader = ("import - hostile", "POST /v1.50/images/create?fromSrc=-&repo=hostile");

/// Gives an archive to docker.
fn give(host: &Host, archive: &Path, docker: &str) -> Said {
    host.sh(&format!("docker {docker} < {}", archive.display()))
}

/// An archive is refused, with these words. Where they come while docker still sends, it may see only that nobody takes the rest; so they
/// are asked for by a client that reads what was answered, whatever becomes of the rest.
fn refused(host: &Host, what: &str, archive: &Path, (docker, request): Reader, words: &str) {
    give(host, archive, docker).fails();
    let (status, said) = host.send(request, "application/x-tar", &fs::read(archive).expect("the archive"));
    // An answer that had begun when the trouble came tells of it in its last line.
    assert!(status >= 400 || status == 200 && said.contains("errorDetail"), "{what}: {status} {said}");
    assert!(said.contains(words), "{what}: {status} {said}");
    assert_eq!(host.docker("images -q hostile").ok(), "", "{what}");
}

/// Nothing is outside the store that was not, and nothing is left of what was refused.
fn nothing_escaped(host: &Host, what: &str) {
    let data = host.data_root().display().to_string();
    assert_eq!(host.sh("cat /run/precious").ok(), "precious", "{what}");
    // Others come and go in these directories, which makes find(1) fail.
    assert_eq!(host.sh("ls -d /escaped* /etc/escaped* /run/escaped* /tmp/escaped* 2>/dev/null").out, "", "{what}");
    assert_eq!(host.sh(&format!("ls {data} | grep escaped; ls {data}/images/tmp")).out, "", "{what}");
    assert_eq!(host.docker("images -q busybox | wc -l").ok(), "1", "{what}");
}

#[test]
fn what_leads_out_is_contained_or_refused() {
    let Some(host) = Host::start() else { return };
    host.sh("echo precious > /run/precious").ok();
    let before = host.holdings();
    let refused = |what: &str, entries: &str, words: &str| {
        refused(&host, what, &archive(&host, &format!("out.write(layer({entries}))")), IMPORT, words);
        nothing_escaped(&host, what);
    };
    let up = "../".repeat(30);
    refused("traversal", &format!("('{up}run/escaped',)"), "leads out of the layer");
    refused("traversal from within", &format!("('a/{up}run/escaped',)"), "leads out of the layer");
    refused("hard link out", &format!("('h', t.LNKTYPE, '{up}run/precious')"), "leads out of the layer");
    refused("hard link to a path of the host", "('h', t.LNKTYPE, '/run/precious')", "hard link");
    refused("hard link through a symlink", "('l', t.SYMTYPE, '/run'), ('h', t.LNKTYPE, 'l/precious')", "hard link");
    refused("whiteout of the parent", "('a/.wh...',)", "must name an entry of its own directory");
    refused("sparse", "('s', b'S')", "sparse files are not supported");
    let contained = |what: &str, entries: &str, check: &str, expected: &str| {
        let shell = "('bin', t.DIRTYPE), ('bin/sh', t.REGTYPE, '', open('/bin/busybox', 'rb').read(), 0o755)";
        let archive = archive(&host, &format!("out.write(layer({entries}, {shell}))"));
        give(&host, &archive, "import -c 'CMD [\"/bin/sh\"]' - hostile").ok();
        nothing_escaped(&host, what);
        let said = host.docker(&format!("run --rm hostile /bin/sh -c \"{check}\""));
        assert_eq!((said.code, said.out.trim()), (0, expected), "{what}: {said:?}");
        host.docker("rmi hostile").ok();
    };
    contained("absolute path", "('/escaped', t.REGTYPE, '', b'x')", "cat /escaped", "x");
    contained(
        "symlink out and through it",
        &format!("('l', t.SYMTYPE, '{up}'), ('l/escaped', t.REGTYPE, '', b'x')"),
        "cat /escaped",
        "x",
    );
    contained(
        "a symlink to the host's file",
        "('etc', t.DIRTYPE), ('etc/p', t.SYMTYPE, '/run/precious')",
        "cat /etc/p || echo none",
        "none",
    );
    // Memory of the host as a device node: there, and not to be opened.
    contained(
        "device nodes",
        "('mem', t.CHRTYPE), ('disk', t.BLKTYPE)",
        "ls -l /mem | head -c 1; cat /mem | wc -c",
        "c0",
    );
    contained(
        "whiteouts of lower layers' entries",
        "('a', t.DIRTYPE), ('a/b',), ('a/.wh..wh..opq',), ('.wh.nothing',), ('.wh..wh.plnk',)",
        "ls /a",
        "b",
    );
    host.back_to_normal(before);
}

#[test]
fn documents_that_want_too_much_are_refused() {
    let Some(host) = Host::start() else { return };
    host.sh("echo precious > /run/precious").ok();
    let before = host.holdings();
    let refused = |what: &str, python: &str, words: &str| {
        refused(&host, what, &archive(&host, python), LOAD, words);
        nothing_escaped(&host, what);
    };
    refused(
        "deep nesting",
        "out.write(layer(('oci-layout',), ('index.json', t.REGTYPE, '', b'[' * 1000000)))",
        "recursion limit",
    );
    refused("deep nesting inside", "out.write(image([], config=b'{\"config\":' * 1000000))", "cannot be used: EOF");
    refused("a configuration of 100 MB", "out.write(image([], config=b' ' * (100 << 20)))", "too large");
    refused("a manifest of 100 MB", "out.write(image([], manifest=b' ' * (100 << 20)))", "too large");
    refused("thousands of layers", "one = layer(('a',)); out.write(image([one] * 5000))", "max depth exceeded");
    refused(
        "layers that are not there",
        "out.write(image([], diff_ids=['sha256:' + '0' * 64] * 3))",
        "lists 3 layers, the archive 0",
    );
    refused(
        "a layer of another digest",
        "out.write(image([layer(('a',))], diff_ids=['sha256:' + '0' * 64]))",
        "digest",
    );
    refused(
        "names out of the archive",
        "out.write(image([], manifest=json.dumps([{'Config': '../../../run/precious', 'RepoTags': ['hostile:1'], 'Layers': []}]).encode()))",
        "has no file",
    );
    refused(
        "names that are no references",
        "out.write(image([layer(('a',))], manifest=json.dumps([{'Config': 'c.json', 'RepoTags': ['../hostile'], 'Layers': ['0.tar']}]).encode()))",
        "invalid reference format",
    );
    refused(
        "links in a ring",
        "out.write(layer(('manifest.json', t.SYMTYPE, 'a'), ('a', t.SYMTYPE, 'manifest.json')))",
        "no image archive",
    );
    // A size of 8 EiB in the header; and the same in a PAX record.
    refused(
        "a file of any size",
        "h = bytearray(layer(('manifest.json', t.REGTYPE, '', b'x')));h[124:136] = b'\\x80' + b'\\0' * 3 + b'\\x7f' + b'\\xff' * 7;h[148:156] = b' ' * 8;h[148:156] = b'%06o\\0 ' % sum(h[:512]);out.write(h)",
        "ends inside a file",
    );
    refused(
        "an archive that is cut",
        "out.write(image([layer(('a', t.REGTYPE, '', b'x' * 100000))])[:60000])",
        "ends inside a file",
    );
    host.back_to_normal(before);
}

#[test]
fn what_unpacks_to_more_than_there_is_leaves_nothing() {
    let Some(host) = Host::empty() else { return };
    let data = host.data_root().display().to_string();
    host.sh(&format!("mkdir -p {data} && mount -t tmpfs -o size=64m,nr_inodes=6000 tmpfs {data}")).ok();
    host.start_daemon();
    host.load_image();
    host.sh("echo precious > /run/precious").ok();
    let before = host.holdings();
    let used = || host.sh(&format!("df --output=used,iused {data} | tail -n 1")).ok();
    let used_before = used();
    let check = |what: &str, python: &str, reader: Reader| {
        refused(&host, what, &archive(&host, python), reader, "o space left on device");
        eventually("what was refused is gone", || (used() == used_before).then_some(()));
        nothing_escaped(&host, what);
    };
    // A GiB of zeros in a MiB.
    let bomb = "import gzip\nzeros = layer(('zeros', t.REGTYPE, '', b'\\0' * (256 << 20)))\n";
    check("a layer that grows", &format!("{bomb}out.write(gzip.compress(zeros, 1))"), IMPORT);
    check("a layer in an image that grows", &format!("{bomb}out.write(gzip.compress(image([zeros]), 1))"), LOAD);
    check("more files than inodes", "out.write(layer(*[('f%d' % n,) for n in range(20000)]))", IMPORT);
    check("more entries than inodes", "out.write(layer(*[('f%d' % n,) for n in range(20000)]))", LOAD);
    assert_eq!(host.docker("run --rm busybox echo goes on").ok(), "goes on");
    host.back_to_normal(before);
}
