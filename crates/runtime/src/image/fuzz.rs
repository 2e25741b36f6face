//! What registries, archives and people say of images, for the fuzzer.

use std::{
    fs,
    io::{self, Cursor},
    path::Path,
};

use super::{
    Config, change,
    layer::{recipe, tar_reader::TarReader, tar_writer::TarWriter, unpack},
    manifest::Document,
    platform::Platform,
    reference::Reference,
    store,
};

/// Manifests, indexes, configurations, and Dockerfile instructions line by line.
pub fn image_documents(bytes: &[u8]) {
    if let Ok(Document::Index(index)) = Document::parse(bytes, "") {
        index.choose(&Platform::host());
    }
    let _ = store::parse_config(bytes).map(drop);
    let instructions: Vec<String> = String::from_utf8_lossy(bytes).lines().map(str::to_owned).collect();
    let _ = change::apply(&mut Config::default(), &instructions);
}

/// A reference; what is understood reads the same in each of its spellings.
pub fn image_references(text: &[u8]) {
    let Ok(text) = std::str::from_utf8(text) else { return };
    if let Ok(reference) = Reference::parse(text) {
        assert_eq!(Reference::parse(&reference.to_string()).as_ref(), Ok(&reference));
        assert_eq!(Reference::parse(&reference.familiar()).as_ref(), Ok(&reference));
        assert!(reference.or_latest().tag().is_none_or(|tag| tag.len() <= 128));
    }
}

/// A tar stream; the entries that are read can be written, and are then read as they were.
pub fn tar_entries(stream: &[u8]) {
    let mut read = TarReader::new(stream, None);
    while let Ok(Some(entry)) = read.next_entry() {
        let mut content = Vec::new();
        if read.copy_payload(&mut content, b"").is_err() {
            return;
        }
        let mut written = TarWriter::new(Vec::new());
        written.append(&entry, &content[..]).expect("memory takes all");
        let bytes = written.finish().expect("memory takes all");
        let again = TarReader::new(&bytes[..], None).next_entry().expect("what we wrote is read").expect("an entry");
        assert_eq!(format!("{again:?}"), format!("{entry:?}"));
    }
}

/// A layer that is unpacked: nothing outside its directory changes, and what was taken in comes out as the same stream.
pub fn layers(stream: &[u8]) {
    let place = std::env::temp_dir().join(format!("linkspan-fuzz-{}", std::process::id()));
    let layer = place.join("layer");
    fs::create_dir_all(&layer).expect("a place to unpack to");
    fs::write(place.join("outside"), "untouched").expect("a file beside it");
    if let Ok(unpacked) = unpack::unpack(Cursor::new(stream), &layer) {
        recipe::replay(&layer, &unpacked.diff_id, &unpacked.replaced, &mut io::sink()).expect("the same stream");
    }
    let found = fs::read_dir(&place).expect("the place").count();
    let outside = fs::read_to_string(place.join("outside")).expect("the file");
    remove(&place);
    assert_eq!((found, outside.as_str()), (2, "untouched"));
}

fn remove(place: &Path) {
    fs::remove_dir_all(place).expect("what was unpacked goes");
}
