//! Ingresses as tables, by folders of cases: `objects.yaml`, what changes `then.yaml`, and the golden `table.txt`. UPDATE_GOLDEN=1 writes
//! what is found. The order in which objects come never matters, nor does whether the table was made in one go.

use std::{fmt::Write, fs, path::Path, sync::OnceLock};

use kube_agent::ingress::{Ingresses, Object};
use proxy::http::table::{Backend, Balance, Protocol, Table};
use serde_json::Value;

#[test]
fn cases() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ingress");
    let mut cases: Vec<_> = fs::read_dir(&folder).expect("cases").map(|case| case.expect("a case").path()).collect();
    cases.sort();
    assert!(!cases.is_empty());
    let wrong: Vec<_> = cases.iter().filter(|case| !check(case)).collect();
    assert!(wrong.is_empty(), "UPDATE_GOLDEN=1 accepts what is found in {wrong:#?}");
}

fn check(case: &Path) -> bool {
    let objects = read(&case.join("objects.yaml"));
    let mut found = show(&forwards(&objects));
    assert_eq!(found, show(&backwards(&objects)), "{}: the order matters", case.display());
    assert_eq!(found, show(&one_by_one(&objects)), "{}: the steps matter", case.display());
    if case.join("then.yaml").exists() {
        let then = read(&case.join("then.yaml"));
        let mut ingresses = forwards(&objects);
        then.iter().for_each(|object| change(&mut ingresses, object));
        found += "\nthen\n\n";
        found += &show(&ingresses);
        let (mut last, all) = (Ingresses::new("linkspan"), objects.iter().chain(&then));
        all.for_each(|object| change(&mut last, object));
        assert!(found.ends_with(&show(&last)), "{}: the steps matter:\n{found}\nbut:\n{}", case.display(), show(&last));
    }
    let golden = case.join("table.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&golden, &found).expect("written");
    }
    let expected = fs::read_to_string(&golden).unwrap_or_default();
    if found != expected {
        println!("{}: found\n{found}\nexpected\n{expected}", case.display());
    }
    found == expected
}

/// Every change that is made here is settled; the table is that of the last that changed anything.
fn forwards(objects: &[Value]) -> Ingresses {
    let mut ingresses = Ingresses::new("linkspan");
    objects.iter().for_each(|object| change(&mut ingresses, object));
    ingresses
}

fn backwards(objects: &[Value]) -> Ingresses {
    let mut ingresses = Ingresses::new("linkspan");
    objects.iter().rev().for_each(|object| change(&mut ingresses, object));
    ingresses
}

fn one_by_one(objects: &[Value]) -> Ingresses {
    let mut ingresses = Ingresses::new("linkspan");
    for object in objects {
        change(&mut ingresses, object);
        ingresses.settle();
        // Gone and back again.
        let object = parse(object);
        ingresses.remove(object.kind(), &object.name());
        ingresses.settle();
        ingresses.put(object);
        ingresses.settle();
    }
    ingresses
}

/// An object with `gone: true` is removed.
fn change(ingresses: &mut Ingresses, value: &Value) {
    let object = parse(value);
    if value["gone"] == true { ingresses.remove(object.kind(), &object.name()) } else { ingresses.put(object) }
}

fn read(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).expect("a readable file");
    let (certificate, key) = pair();
    let text = text.replace("@certificate", &base64(certificate)).replace("@key", &base64(key));
    serde_saphyr::from_multiple(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn parse(value: &Value) -> Object {
    fn of<T: serde::de::DeserializeOwned>(value: &Value) -> Box<T> {
        Box::new(serde_json::from_value(value.clone()).unwrap_or_else(|error| panic!("{error}: {value}")))
    }
    match value["kind"].as_str() {
        Some("Ingress") => Object::Ingress(of(value)),
        Some("IngressClass") => Object::Class(of(value)),
        Some("Service") => Object::Service(of(value)),
        Some("EndpointSlice") => Object::Slice(of(value)),
        Some("Secret") => Object::Secret(of(value)),
        other => panic!("kind {other:?}"),
    }
}

fn pair() -> &'static (String, String) {
    static PAIR: OnceLock<(String, String)> = OnceLock::new();
    PAIR.get_or_init(|| {
        let made = rcgen::generate_simple_self_signed(["shop.local".to_owned()]).expect("a certificate");
        (made.cert.pem(), made.signing_key.serialize_pem())
    })
}

fn base64(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}

/// The table and the problems as text.
fn show(ingresses: &Ingresses) -> String {
    let mut ingresses_again = ingresses.clone();
    let table = ingresses_again.settle();
    let table: Table = table.unwrap_or_else(|| ingresses.table().clone());
    let mut text = String::new();
    for (host, routes) in table.routes.entries() {
        let _ = writeln!(text, "host {host}");
        for (path, backend) in routes.entries() {
            let _ = writeln!(text, "  {path} -> {}", line(backend));
        }
    }
    if let Some(default) = &table.default {
        let _ = writeln!(text, "default -> {}", line(default));
    }
    for (host, _) in table.certificates.entries() {
        let _ = writeln!(text, "certificate {host}");
    }
    for problem in ingresses_again.problems() {
        let _ = writeln!(text, "problem of {}/{}: {}", problem.ingress.0, problem.ingress.1, problem.text);
    }
    text
}

fn line(backend: &Backend) -> String {
    let mut line = backend.name.clone();
    for endpoint in &backend.endpoints {
        let _ = write!(line, " {endpoint}");
    }
    if backend.endpoints.is_empty() {
        line += " nobody";
    }
    line += match backend.protocol {
        Protocol::Http1 => "",
        Protocol::Https1 => " (https)",
        Protocol::H2c => " (h2c)",
        Protocol::H2 => " (h2)",
    };
    if backend.balance == Balance::LeastRequests {
        line += " (least requests)";
    }
    if let Some(version) = backend.send_proxy {
        let _ = write!(line, " (PROXY {version:?})");
    }
    line
}
