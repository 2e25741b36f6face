//! What the containers of one sandbox share, where they do.

use std::{fs, os::unix::fs::MetadataExt, path::Path};

use model::{Container, container::Share};
use runtime::sandbox::{self, reaper};

use crate::house::{House, kill, until, with_house};

#[test]
fn containers_of_a_sandbox_share_their_processes() {
    with_house(|house| async move {
        let place = house.path("sandbox");
        sandbox::keep(&place, "pod").unwrap();
        keep(&place);
        let namespace = fs::metadata(reaper::processes(&place)).unwrap().ino();
        let one = container(&house, "(sleep 1000 &); exec sleep 2000");
        let pid = house.start(&one).await.unwrap().pid;
        let script =
            "busybox ps -o args; grep CapPrm /proc/1/status; ls /proc/1/root/; echo $$ > /dev/shm/mine; hostname";
        let (output, exit) = house.run(&container(&house, script)).await;
        for line in ["linkspan reaper wait", "sleep 1000", "sleep 2000", "CapPrm:\t0000000000000000", "pod"] {
            assert!(output.lines().any(|found| found.trim().ends_with(line)), "{line}: {output}");
        }
        assert!(output.contains("Permission denied"), "{output}");
        assert_eq!(exit.code, 0);
        assert_eq!(crate::house::files_of(of(&place)), 3);
        assert_ne!(fs::read_to_string(sandbox::shm(&place).join("mine")).unwrap().trim(), "1");
        // Who may trace others finds nothing there.
        let mut curious = container(
            &house,
            "ls /proc/1/root/; busybox touch /proc/1/root/reaper /proc/1/root/new; busybox cat /proc/1/exe | wc -c",
        );
        curious.security.cap_add = vec!["CAP_SYS_PTRACE".to_owned()];
        let (output, _) = house.run(&curious).await;
        assert!(output.starts_with("reaper\n"), "{output}");
        assert_eq!(output.matches("Read-only file system").count(), 2, "{output}");

        // The end of one is not the end of the others, and nothing is made anew for the next.
        let other = container(&house, "exec sleep 3000");
        house.start(&other).await.unwrap();
        kill(pid, rustix::process::Signal::KILL);
        assert_eq!(house.wait(&one).await.code, 137);
        keep(&place);
        assert_eq!(fs::metadata(reaper::processes(&place)).unwrap().ino(), namespace);
        let (output, _) = house.run(&container(&house, "busybox ps -o args")).await;
        assert!(output.contains("sleep 3000") && !output.contains("sleep 1000"), "{output}");

        // The end of the first process is: then there is another first one.
        kill(of(&place), rustix::process::Signal::KILL);
        assert_eq!(house.wait(&other).await.code, 137);
        keep(&place);
        let (output, exit) = house.run(&container(&house, "busybox ps -o args")).await;
        assert!(exit.code == 0 && output.contains("reaper wait") && !output.contains("sleep"), "{output}");

        let first = of(&place);
        sandbox::release(&place).unwrap();
        until("the first process ends", || !Path::new(&format!("/proc/{first}/root/reaper")).exists()).await;
        assert!(!place.exists());
    });
}

fn keep(place: &Path) {
    reaper::keep(Path::new(env!("CARGO_BIN_EXE_shim")), place, None).unwrap();
}

/// The first process of the namespace.
fn of(place: &Path) -> u32 {
    let text = fs::read_to_string(place.join("reaper.json")).unwrap();
    let name: serde_json::Value = serde_json::from_str(&text).unwrap();
    name["pid"].as_u64().unwrap().try_into().unwrap()
}

fn container(house: &House, script: &str) -> Container {
    let mut container = house.container(&["sh", "-c", script]);
    let namespaces = &mut container.namespaces;
    (namespaces.pid, namespaces.ipc, namespaces.uts) = (Share::Sandbox, Share::Sandbox, Share::Sandbox);
    container
}
