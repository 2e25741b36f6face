//! The image the tests run: busybox, bash and socat with their libraries, taken from this machine; `get ADDRESS:PORT`; and `show`, which
//! answers an HTTP request with `$NAME` and the request.

use std::{fs, path::Path, process::Command};

/// Writes the image's root file system as a tar archive.
///
/// # Panics
/// When busybox or tar is missing.
pub fn write(archive: &Path) {
    let archive = std::path::absolute(archive).expect("the working directory is there");
    let script = r#"
        set -e
        root=$(mktemp -d)
        trap 'rm -rf "$root"' EXIT
        cd "$root"
        mkdir -p bin etc tmp root var/www dev proc sys home media mnt usr/bin
        chmod 1777 tmp
        cp "$(command -v busybox)" bin/busybox
        for applet in $(bin/busybox --list); do [ -e "bin/$applet" ] || ln -s busybox "bin/$applet"; done
        for program in /bin/bash /usr/bin/socat; do
            cp -L "$program" bin/
            for lib in $(ldd "$program" | grep -o '/[^ ]*'); do mkdir -p ".$(dirname "$lib")"; cp -L "$lib" ".$lib"; done
        done
        printf '#!/bin/sh\nprintf "GET / HTTP/1.0\\r\\n\\r\\n" | socat -t 5 -T 5 - "TCP:$1,connect-timeout=3" | tail -n 1\n' > bin/get
        cat > bin/show <<'END'
#!/bin/bash
read -r line
said="$NAME ${line%$'\r'}"
while read -r line; line=${line%$'\r'}; [ -n "$line" ]; do said+=$'\n'"$line"; done
printf 'HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: text/plain\r\ncontent-length: %d\r\n\r\n%s\n' $((${#said} + 1)) "$said"
END
        chmod 755 bin/get bin/show
        printf 'root:x:0:0:root:/root:/bin/sh\nbin:x:2:2:bin:/bin:/bin/false\nnobody:x:65534:65534:nobody:/:/bin/false\n' > etc/passwd
        printf 'root:x:0:\nbin:x:2:\nwheel:x:10:root\nnogroup:x:65534:\n' > etc/group
        echo 'linkspan test image' > etc/issue
        echo hello > var/www/index.html
        tar -cf "$1" .
    "#;
    let status = Command::new("sh").args(["-c", script, "image"]).arg(&archive).status().expect("sh runs");
    assert!(status.success(), "the test image could not be made: are busybox-static and socat installed?");
    assert!(fs::metadata(archive).expect("the archive was written").len() > 0);
}
