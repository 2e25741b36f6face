//! Streams: before the start, late, several at once, input, terminals, slow readers.

use model::container::{Log, Stdin, Terminal};
use runtime::shim::protocol::{AttachWish, Replay, Stream, WindowSize};

use crate::house::{EVERYTHING, read_all, read_until, with_house};

#[test]
fn both_outputs_arrive_apart() {
    with_house(|house| async move {
        let container = house.container(&["sh", "-c", "echo out; echo err >&2"]);
        let attached = house.runtime.attach(container.id.as_str(), EVERYTHING).await.unwrap();
        let only_error = AttachWish { stdout: false, ..EVERYTHING };
        let errors = house.runtime.attach(container.id.as_str(), only_error).await.unwrap();
        house.start(&container).await.unwrap();
        assert_eq!(read_all(attached).await, ("out\n".to_owned(), "err\n".to_owned()));
        assert_eq!(read_all(errors).await, (String::new(), "err\n".to_owned()));
    });
}

#[test]
fn input_is_read_to_its_end() {
    with_house(|house| async move {
        let mut container = house.container(&["wc", "-c"]);
        container.process.stdin = Stdin::Once;
        let mut attached = house.runtime.attach(container.id.as_str(), EVERYTHING).await.unwrap();
        house.start(&container).await.unwrap();
        // More than pipes and buffers hold.
        for _ in 0..64 {
            attached.input.write(&[b'x'; 64 * 1024]).await.unwrap();
        }
        attached.input.close().await.unwrap();
        assert_eq!(read_all(attached).await.0.trim(), (4 << 20).to_string());
    });
}

#[test]
fn an_attacher_that_leaves_ends_the_input_once() {
    with_house(|house| async move {
        let mut container = house.container(&["cat"]);
        container.process.stdin = Stdin::Once;
        let attached = house.runtime.attach(container.id.as_str(), EVERYTHING).await.unwrap();
        house.start(&container).await.unwrap();
        drop(attached);
        assert_eq!(house.wait(&container).await.code, 0);
    });
}

#[test]
fn an_open_input_survives_its_attachers() {
    with_house(|house| async move {
        let mut container = house.container(&["sh", "-c", "read a; echo got $a; read b; echo got $b"]);
        container.process.stdin = Stdin::Open;
        house.start(&container).await.unwrap();
        for word in ["one", "two"] {
            let mut attached = house.runtime.attach(container.id.as_str(), EVERYTHING).await.unwrap();
            attached.input.write(format!("{word}\n").as_bytes()).await.unwrap();
            read_until(&mut attached, &format!("got {word}\n")).await;
        }
        assert_eq!(house.wait(&container).await.code, 0);
    });
}

#[test]
fn a_late_attacher_gets_the_backlog() {
    with_house(|house| async move {
        let mut container = house.container(&["sh", "-c", "echo early; read x; echo late"]);
        container.process.stdin = Stdin::Once;
        let mut first = house.runtime.attach(container.id.as_str(), EVERYTHING).await.unwrap();
        house.start(&container).await.unwrap();
        read_until(&mut first, "early\n").await;
        let backlog = AttachWish { replay: Replay::Backlog, stdin: false, ..EVERYTHING };
        let second = house.runtime.attach(container.id.as_str(), backlog).await.unwrap();
        first.input.write(b"\n").await.unwrap();
        assert_eq!(read_all(second).await.0, "early\nlate\n");
    });
}

#[test]
fn a_terminal_is_one_and_has_a_size() {
    with_house(|house| async move {
        let mut container = house.container(&["sh", "-c", "tty; stty size; read x; stty size"]);
        container.process.terminal = Terminal::Pty { height: 33, width: 101 };
        container.process.stdin = Stdin::Once;
        let mut attached = house.runtime.attach(container.id.as_str(), EVERYTHING).await.unwrap();
        house.start(&container).await.unwrap();
        let before = read_until(&mut attached, "33 101\r\n").await;
        assert_eq!(before, "/dev/pts/0\r\n33 101\r\n");
        house.runtime.resize(container.id.as_str(), WindowSize { rows: 40, columns: 120 }).await.unwrap();
        attached.input.write(b"\n").await.unwrap();
        assert_eq!(read_all(attached).await.0, "\r\n40 120\r\n");
    });
}

#[test]
fn control_c_reaches_the_foreground() {
    with_house(|house| async move {
        let mut container =
            house.container(&["sh", "-c", "trap 'echo caught; exit 9' INT; echo up; while :; do sleep 0.01; done"]);
        container.process.terminal = Terminal::Pty { height: 24, width: 80 };
        container.process.stdin = Stdin::Once;
        let mut attached = house.runtime.attach(container.id.as_str(), EVERYTHING).await.unwrap();
        house.start(&container).await.unwrap();
        read_until(&mut attached, "up").await;
        attached.input.write(&[3]).await.unwrap();
        read_until(&mut attached, "caught").await;
        assert_eq!(house.wait(&container).await.code, 9);
    });
}

#[test]
fn a_slow_reader_loses_nothing_and_others_go_on() {
    with_house(|house| async move {
        let bytes = 8 << 20;
        let mut container = house.container(&["sh", "-c", &format!("yes | head -c {bytes}")]);
        // Four million lines are another test's business.
        container.log = Log::None;
        let slow = house.runtime.attach(container.id.as_str(), EVERYTHING).await.unwrap();
        house.start(&container).await.unwrap();
        // It reads only now, when the buffers between have filled.
        let other = house.runtime.signal(container.id.as_str(), 28).await;
        assert!(other.is_ok());
        assert_eq!(read_all(slow).await.0.len(), bytes);
        assert_eq!(house.wait(&container).await.code, 0);
    });
}

#[test]
fn attachers_of_a_container_that_cannot_start_see_the_end() {
    with_house(|house| async move {
        let container = house.container(&["nosuch"]);
        let mut attached = house.runtime.attach(container.id.as_str(), EVERYTHING).await.unwrap();
        house.start(&container).await.unwrap_err();
        assert_eq!(attached.output.read().await.unwrap(), None::<(Stream, Vec<u8>)>);
    });
}
