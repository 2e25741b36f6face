//! The options of an overlayfs mount: layers in, one option string out, and what the kernel's refusals mean.

use std::{
    ffi::CString,
    io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

/// mount(2) takes at most one page of options.
const OPTIONS_MAX_BYTES: usize = 4095;

/// The layers could not be mounted.
#[derive(Debug, thiserror::Error)]
pub enum OverlayError {
    /// mount(2) has no room for them.
    #[error(
        "the image has too many layers to mount: their paths take {0} bytes and the kernel allows {OPTIONS_MAX_BYTES}; use a shorter data root"
    )]
    TooLong(usize),
    /// A path holds a zero byte.
    #[error("a layer's path contains a zero byte")]
    Zero,
    /// The writable directory cannot be one, most often because it is on an overlay itself.
    #[error(
        "the kernel refuses {} as the writable layer of an overlay: its filesystem cannot hold one (is the data root itself on an \
         overlay, as inside a container? then put it on a volume)", upper.display()
    )]
    Upper {
        /// The writable directory.
        upper: PathBuf,
        /// The kernel's word.
        #[source]
        source: io::Error,
    },
    /// Anything else.
    #[error("cannot mount the image's layers")]
    Mount(#[source] io::Error),
}

impl OverlayError {
    /// Explains the kernel's refusal of a mount with this writable directory.
    pub fn refused(source: io::Error, upper: &Path) -> Self {
        match source.raw_os_error() {
            Some(code) if code == rustix::io::Errno::INVAL.raw_os_error() => {
                Self::Upper { upper: upper.to_owned(), source }
            }
            _ => Self::Mount(source),
        }
    }
}

/// The option string for these read-only layers (topmost first) and, maybe, the upper and the work directory.
///
/// Features that put more than plain files and whiteouts into the upper directory stay off: it is read by
/// [`changes`](super::changes) and becomes a layer by commit.
pub fn overlay_options(lower: &[PathBuf], writable: Option<(&PathBuf, &PathBuf)>) -> Result<CString, OverlayError> {
    let mut options = b"lowerdir=".to_vec();
    for (index, path) in lower.iter().enumerate() {
        if index > 0 {
            options.push(b':');
        }
        escape(path, &mut options);
    }
    if let Some((upper, work)) = writable {
        options.extend_from_slice(b",upperdir=");
        escape(upper, &mut options);
        options.extend_from_slice(b",workdir=");
        escape(work, &mut options);
        options.extend_from_slice(b",index=off,metacopy=off,redirect_dir=off");
    }
    if options.len() > OPTIONS_MAX_BYTES {
        return Err(OverlayError::TooLong(options.len()));
    }
    CString::new(options).map_err(|_| OverlayError::Zero)
}

/// overlayfs separates layers by colons and options by commas; a backslash takes their meaning away.
fn escape(path: &Path, out: &mut Vec<u8>) {
    for byte in path.as_os_str().as_bytes() {
        if matches!(byte, b':' | b',' | b'\\') {
            out.push(b'\\');
        }
        out.push(*byte);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_escaped() {
        let options = overlay_options(&["/l/a:b".into(), "/l/c,d".into()], Some((&"/u".into(), &"/w".into()))).unwrap();
        let expected = r"lowerdir=/l/a\:b:/l/c\,d,upperdir=/u,workdir=/w,index=off,metacopy=off,redirect_dir=off";
        assert_eq!(options.to_str().unwrap(), expected);
    }

    #[test]
    fn too_many_layers_are_refused() {
        let lower: Vec<PathBuf> = (0..500).map(|n| format!("/data/layers/{n}").into()).collect();
        assert!(matches!(overlay_options(&lower, None), Err(OverlayError::TooLong(_))));
    }
}
