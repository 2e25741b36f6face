//! The process: its arguments, environment, terminal.

use model::container::{Init, Memberships, Process, Stdin, Terminal};

use crate::wire::{config::Config, host_config::HostConfig};

const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What runs in the container.
pub(super) fn process(config: &Config, host: &HostConfig) -> Process {
    let [height, width] = host.console_size;
    let args = config.entrypoint.iter().flatten().chain(config.cmd.iter().flatten()).cloned().collect();
    Process {
        args,
        env: environment(config),
        cwd: if config.working_dir.is_empty() { "/".to_owned() } else { config.working_dir.clone() },
        user: config.user.clone(),
        groups: host.group_add.clone().unwrap_or_default(),
        memberships: Memberships::UnlessGroup,
        terminal: if config.tty { Terminal::Pty { height, width } } else { Terminal::None },
        stdin: match (config.open_stdin, config.stdin_once) {
            (false, _) => Stdin::Closed,
            (true, false) => Stdin::Open,
            (true, true) => Stdin::Once,
        },
        init: if host.init == Some(true) { Init::Init } else { Init::Program },
    }
}

/// What Docker always gives, then what was asked for; a name without `=` takes a variable away.
fn environment(config: &Config) -> Vec<String> {
    let mut env = vec![PATH.to_owned(), format!("HOSTNAME={}", config.hostname)];
    if config.tty {
        env.push("TERM=xterm".to_owned());
    }
    crate::container::override_env(&mut env, &config.env);
    env
}
