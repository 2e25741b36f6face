//! `GET /containers/{id}/top`: the host's ps(1), of which the container's processes are kept.

use std::{collections::BTreeSet, sync::Arc};

use serde_json::{Value, json};
use tokio::process::Command;

use crate::{
    Api, ApiError,
    answer::{self, Answer},
    find,
    query::Query,
};

pub(super) async fn top(api: &Arc<Api>, name: &str, query: &Query) -> Result<Answer, ApiError> {
    let state = api.engine.state();
    let container = find::container(&state, name)?;
    if container.run().is_none() {
        return Err(ApiError::conflict(format!("container {} is not running", container.id)));
    }
    let args = query.get("ps_args").unwrap_or("-ef");
    if args.contains(['\0', '\n']) {
        return Err(ApiError::invalid("invalid ps_args: no control characters are allowed"));
    }
    let processes: BTreeSet<u32> = api.engine.runtime().top(container.id.as_str()).await?.into_iter().collect();
    let ps = Command::new("ps").args(args.split_whitespace()).kill_on_drop(true).output().await;
    let ps =
        ps.map_err(|error| ApiError::internal(format!("cannot run ps on the host: {error}; is procps installed?")))?;
    if !ps.status.success() {
        return Err(ApiError::invalid(format!("ps: {}", String::from_utf8_lossy(&ps.stderr).trim())));
    }
    let document = table(&String::from_utf8_lossy(&ps.stdout), &processes)?;
    super::tell(api, container, "top", []);
    answer::ok(&document)
}

/// Reads the table that ps prints; the last column takes the rest of each line.
fn table(text: &str, processes: &BTreeSet<u32>) -> Result<Value, ApiError> {
    let mut lines = text.lines();
    let titles: Vec<&str> = lines.next().unwrap_or_default().split_whitespace().collect();
    let pid_column = titles.iter().position(|title| *title == "PID");
    let pid_column = pid_column.ok_or_else(|| ApiError::internal("Couldn't find PID field in ps output"))?;
    let rows = lines.filter_map(|line| {
        let row = fields(line, titles.len());
        let pid = row.get(pid_column)?.parse().ok()?;
        processes.contains(&pid).then_some(row)
    });
    Ok(json!({ "Titles": titles, "Processes": rows.collect::<Vec<_>>() }))
}

fn fields(line: &str, columns: usize) -> Vec<String> {
    let mut fields = Vec::new();
    let mut rest = line.trim_start();
    while fields.len() + 1 < columns {
        let Some((field, after)) = rest.split_once(char::is_whitespace) else { break };
        fields.push(field.to_owned());
        rest = after.trim_start();
    }
    fields.push(rest.trim_end().to_owned());
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_the_container() {
        let text = "UID   PID  CMD\nroot    1  /sbin/init --x\nme     42  sleep  10 \nme     43  ps -ef\n";
        let found = table(text, &BTreeSet::from([42, 43])).unwrap();
        let expected = json!({
            "Titles": ["UID", "PID", "CMD"],
            "Processes": [["me", "42", "sleep  10"], ["me", "43", "ps -ef"]],
        });
        assert_eq!(found, expected);
        assert!(table("UID CMD\n", &BTreeSet::new()).is_err());
    }
}
