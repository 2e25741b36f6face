//! Many objects: which, and from where a client goes on (`limit`, `continue`, `resourceVersion`: the API concepts page).

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use store::objects::{ObjectsError, Revision, Snapshot, Stored};

use crate::{
    kind::Kind,
    object::{
        Look,
        selector::{FieldSelector, LabelSelector},
    },
    query::Query,
    server::{self, Server},
    status::Failure,
};

/// Which objects.
#[derive(Clone, Debug)]
pub struct Filter {
    kind: &'static Kind,
    labels: LabelSelector,
    fields: FieldSelector,
}

impl std::fmt::Debug for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.kind)
    }
}

impl Filter {
    /// What a query asks for.
    pub fn read(kind: &'static Kind, query: &Query) -> Result<Self, Failure> {
        let filter = Self { kind, labels: query.labels()?, fields: query.fields()? };
        for field in filter.fields.fields() {
            let known = matches!(field, "metadata.name" | "metadata.namespace")
                || kind.fields.iter().any(|(name, _)| *name == field);
            if !known {
                return Err(Failure::bad_request(format!("field label not supported: {field}")));
            }
        }
        Ok(filter)
    }

    /// Whether it takes all.
    pub fn is_open(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    /// Whether it takes an object.
    pub fn takes(&self, object: &Value) -> bool {
        let read = |field: &str| match self.kind.fields.iter().find(|(name, _)| *name == field) {
            Some((_, read)) => read(object),
            None => object.text(field).to_owned(),
        };
        self.labels.matches(object) && self.fields.matches(read)
    }

    /// Whether it takes an object as it is kept, which is not read if that is not needed.
    pub fn takes_stored(&self, stored: &Stored) -> bool {
        self.is_open() || self.takes(&self.kind.glance(stored))
    }

    /// From now on it takes only the object of that name.
    pub fn only(&mut self, name: &str) {
        self.fields.demand("metadata.name", name);
    }
}

/// Some of the objects.
#[derive(Clone, Debug)]
pub struct Page {
    /// When they were so.
    pub revision: Revision,
    /// They.
    pub items: Vec<Stored>,
    /// How to ask for those after them.
    pub next: Option<String>,
    /// How many come after them, where that is known for nothing.
    pub remaining: Option<usize>,
}

impl Page {
    /// `metadata` of the list.
    pub fn metadata(&self) -> Value {
        let mut metadata = json!({ "resourceVersion": self.revision.0.to_string() });
        if let Some(next) = &self.next {
            metadata["continue"] = next.as_str().into();
        }
        if let Some(remaining) = self.remaining {
            metadata["remainingItemCount"] = remaining.into();
        }
        metadata
    }
}

/// Lists the objects of a kind: of one namespace, or of all.
pub async fn list(
    server: &Server,
    kind: &'static Kind,
    namespace: Option<&str>,
    filter: &Filter,
    query: &Query,
) -> Result<Page, Failure> {
    let limit = usize::try_from(query.int("limit")?.unwrap_or_default()).unwrap_or_default();
    query.check_list()?;
    let (snapshot, after) = match query.text("continue") {
        "" => (snapshot(server, query).await?, None),
        token => match read_token(token)? {
            (Some(revision), after) => {
                let expired = |_| Failure::page_expired(self::token(None, &after));
                (server.objects.snapshot_at(revision).map_err(expired)?, Some(after))
            }
            (None, after) => (server.objects.snapshot().await?, Some(after)),
        },
    };
    let prefix = server::prefix(kind, namespace);
    let mut found = snapshot.range(&prefix, after.as_deref()).filter(|(_, stored)| filter.takes_stored(stored));
    let mut page = Page { revision: snapshot.revision, items: Vec::new(), next: None, remaining: None };
    let mut last = None;
    for (key, stored) in found.by_ref() {
        if limit > 0 && page.items.len() == limit {
            page.next = last.map(|last: &str| token(Some(snapshot.revision), last));
            page.remaining = filter.is_open().then(|| found.count() + 1);
            break;
        }
        last = Some(key);
        page.items.push(stored.clone());
    }
    Ok(page)
}

/// The snapshot that a query asks for.
async fn snapshot(server: &Server, query: &Query) -> Result<Snapshot, Failure> {
    let asked = revision(query.text("resourceVersion"))?;
    let Some(asked) = asked.filter(|asked| asked.0 > 0) else {
        return Ok(server.objects.snapshot().await?);
    };
    if query.text("resourceVersionMatch") == "Exact" {
        let gone = |_| Failure::expired(format!("The resourceVersion for the provided list is too old: {asked}."));
        return server.objects.snapshot_at(asked).map_err(gone);
    }
    match server.objects.snapshot_since(asked).await {
        Err(ObjectsError::Ahead { asked, newest }) => Err(Failure::revision_in_the_future(asked.0, newest.0)),
        outcome => Ok(outcome?),
    }
}

/// A version as clients send it back.
pub fn revision(text: &str) -> Result<Option<Revision>, Failure> {
    if text.is_empty() {
        return Ok(None);
    }
    let wrong =
        |_| Failure::bad_request(format!("invalid resource version {text:?}: it is not one that this server gave"));
    text.parse().map(|number| Some(Revision(number))).map_err(wrong)
}

/// Where a client goes on: after which key, and in the objects of which revision; of none, in those that are there then.
fn token(revision: Option<Revision>, last: &str) -> String {
    let revision = revision.and_then(|revision| i64::try_from(revision.0).ok()).unwrap_or(-1);
    URL_SAFE_NO_PAD.encode(json!({ "v": "meta.k8s.io/v1", "rv": revision, "start": last }).to_string())
}

/// Where a client goes on, as [`token`] says it.
pub fn read_token(token: &str) -> Result<(Option<Revision>, String), Failure> {
    let wrong = || Failure::bad_request("continue key is not valid: it is not one that this server gave");
    let text = URL_SAFE_NO_PAD.decode(token).map_err(|_| wrong())?;
    let token: Value = serde_json::from_slice(&text).map_err(|_| wrong())?;
    let revision = token.int("rv").ok_or_else(wrong)?;
    Ok((u64::try_from(revision).ok().map(Revision), token.text("start").to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_lead_back() {
        for revision in [Some(Revision(7)), None] {
            let read = read_token(&token(revision, "/core/pods/a/b")).map_err(|failure| failure.message);
            assert_eq!(read, Ok((revision, "/core/pods/a/b".to_owned())));
        }
        assert!(read_token("x").is_err() && read_token("").is_err());
    }
}
