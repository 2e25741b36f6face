//! A name server outside.

use std::fs;

use crate::{Host, eventually};

/// A server that answers every question with 203.0.113.7, in shell: the question with an answer behind it. It notes what it was asked in
/// the file `ASKED`.
pub const UPSTREAM: &str = r#"
hex=$(od -An -v -tx1 | tr -d ' \n')
end=24
while [ "${hex:$end:2}" != 00 ]; do end=$((end + 2 + 2 * 16#${hex:$end:2})); done
question=${hex:24:$((end + 10 - 24))}
echo "${hex}" >> ASKED
answer="${hex:0:4}81800001000100000000${question}c00c000100010000003c0004cb007107"
printf "$(echo "$answer" | sed 's/../\\x&/g')"
"#;

impl Host {
    /// Serves names at an address of the neighbour outside.
    ///
    /// # Panics
    /// When it cannot be served there.
    pub fn serve_names(&self, address: &str) {
        let script = self.path().join(format!("dns-{address}"));
        let asked = self.path().join(format!("asked-{address}"));
        fs::write(&asked, "").expect("a file of this host");
        fs::write(&script, UPSTREAM.replace("ASKED", &asked.display().to_string())).expect("a file of this host");
        self.outside(&format!(
            "socat UDP-RECVFROM:53,bind={address},fork EXEC:'bash {}' >/dev/null 2>&1 &",
            script.display()
        ))
        .ok();
        eventually("the server is there", || {
            (self.outside(&format!("ss -lun | grep -q {address}:53")).code == 0).then_some(())
        });
    }

    /// Whether that server was asked for a name that has this label.
    ///
    /// # Panics
    /// When there is none at that address.
    pub fn was_asked(&self, address: &str, label: &str) -> bool {
        let label: String = label.bytes().map(|byte| format!("{byte:02x}")).collect();
        fs::read_to_string(self.path().join(format!("asked-{address}"))).expect("a server there").contains(&label)
    }
}
