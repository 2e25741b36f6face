//! Step 2: a shell at a real terminal.

use conformance::{From::Host, Terminal, eventually};

use crate::tour::Tour;

pub fn step(tour: &Tour) {
    tour.step("2. A shell at a real terminal");
    let mut at = Screen::docker(tour, "run --rm -it -e PS1='prompt: ' --name box busybox /bin/bash");
    at.shows("prompt: ");
    at.types("cat /etc/issue\n");
    at.shows("linkspan test image");
    at.types("tty; stty size\n");
    at.shows("/dev/pts/0");
    at.shows("30 90");
    // Job control: in the background, to the front, stopped, to the front, interrupted.
    at.types("sleep 100 & jobs\n");
    at.shows("Running");
    at.types("fg\n");
    at.shows("sleep 100");
    sleeps_in_front(tour);
    at.types(CTRL_Z);
    at.shows("Stopped");
    at.types("fg\n");
    at.shows("sleep 100");
    sleeps_in_front(tour);
    at.types(CTRL_C);
    at.shows("^C");
    at.types("echo code $?\n");
    at.shows("code 130");
    at.terminal.resize(41, 133);
    // The size arrives some time after the window has it.
    eventually("the new size", || {
        tour.host.docker("exec box sh -c 'stty size < /dev/console'").out.starts_with("41 133").then_some(())
    });
    at.types("stty size\n");
    at.shows("41 133");
    at.types(CTRL_P_CTRL_Q);
    assert_eq!(at.ends(), Some(0), "detached");
    assert_eq!(tour.docker("ps --format '{{.Names}} {{.State}}'"), "box running");

    let mut again = Screen::docker(tour, "attach box");
    again.types("\n");
    again.shows("prompt: ");
    again.types("echo sum $((40 + 2))\n");
    again.shows("sum 42");
    again.types("exit 7\n");
    assert_eq!(again.ends(), Some(7));
    tour.waits(Host, "docker ps -aq", "");
}

const CTRL_C: &str = "\x03";
const CTRL_P_CTRL_Q: &str = "\x10\x11";
const CTRL_Z: &str = "\x1a";

/// Waits until `sleep` is the terminal's foreground job, as ps shows it.
fn sleeps_in_front(tour: &Tour) {
    eventually("sleep in the foreground", || {
        let processes = tour.host.sh("ps -eo stat,args").ok();
        let mut lines = processes.lines().filter_map(|line| line.split_once(' '));
        lines.any(|(stat, of)| stat.starts_with('S') && stat.ends_with('+') && of.ends_with("sleep 100")).then_some(())
    });
}

/// A terminal that the learner sees.
struct Screen {
    terminal: Terminal,
}

impl Screen {
    fn docker(tour: &Tour, words: &str) -> Self {
        println!("host# docker {words}");
        Self { terminal: Terminal::docker(&tour.host, words) }
    }

    fn types(&mut self, keys: &str) {
        self.terminal.types(keys);
    }

    fn shows(&mut self, text: &str) {
        print(&self.terminal.shows(text));
    }

    fn ends(self) -> Option<i32> {
        let (code, last) = self.terminal.ends();
        print(&last);
        println!();
        code
    }
}

/// Prints what a terminal shows, without what would change the reader's own: the marks around pasted text.
fn print(shown: &str) {
    print!("{}", shown.replace("\x1b[?2004h", "").replace("\x1b[?2004l", ""));
}
