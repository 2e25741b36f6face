//! Whether the server is well (the page "Kubernetes API health endpoints"): `/livez`, `/readyz` and the older `/healthz`, whole or one check of
//! them, in words with `?verbose`.

use hyper::StatusCode;

use crate::{
    answer::{self, Answer},
    query::Query,
    server::Server,
    status::Failure,
};

/// What is checked: that it answers, and that the objects can be read. Probes know the latter by this name, wherever they are kept.
const CHECKS: [&str; 2] = ["ping", "etcd"];

/// Answers a path of health.
pub async fn answer(server: &Server, target: &str, query: &Query) -> Result<Answer, Failure> {
    let (which, one) = target.trim_start_matches('/').split_once('/').unwrap_or((target.trim_start_matches('/'), ""));
    if !matches!(which, "healthz" | "livez" | "readyz") || !(one.is_empty() || CHECKS.contains(&one)) {
        return Err(Failure::no_such_path());
    }
    let left_out = |check: &str| query.all("exclude").any(|name| name == check);
    let mut told = String::new();
    let mut well = true;
    for check in CHECKS.into_iter().filter(|check| one.is_empty() || one == *check) {
        let outcome = match check {
            check if left_out(check) => "[+]NAME excluded: ok\n",
            "etcd" if server.objects.snapshot().await.is_err() => {
                well = false;
                "[-]NAME failed: reason withheld\n"
            }
            _ => "[+]NAME ok\n",
        };
        told.push_str(&outcome.replace("NAME", check));
    }
    Ok(match (well, query.has("verbose")) {
        (false, _) => answer::text(StatusCode::INTERNAL_SERVER_ERROR, format!("{told}{which} check failed\n")),
        (true, true) => answer::text(StatusCode::OK, format!("{told}{which} check passed\n")),
        (true, false) => answer::text(StatusCode::OK, "ok"),
    })
}
