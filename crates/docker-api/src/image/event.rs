//! What this face tells those who watch about images: the engine does not know that they exist.

use std::collections::BTreeMap;

use model::{Event, event::EventKind};

use crate::{Api, time};

/// Something was done to the image `id`, which is called `name`.
pub(super) fn tell(api: &Api, action: &str, id: &str, name: &str) {
    // An image's labels are told too, as filters ask for them; an image that is gone has none any more.
    let labels = api.engine.images().resolve(id).map(|image| image.config.config.labels.clone()).unwrap_or_default();
    let mut attributes: BTreeMap<String, String> = labels;
    attributes.insert("name".to_owned(), name.to_owned());
    let event = Event {
        at_ms: time::now_ms(),
        kind: EventKind::Image,
        action: action.to_owned(),
        id: id.to_owned(),
        attributes,
    };
    api.engine.events().emit(event);
}
