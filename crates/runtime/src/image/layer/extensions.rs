//! What extension headers say about the entry after them: PAX records (POSIX pax) and GNU long names.

use crate::image::error::LayerError;

/// What the extension headers before an entry said.
#[derive(Default)]
pub(super) struct Extensions {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) len: Option<i64>,
    pub(super) uid: Option<i64>,
    pub(super) gid: Option<i64>,
    pub(super) mtime: Option<i64>,
    pub(super) xattrs: Vec<(String, Vec<u8>)>,
}

impl Extensions {
    /// Records are `<length> <key>=<value>\n`, the length counting itself (POSIX pax).
    pub(super) fn read_pax(&mut self, mut records: &[u8]) -> Result<(), LayerError> {
        let bad = || LayerError::Tar("a PAX record is malformed".to_owned());
        while !records.is_empty() {
            let space = records.iter().position(|&b| b == b' ').ok_or_else(bad)?;
            let len: usize = text(&records[..space]).and_then(|t| t.parse().ok()).ok_or_else(bad)?;
            if len <= space + 1 || len > records.len() || records[len - 1] != b'\n' {
                return Err(bad());
            }
            let record = &records[space + 1..len - 1];
            let equals = record.iter().position(|&b| b == b'=').ok_or_else(bad)?;
            let (key, value) = (text(&record[..equals]).ok_or_else(bad)?, &record[equals + 1..]);
            let parsed = || text(value).and_then(|t| t.parse().ok()).ok_or_else(bad);
            match key {
                "path" => self.path = Some(value.to_vec()),
                "linkpath" => self.link = Some(value.to_vec()),
                "size" => self.len = Some(parsed()?),
                "uid" => self.uid = Some(parsed()?),
                "gid" => self.gid = Some(parsed()?),
                "mtime" => self.mtime = Some(pax_seconds(value).ok_or_else(bad)?),
                key if key.starts_with("GNU.sparse.") => {
                    return Err(LayerError::Tar(
                        "sparse files are not supported; make the archive without them".to_owned(),
                    ));
                }
                key => {
                    if let Some(name) = key.strip_prefix("SCHILY.xattr.") {
                        self.xattrs.push((name.to_owned(), value.to_vec()));
                    }
                }
            }
            records = &records[len..];
        }
        Ok(())
    }
}

/// Whole seconds of `-1.5` and the like, rounded towards the past.
fn pax_seconds(value: &[u8]) -> Option<i64> {
    let value = text(value)?;
    let (whole, fraction) = value.split_once('.').unwrap_or((value, ""));
    let seconds: i64 = whole.parse().ok()?;
    let below = value.starts_with('-') && fraction.bytes().any(|b| b != b'0');
    Some(seconds.saturating_sub(i64::from(below)))
}

pub(super) fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}
