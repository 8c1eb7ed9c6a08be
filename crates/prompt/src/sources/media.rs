//! Images, audio and videos of a row, as parts of a message in the form in which OpenAI's chat API takes them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use std::fs;
use std::path::{Path, PathBuf};

/// The largest file that a request takes along.
const LARGEST_FILE: u64 = 64 << 20;

/// A kind of media.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Media {
    Image,
    Audio,
    Video,
}

/// Every kind, in the order of their parts, with the two names of its member.
pub(super) const KINDS: [(Media, [&str; 2]); 3] =
    [(Media::Image, ["image", "images"]), (Media::Audio, ["audio", "audios"]), (Media::Video, ["video", "videos"])];

/// The formats of files that are known: what they begin with from which byte on, the end of their names, and their media type.
const FILES: [(Media, usize, &[u8], &str, &str); 12] = [
    (Media::Image, 0, b"\x89PNG", "png", "image/png"),
    (Media::Image, 0, b"\xff\xd8\xff", "jpg", "image/jpeg"),
    (Media::Image, 0, b"\xff\xd8\xff", "jpeg", "image/jpeg"),
    (Media::Image, 0, b"GIF8", "gif", "image/gif"),
    (Media::Image, 8, b"WEBP", "webp", "image/webp"),
    (Media::Audio, 8, b"WAVE", "wav", "audio/wav"),
    (Media::Audio, 0, b"ID3", "mp3", "audio/mp3"),
    (Media::Audio, 0, b"\xff\xfb", "mp3", "audio/mp3"),
    (Media::Audio, 0, b"fLaC", "flac", "audio/flac"),
    (Media::Audio, 0, b"OggS", "ogg", "audio/ogg"),
    (Media::Video, 4, b"ftyp", "mp4", "video/mp4"),
    (Media::Video, 0, b"\x1aE\xdf\xa3", "webm", "video/webm"),
];

/// The part for `source`: a link, a data URL, the path of a file, or for audio `FORMAT,BASE64`. A relative path is one from the directory
/// of the process, or else from `directory`.
pub(super) fn part(media: Media, source: &str, directory: &Path) -> Result<Map<String, Value>, String> {
    let is_link = source.starts_with("http://") || source.starts_with("https://");
    let part = match media {
        Media::Audio if is_link => json!({"type": "audio_url", "audio_url": {"url": source}}),
        Media::Audio => {
            let (format, data) = audio(source, directory)?;
            json!({"type": "input_audio", "input_audio": {"data": data, "format": format}})
        }
        Media::Image | Media::Video => {
            let url = match is_link || source.starts_with("data:") {
                true => source.to_owned(),
                false => {
                    let (kind, data) = file(media, source, directory)?;
                    format!("data:{kind};base64,{data}")
                }
            };
            match media {
                Media::Image => json!({"type": "image_url", "image_url": {"url": url}}),
                _ => json!({"type": "video_url", "video_url": {"url": url}}),
            }
        }
    };
    match part {
        Value::Object(part) => Ok(part),
        _ => Ok(Map::new()),
    }
}

/// The format of audio and its bytes in base64.
fn audio(source: &str, directory: &Path) -> Result<(String, String), String> {
    if let Some(url) = source.strip_prefix("data:audio/") {
        let parts = url.split_once(";base64,").map(|(format, data)| (format.to_owned(), data.to_owned()));
        return parts.ok_or_else(|| "a data URL of audio is data:audio/FORMAT;base64,DATA".to_owned());
    }
    // AIPerf's and GenAI-Perf's form of generated audio.
    if let Some((format @ ("wav" | "mp3" | "flac" | "ogg"), data)) = source.split_once(',') {
        return Ok((format.to_owned(), data.to_owned()));
    }
    let (kind, data) = file(Media::Audio, source, directory)?;
    Ok((kind.trim_start_matches("audio/").to_owned(), data))
}

/// The media type of a file and its bytes in base64.
fn file(media: Media, source: &str, directory: &Path) -> Result<(&'static str, String), String> {
    let named = Path::new(source.strip_prefix("file://").unwrap_or(source));
    let beside = directory.join(named);
    let path: PathBuf = if named.exists() { named.to_owned() } else { beside };
    let shown = path.display();
    let length = fs::metadata(&path).map_err(|error| format!("{shown} cannot be read: {error}"))?.len();
    if length > LARGEST_FILE {
        return Err(format!("{shown} has {length} bytes; give a file of at most {LARGEST_FILE}"));
    }
    let bytes = fs::read(&path).map_err(|error| format!("{shown} cannot be read: {error}"))?;
    let of_kind = || FILES.iter().filter(|(kind, ..)| *kind == media);
    let begins = |from: usize, mark: &[u8]| bytes.get(from..).is_some_and(|rest| rest.starts_with(mark));
    let end = path.extension().and_then(|end| end.to_str()).unwrap_or_default().to_ascii_lowercase();
    let found = of_kind().find(|(_, from, mark, ..)| begins(*from, mark));
    match found.or_else(|| of_kind().find(|(_, _, _, known, _)| *known == end)) {
        Some((.., kind)) => Ok((kind, STANDARD.encode(bytes))),
        None => {
            let known: Vec<_> = of_kind().map(|(_, _, _, end, _)| *end).collect();
            Err(format!("the format of {shown} is not known; known are {}", known.join(", ")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_become_data_and_links_stay_links() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a.bin"), b"\x89PNG\x01").unwrap();
        fs::write(dir.path().join("b.mp3"), b"xyz").unwrap();
        fs::write(dir.path().join("c.mp4"), b"0000ftyp").unwrap();
        let of = |media, source: &str| part(media, source, dir.path()).map(|part| Value::Object(part).to_string());
        let image = r#"{"type":"image_url","image_url":{"url":"data:image/png;base64,iVBORwE="}}"#;
        assert_eq!(of(Media::Image, "a.bin").unwrap(), image);
        let link = r#"{"type":"image_url","image_url":{"url":"https://example.com/a.png"}}"#;
        assert_eq!(of(Media::Image, "https://example.com/a.png").unwrap(), link);
        let audio = r#"{"type":"input_audio","input_audio":{"data":"eHl6","format":"mp3"}}"#;
        for source in ["b.mp3", "mp3,eHl6", "data:audio/mp3;base64,eHl6"] {
            assert_eq!(of(Media::Audio, source).unwrap(), audio, "{source}");
        }
        let video = r#"{"type":"video_url","video_url":{"url":"data:video/mp4;base64,MDAwMGZ0eXA="}}"#;
        assert_eq!(of(Media::Video, "c.mp4").unwrap(), video);
        assert!(of(Media::Image, "none.png").unwrap_err().contains("none.png cannot be read"));
        let error = of(Media::Image, "b.mp3").unwrap_err();
        assert!(error.ends_with("b.mp3 is not known; known are png, jpg, jpeg, gif, webp"), "{error}");
    }
}
