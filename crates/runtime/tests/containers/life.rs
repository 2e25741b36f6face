//! From start to exit: exit codes, refusals, signals, pause, limits, adoption.

use crate::house::with_house;

#[test]
fn it_runs_and_ends() {
    with_house(|house| async move {
        let container = house.container(&["echo", "hello"]);
        let (output, exit) = house.run(&container).await;
        assert_eq!(output, "hello\n");
        assert_eq!((exit.code, exit.error), (0, None));
        let log = std::fs::read_to_string(house.log(&container)).unwrap();
        assert!(log.starts_with(r#"{"log":"hello\n","stream":"stdout","time":"2"#), "{log}");
    });
}
