//! What runs in a container.

use serde::{Deserialize, Serialize};

/// What runs in a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// The program and its arguments; never empty.
    pub args: Vec<String>,
    /// `NAME=value`, in order.
    pub env: Vec<String>,
    /// Working directory, absolute.
    pub cwd: String,
    /// `user[:group]`, names or numbers; empty for root.
    pub user: String,
    /// Additional groups, names or numbers.
    pub groups: Vec<String>,
    /// Which groups it is in besides.
    #[serde(default)]
    pub memberships: Memberships,
    /// Whether it has a terminal.
    pub terminal: Terminal,
    /// What becomes of its standard input.
    pub stdin: Stdin,
    /// Whether a small init is process 1 and reaps orphans.
    pub init: Init,
}

/// Which of the groups that the image's own `/etc/group` gives to a user count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Memberships {
    /// All, unless the user is given with a group: Docker's rule.
    #[default]
    UnlessGroup,
    /// All: Kubernetes' rule.
    All,
    /// None.
    None,
}

/// Whether a process has a terminal, with its first size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Terminal {
    /// Pipes.
    None,
    /// A pseudoterminal.
    Pty {
        /// Rows.
        height: u16,
        /// Columns.
        width: u16,
    },
}

/// What becomes of standard input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stdin {
    /// It is empty.
    Closed,
    /// It stays open for whoever attaches.
    Open,
    /// It is closed when the first who attached leaves.
    Once,
}

/// Whether a small init is process 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Init {
    /// It is.
    Init,
    /// The program itself is.
    Program,
}
